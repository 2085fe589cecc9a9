"""A worker that is started on a disk it cannot write to serves all the same, and records once it can.

A round makes the data directory read-only, kills the worker under load, and makes it writable again.
"""

import sys
from pathlib import Path

from tests.faults.disks import read_only
from tests.faults.drill import Report, main
from tests.faults.evidence import check_each_once, stored
from tests.faults.load import Load, answer_in_own_words, kill_and_wait, wait_until
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 10


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    data_dir = folder / "data"
    with ScriptedUpstream(answer_in_own_words) as upstream, Server(upstream.base_url, data_dir) as server:
        async with load.on(server):
            for _ in range(rounds):
                await load.more(50)
                with read_only(data_dir / "journal"):
                    await kill_and_wait(server, "worker")
                    began = len(load.received)
                    await load.more(100)
                    after = load.received[began:]
                served = next((n for n, each in enumerate(after) if each.is_whole), len(after))
                failed = sum(not each.is_whole for each in after[served:])
                report.add(kills=1, served_while_read_only=sum(each.is_whole for each in after))
                report.promise(not failed, f"{failed} calls failed after the worker was back")
                # What waits in memory for a disk dies with the worker: the next kill must not come before it is down.
                held = {each.trace_id for each in after if each.is_whole}
                await wait_until(lambda held=held: held <= stored(data_dir))
        await check_each_once(report, data_dir, load.received)
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
