"""What the journal costs the event loop and its threads: CPU per call, and how long the END of a call is waited for.

    python -m benchmarks.journal

A call is a BEGIN with 1 KB, a turn of the loop, and an END with 1.5 KB that is waited for. Beside the journal stands
the same loop with entries that are encoded and thrown away, so that the difference is the hand-over, the write and the
way back. CPU is that of the whole process, threads included.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

import uvloop

from proxy.journal.format import EntryKind, encode
from proxy.journal.writer import Durability, Journal
from store.uuid7 import uuid7

CALLS = 20_000
ROUNDS = 3
IN_FLIGHT = (1, 32, 500)
BEGIN = {"started_at": 1_760_000_000.5, "method": "POST", "path": "/v1/chat/completions", "route": "default",
         "upstream": "http://up/v1", "headers": [["content-type", "application/json"]], "key": None}  # fmt: skip
END = {"outcome": "completed", "status": 200, "headers": [["content-type", "application/json"]], "ttft_ms": 1.5}
REQUEST, ANSWER = os.urandom(1000), os.urandom(1500)


class _Figures(NamedTuple):
    cpu_us: float
    p50_us: float
    p99_us: float
    entries_per_write: float


class _Target(Protocol):
    def begin(self, trace_id: UUID) -> None: ...

    async def end(self, trace_id: UUID) -> None: ...


class _Encoding:
    def begin(self, trace_id: UUID) -> None:
        encode(b"8 bytes!", EntryKind.BEGIN, trace_id, BEGIN, REQUEST)

    async def end(self, trace_id: UUID) -> None:
        encode(b"8 bytes!", EntryKind.END, trace_id, END, ANSWER)


class _Journaling:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def begin(self, trace_id: UUID) -> None:
        self._journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, REQUEST)

    async def end(self, trace_id: UUID) -> None:
        await self._journal.append(EntryKind.END, trace_id, END, ANSWER)


async def _measure(target: _Target, in_flight: int, calls: int) -> tuple[float, list[float]]:
    left = iter(range(calls))
    waits: list[float] = []

    async def keep_calling() -> None:
        for _ in left:
            trace_id = uuid7()
            target.begin(trace_id)
            await asyncio.sleep(0)
            began = time.perf_counter()
            await target.end(trace_id)
            waits.append(time.perf_counter() - began)

    cpu = time.process_time()
    await asyncio.gather(*(keep_calling() for _ in range(in_flight)))
    return (time.process_time() - cpu) / calls * 1e6, sorted(waits)


async def _figures(durability: Durability | None, in_flight: int, folder: Path) -> _Figures:
    # A flush takes milliseconds: one call at a time would take minutes.
    calls = CALLS if durability != "power" or in_flight > 1 else 500
    if durability is None:
        cpu_us, waits = await _measure(_Encoding(), in_flight, calls)
        batches = 0
    else:
        journal = Journal(folder, max_pending_bytes=1 << 28, max_disk_bytes=1 << 32, durability=durability)
        cpu_us, waits = await _measure(_Journaling(journal), in_flight, calls)
        await asyncio.to_thread(journal.close)
        batches = journal.batches_written
    p50, p99 = (waits[int(len(waits) * share)] * 1e6 for share in (0.5, 0.99))
    return _Figures(cpu_us, p50, p99, 2 * calls / batches if batches else 0)


def main() -> None:
    """Print the table."""
    print("| calls in flight | | CPU per call, µs | wait p50, µs | wait p99, µs | entries per write |")
    print("|---|---|---|---|---|---|")
    levels: list[Durability | None] = [None, "none", "process", "power"]
    for in_flight in IN_FLIGHT:
        for durability in levels:
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                found = [
                    uvloop.run(_figures(durability, in_flight, Path(folder) / str(number))) for number in range(ROUNDS)
                ]
            best = min(found)
            name = f"durability {durability}" if durability else "encoding alone"
            print(
                f"| {in_flight} | {name} | {best.cpu_us:.1f} | {best.p50_us:.0f} | {best.p99_us:.0f} "
                f"| {best.entries_per_write:.1f} |"
            )


if __name__ == "__main__":
    main()
