"""Whether anything grows: many calls, while many slow streams are open and then vanish.

    .venv/bin/python -m benchmarks.soak [--calls 100000] [--streams 1000] [--samples 24] [--flags='--workers 2']

Samples are taken when every call that has ended is stored, so that they compare like with like. The slope is that of
the straight line through the samples after the first third, which is warm-up. At the end the clients of all streams
hang up at once; then nothing may be left: no socket, no call in flight, and no call without its trace.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.native import Caller, Mock, compile_all, read_load, running_mock
from benchmarks.processes import memory, open_files, sockets, tree
from benchmarks.targets import Server, count_traces, tracemill

MOST_GROWTH_BYTES = 100
"""Per call. The smallest Python object takes 50, and a call that leaks leaves more than one."""
NOISE_BYTES = 4_000_000
"""What a heap may grow over the whole run because pages fragment; a short run cannot tell less than this."""
CACHE_BYTES = {"ingest": 64_000_000}
CACHES_FULL_AFTER_CALLS = 30_000
"""Ingest remembers the messages it saw lately, and the database its pages, both up to a bound: it grew by 80 MB in the
first 30,000 calls of a run and by 6 MB in the next 80,000. A shorter run cannot tell filling from growing."""
_CONNECTIONS = 32
_PACE_MS = 250
_CHUNKS = 20
_STREAM_S = _PACE_MS * _CHUNKS / 1000
_PATIENCE_S = 180
_GAUGES = ("tracemill_calls_in_flight", "tracemill_tasks")


@dataclass(frozen=True)
class Sample:
    """What the processes held after that many calls, streams among them.

    Attributes:
        resident: Bytes, by the process's role.
        files: Open descriptors, by the process's role.
    """

    calls: int
    resident: dict[str, int]
    files: dict[str, int]


@dataclass(frozen=True)
class Verdict:
    """A line of the result, and whether it is as it should be."""

    is_good: bool
    text: str


def slope(calls: Sequence[int], values: Sequence[int]) -> float:
    """Return how much the values grow per call, by least squares."""
    mean_x, mean_y = sum(calls) / len(calls), sum(values) / len(values)
    spread = sum((x - mean_x) ** 2 for x in calls)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(calls, values, strict=True)) / spread


def soak(
    server: Server, mock: Mock, caller: Caller, *, calls: int, streams: int, steps: int, database: Path
) -> list[Verdict]:
    """Put the whole load on a server; prints the samples and returns the verdicts."""
    baseline = look(server.pid, 0)
    baseline_sockets = worker_sockets(server.pid)
    mock.script(_CHUNKS, _PACE_MS)
    command = caller.command(
        "streams", is_stream=True, connections=streams, chunks=_CHUNKS, seconds=1e6, stagger_us=_STREAM_S * 1e6
    )
    samples, errors = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holding:
        # The first streams end and begin again before the last has begun: from here on they are a steady crowd.
        wait_until("all streams had begun", lambda: max(0, streams - mock.counts()["calls"]))
        print("calls | " + " | ".join(f"{role} MB, files" for role in sorted(baseline.resident)))
        for number in range(steps + 1):
            ended = wait_stored(mock, database)
            samples.append(look(server.pid, ended))
            print(line(samples[-1]), flush=True)
            if number < steps:
                todo = (number + 1) * calls // steps - number * calls // steps
                load = caller.run("closed", connections=_CONNECTIONS, calls=todo, seconds=600)
                errors += [load.first_error] * bool(load.errors)
        holding.terminate()
        held = read_load(holding.stdout.read() if holding.stdout else "")
        errors += [held.first_error] * bool(held.errors)
    wait_until("the upstream saw all streams end", lambda: mock.counts()["streams_open"])
    all_calls = wait_stored(mock, database)
    verdicts = [
        Verdict(not errors, f"{all_calls} calls, {held.chunks} chunks, wrong answers: {errors or 'none'}"),
        Verdict(count_traces(database) == all_calls, f"{all_calls} calls made, {count_traces(database)} traces stored"),
        *growth(samples),
        leaked_sockets(server, mock, baseline_sockets),
    ]
    return verdicts + [each for name in _GAUGES if (each := gauge(server, name)) is not None]


def wait_stored(mock: Mock, database: Path) -> int:
    """Wait until every call is stored that has ended at the upstream by now; return how many these are."""
    counts = mock.counts()
    ended = counts["calls"] - counts["streams_open"]
    wait_until("every ended call was stored", lambda: max(0, ended - count_traces(database)))
    return ended


def wait_until(what: str, left: Callable[[], int], patience_s: float = _PATIENCE_S) -> None:
    """Wait until the function returns 0.

    Raises:
        SystemExit: It did not within that time.
    """
    deadline = time.monotonic() + patience_s
    while count := left():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {patience_s:g} s: {what} ({count} left)")
        time.sleep(0.05)


def look(pid: int, calls: int) -> Sample:
    """Take a sample of all processes."""
    resident: dict[str, int] = {}
    files: dict[str, int] = {}
    for each, role in tree(pid).items():
        resident[role] = resident.get(role, 0) + memory([each]).resident
        files[role] = files.get(role, 0) + open_files(each)
    return Sample(calls, resident, files)


def line(sample: Sample) -> str:
    """Return a sample as a line of the table."""
    cells = [f"{sample.resident[role] / 1e6:7.2f} {sample.files[role]:5}" for role in sorted(sample.resident)]
    return f"{sample.calls:7} | " + " | ".join(cells)


def growth(samples: list[Sample]) -> list[Verdict]:
    """Judge the slope of each process's memory and descriptors after the warm-up."""
    kept = samples[len(samples) // 3 :]
    calls = [sample.calls for sample in kept]
    verdicts = []
    for role in sorted(kept[0].resident):
        filling = CACHE_BYTES.get(role, 0) if calls[0] < CACHES_FULL_AFTER_CALLS else 0
        most = max(MOST_GROWTH_BYTES, (NOISE_BYTES + filling) / (calls[-1] - calls[0]))
        per_call = slope(calls, [sample.resident[role] for sample in kept])
        text = f"{role}: memory grows {per_call * 1000:+,.0f} bytes per 1,000 calls (flat: under {most * 1000:,.0f})"
        verdicts.append(Verdict(per_call < most, text))
        files = [sample.files[role] for sample in kept]
        # Connections open and close while streams begin and end; a leak of one in a hundred calls is more than this.
        is_flat = slope(calls, files) * 1000 < 10
        verdicts.append(Verdict(is_flat, f"{role}: {min(files)} to {max(files)} descriptors"))
    return verdicts


def worker_sockets(pid: int) -> int:
    """Count the sockets of all data workers."""
    return sum(sockets(each) for each, role in tree(pid).items() if role == "worker")


def leaked_sockets(server: Server, mock: Mock, baseline: int) -> Verdict:
    """Judge what the workers still hold when no client is there: kept upstream connections and nothing else."""
    deadline = time.monotonic() + 20
    while True:
        kept = mock.counts()["connections_open"] - 1  # the one that asks
        held = worker_sockets(server.pid) - baseline
        if held <= kept or time.monotonic() > deadline:
            return Verdict(held <= kept, f"worker: {held} sockets after all clients left, upstream connections: {kept}")
        time.sleep(0.1)


def gauge(server: Server, name: str) -> Verdict | None:
    """Judge a gauge of `/metrics` that should be back at rest; None when there is no such gauge."""
    with urllib.request.urlopen(f"{server.admin_url}/metrics") as answer:  # noqa: S310 - our own server on loopback
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
    if not found:
        return None
    value = sum(map(float, found))
    return Verdict(value < 20 if name == "tracemill_tasks" else value == 0, f"{name} = {value:g} at the end")


def main() -> None:
    """Run the soak and exit with 1 when anything grew or was left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--flags", default="", help="more flags for tracemill serve, in one string")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        compile_all(folder)
        mock = stack.enter_context(running_mock(folder))
        upstream = f"http://127.0.0.1:{mock.port}/v1"
        server = stack.enter_context(tracemill(upstream, folder / "data", *options.flags.split()))
        caller = Caller(folder, server.port, "soak")
        started = time.monotonic()
        database = folder / "data" / "traces.db"
        load = {"calls": options.calls, "streams": options.streams, "steps": options.samples}
        verdicts = soak(server, mock, caller, database=database, **load)
    print(f"\n{time.monotonic() - started:.0f} s")
    for verdict in verdicts:
        print(f"{'ok ' if verdict.is_good else 'BAD'} {verdict.text}")
    sys.exit(not all(verdict.is_good for verdict in verdicts))


if __name__ == "__main__":
    main()
