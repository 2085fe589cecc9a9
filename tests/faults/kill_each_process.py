"""Every answered call is exported exactly once, whichever of our processes is killed, and however often.

A round kills a worker, ingest, the admin process and the supervisor once each, under load.
"""

import asyncio
import sys
from pathlib import Path

from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once
from tests.faults.load import Load, answer_in_own_words, kill_and_wait
from tests.server import Server
from tests.upstream import Answer, Dawdle, ReceivedCall, ScriptedUpstream

ROUNDS = 20
ROLES = ("worker", "ingest", "admin")


def answer_slowly(call: ReceivedCall) -> Answer:
    """Let every answer be under way for a while, so that a kill meets some in each of their stages."""
    return [each for step in answer_in_own_words(call) for each in (step, Dawdle(0.01))]


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    data_dir = folder / "data"
    with ScriptedUpstream(answer_slowly) as upstream:
        for _ in range(rounds):
            with Server(upstream.base_url, data_dir) as server:
                async with load.on(server):
                    for role in ROLES:
                        await load.more(15)
                        await kill_and_wait(server, role)
                        report.add(kills=1)
                    await load.more(15)
                    await asyncio.to_thread(server.kill_supervisor)
                    report.add(kills=1)
        with Server(upstream.base_url, data_dir) as server:
            async with load.on(server):
                await load.more(15)
            await check_each_once(report, data_dir, load.received)
    cut = len(load.received) - len(load.whole)
    report.tell(cut_or_refused=cut)
    report.promise(cut, "no kill hit a call: the drill proves nothing")
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
