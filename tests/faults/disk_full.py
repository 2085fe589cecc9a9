"""On a full disk no call fails or waits; when there is room again all is stored but what was declared missing.

A round fills the disk for a second under load and frees it. With room for 1 MiB in memory, so that calls are shed.
"""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.faults.disks import full_disk, no_file_may_grow, small_disk
from tests.faults.drill import NotPossibleHereError, Report, main
from tests.faults.evidence import DROPPED, check_each_once, settled_metrics, wait_declared
from tests.faults.load import Load, answer_in_own_words, p99_ms
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 20
SECONDS_FULL = 1.0
PENDING_BYTES = 1024 * 1024
MOST_FILES = 8
"""A folder, its lock and the segments of a few seconds."""


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    data_dir = folder / "data"
    config = folder / "tracemill.yaml"
    config.write_text(f"max_pending_bytes: {PENDING_BYTES}\n")
    with ExitStack() as stack:
        upstream = stack.enter_context(ScriptedUpstream(answer_in_own_words))
        is_real = True
        try:
            stack.enter_context(small_disk(data_dir, "256m"))
        except NotPossibleHereError:
            is_real = False
        server = stack.enter_context(Server(upstream.base_url, data_dir, "--config", str(config)))
        async with load.on(server):
            await load.more(200)
            before = list(load.received)
            waited = 0
            for _ in range(rounds):
                seen = len(load.received)
                with full_disk(data_dir) if is_real else no_file_may_grow(server):
                    await asyncio.sleep(SECONDS_FULL)  # the fault itself
                    waited += load.waiting_since(seen)
                    files = len(list((data_dir / "journal").rglob("*")))
                    report.promise(files <= MOST_FILES, f"{files} files in the journal: each try leaves one behind")
                await load.more(50)
            during = load.received[len(before) :]
        counters = await settled_metrics(server, len(load.received))
        shed = int(counters.total(DROPPED, reason="journal_backlog"))
        cut = int(counters.total(DROPPED, reason="journal_backlog_body"))
        declared = await wait_declared(data_dir, shed)
        report.tell(
            kind="a small disk" if is_real else "no file may grow",
            fills=rounds,
            p99_ms_before=p99_ms(before),
            p99_ms_during=p99_ms(during),
            counted_as_shed=shed,
            declared_missing=declared,
            bodies_shed=cut,
        )
        await check_each_once(report, data_dir, load.received, missing=shed + cut)
    report.promise(len(load.whole) == len(load.received), f"{len(load.received) - len(load.whole)} calls failed")
    report.promise(not waited, f"{waited} clients waited for the disk")
    report.promise(declared == shed, f"{shed} are counted as shed, {declared} are declared missing")
    report.promise(report.figures["not_stored"] == shed, "what is missing is not what was counted")
    return report


if __name__ == "__main__":
    main(sys.modules[__name__])
