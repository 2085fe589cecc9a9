"""A clock that jumps an hour back or ahead changes timestamps alone: no call fails, no order or duration is wrong.

A round sets the clock of all our processes back by an hour under load, and then ahead again. The clock is a shared
library of a few lines, so a C compiler is needed.
"""

import itertools
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from tests.faults.drill import NotPossibleHereError, Report, main
from tests.faults.evidence import check_each_once, metrics, records
from tests.faults.load import Load, answer_in_own_words
from tests.server import Server
from tests.upstream import ScriptedUpstream

ROUNDS = 10
HOUR_NS = 3_600_000_000_000
LONGEST_MS = 20_000


class SteppedClock:
    """The clock of processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            raise NotPossibleHereError("there is no C compiler, or this is not Linux")
        library = folder / "clock_step.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        self._file = folder / "offset"
        self.step(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._file)}

    def step(self, offset_ns: int) -> None:
        # In place: the processes have the file mapped.
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("=q", offset_ns))


async def drill(folder: Path, rounds: int) -> Report:
    report, load = Report(), Load()
    clock = SteppedClock(folder)
    data_dir = folder / "data"
    os.environ.update(clock.environment)
    try:
        with ScriptedUpstream(answer_in_own_words) as upstream, Server(upstream.base_url, data_dir) as server:
            async with load.on(server):
                for _ in range(rounds):
                    await load.more(60)
                    clock.step(-HOUR_NS)
                    await load.more(60)
                    clock.step(+HOUR_NS)
                    await load.more(60)
                    clock.step(0)
            await check_each_once(report, data_dir, load.received)
            counters = metrics(server)
    finally:
        for name in clock.environment:
            del os.environ[name]
    durations = [record.duration_ms or 0.0 for record in records(data_dir).values()]
    steps = _largest_step_ms(load)
    report.tell(steps=3 * rounds, longest_ms=max(durations), shortest_ms=min(durations), largest_id_step_ms=steps)
    report.promise(steps > HOUR_NS / 1_000_000 / 2, "the clock did not move: the drill proves nothing")
    report.promise(len(load.whole) == len(load.received), "a call failed")
    report.promise(0 <= min(durations) <= max(durations) < LONGEST_MS, "a duration follows the clock")
    mean_s = counters.total("tracemill_call_duration_seconds_sum") / counters.total(
        "tracemill_call_duration_seconds_count"
    )
    report.promise(0 < mean_s < LONGEST_MS / 1000, "the histogram of durations follows the clock")
    report.promise(
        len({each.trace_id for each in load.received}) == len(load.received), "a trace id was given to two calls"
    )
    return report


def _largest_step_ms(load: Load) -> int:
    """Return the largest step between the times in the ids, in the order of their making."""
    times = sorted(UUID(each.trace_id).int >> 80 for each in load.received if each.trace_id)
    return max(later - earlier for earlier, later in itertools.pairwise(times))


if __name__ == "__main__":
    main(sys.modules[__name__])
