"""While another process holds the database for N seconds no call notices, and afterwards all is stored.

A round is a second.
"""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from store.data_files import TRACES_FILE
from tests.faults.drill import Report, main
from tests.faults.evidence import DROPPED, check_each_once, settled_metrics
from tests.faults.load import Load, answer_in_own_words, p99_ms
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 60


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    data_dir = folder / "data"
    with ScriptedUpstream(answer_in_own_words) as upstream, Server(upstream.base_url, data_dir) as server:
        with closing(sqlite3.connect(data_dir / TRACES_FILE, isolation_level=None)) as locker:
            async with load.on(server):
                await load.more(200)
                before = list(load.received)
                locker.execute("BEGIN EXCLUSIVE")
                waited = 0
                for _ in range(rounds):
                    seen = len(load.received)
                    await asyncio.sleep(1)  # the fault itself
                    waited += load.waiting_since(seen)
                locker.execute("ROLLBACK")
                during = load.received[len(before) :]
        dropped = int((await settled_metrics(server, len(load.received))).total(DROPPED))
        report.tell(seconds_locked=rounds, p99_ms_before=p99_ms(before), p99_ms_during=p99_ms(during), shed=dropped)
        await check_each_once(report, data_dir, load.received, timeout_s=30)
    report.promise(len(load.whole) == len(load.received), f"{len(load.received) - len(load.whole)} calls failed")
    report.promise(not waited, f"{waited} clients waited for the database")
    report.promise(not dropped, f"{dropped} were shed")
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
