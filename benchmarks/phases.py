"""The loads that each target is put under, and what one of them came to."""

import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.native import Load, Mock, read_load
from benchmarks.processes import Memory, cpu_ns, memory, tree
from benchmarks.targets import Target

CONNECTIONS = 32
RATE = 50
STREAMS = 40
CHUNKS = 100
PACE_MS = 20
STAGGER_S = 1.0
"""The first streams begin within this time, so that their chunks do not all come at the same instant."""
HOLD_PACE_MS = 2000
HOLD_CHUNKS = 7


@dataclass
class Sample:
    """One phase of one round of one target.

    Attributes:
        cpu_us: CPU of all processes of the target, from the first call until everything that the calls left is done.
        by_role: The same, by what each process is.
    """

    load: Load
    seconds: float
    cpu_us: float
    by_role: dict[str, float]


@dataclass
class Held:
    """A target's memory: at rest, and with many slow streams open."""

    at_rest: Memory
    streams: int
    with_streams: Memory


@dataclass
class Figures:
    """Everything measured of one target."""

    target: Target
    plain: list[Sample] = field(default_factory=list)
    paced: list[Sample] = field(default_factory=list)
    streams: list[Sample] = field(default_factory=list)
    held: Held | None = None


def warm_up(figures: Figures, mock: Mock, seconds: float) -> None:
    """Call the target until it is warm; one that answers wrongly is found out here."""
    mock.script(5, 10)
    target = figures.target
    for load in (
        target.caller.run("closed", connections=CONNECTIONS, seconds=seconds),
        target.caller.run("streams", is_stream=True, connections=4, chunks=5, seconds=0.1),
    ):
        _book(target, load)
    target.settle()


def plain_answers(figures: Figures, seconds: float) -> None:
    """Plain answers of 1 KB, as fast as the target gives them."""
    figures.plain.append(_measured(figures.target, "closed", seconds, connections=CONNECTIONS))


def paced_answers(figures: Figures, seconds: float) -> None:
    """The same at a fixed, low rate: what a call waits because of the proxy."""
    figures.paced.append(_measured(figures.target, "open", seconds, connections=CONNECTIONS, rate=RATE))


def streams(figures: Figures, mock: Mock, seconds: float) -> None:
    """Streams at a model's pace, each started at a moment of its own."""
    mock.script(CHUNKS, PACE_MS)
    figures.streams.append(
        _measured(
            figures.target,
            "streams",
            seconds,
            is_stream=True,
            connections=STREAMS,
            chunks=CHUNKS,
            stagger_us=STAGGER_S * 1e6,
        )
    )


def hold(figures: Figures, mock: Mock, count: int) -> None:
    """Many slow streams at once: what they cost in memory, as long as the most were open."""
    mock.script(HOLD_CHUNKS, HOLD_PACE_MS)
    target = figures.target
    at_rest = memory(tree(target.pid))
    command = target.caller.command(
        "streams",
        is_stream=True,
        connections=count,
        chunks=HOLD_CHUNKS,
        seconds=0.1,
        stagger_us=HOLD_PACE_MS * 1000,
    )
    most, peak = 0, at_rest
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            open_now = mock.counts()["streams_open"]
            if open_now and open_now >= most:
                held = memory(tree(target.pid))
                peak = max(peak, held) if open_now == most else held
                most = open_now
            time.sleep(0.5)
        out = process.stdout.read() if process.stdout else ""
    _book(target, read_load(out))
    target.settle()
    figures.held = Held(at_rest, most, peak)


def _measured(target: Target, mode: str, seconds: float, *, is_stream: bool = False, **options: float) -> Sample:
    before = cpu_ns(tree(target.pid))
    load = target.caller.run(mode, is_stream=is_stream, seconds=seconds, **options)
    _book(target, load)
    target.settle()
    processes = tree(target.pid)
    after = cpu_ns(processes)
    if set(before) - set(after):
        target.failure = target.failure or "one of its processes ended while it was measured"
    by_role: dict[str, float] = defaultdict(float)
    for pid, spent in after.items():
        by_role[processes[pid]] += (spent - before.get(pid, 0)) / 1e3
    return Sample(load, seconds, sum(by_role.values()), dict(by_role))


def _book(target: Target, load: Load) -> None:
    target.calls += load.calls
    if load.errors and not target.failure:
        target.failure = f"{load.errors} of {load.calls} answers were wrong; the first: {load.first_error}"
