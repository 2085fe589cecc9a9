"""An ingest that stands still or dies holds up no call, and all is stored when it is back.

A round freezes ingest for a second under load, lets it go on, and kills it while it catches up.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.faults.drill import Report, main
from tests.faults.evidence import DROPPED, check_each_once, settled_metrics
from tests.faults.load import Load, answer_in_own_words, kill_and_wait, p99_ms, wait_until
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 20
SECONDS_FROZEN = 1.0


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    data_dir = folder / "data"
    with ScriptedUpstream(answer_in_own_words) as upstream, Server(upstream.base_url, data_dir) as server:
        async with load.on(server):
            await load.more(200)
            before = list(load.received)
            waited = 0
            for _ in range(rounds):
                (ingest,) = await wait_until(lambda: server.children("ingest"))
                seen = len(load.received)
                os.kill(ingest, signal.SIGSTOP)
                await asyncio.sleep(SECONDS_FROZEN)  # the fault itself
                waited += load.waiting_since(seen)
                os.kill(ingest, signal.SIGCONT)
                await load.more(5)
                await kill_and_wait(server, "ingest")
                report.add(kills=1)
            during = load.received[len(before) :]
        report.tell(p99_ms_before=p99_ms(before), p99_ms_during=p99_ms(during))
        dropped = int((await settled_metrics(server, len(load.received))).total(DROPPED))
        await check_each_once(report, data_dir, load.received)
    report.promise(len(load.whole) == len(load.received), f"{len(load.received) - len(load.whole)} calls failed")
    report.promise(not waited, f"{waited} clients waited for ingest")
    report.promise(not dropped, f"{dropped} were shed")
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
