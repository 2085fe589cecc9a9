import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import cast

import pytest

from store.connection import hand_over
from store.database import TRACES, open_reader, open_writer, transaction
from store.errors import StoreError, WriterBusyError
from store.trace import JournalPosition
from store.traces import TraceReader, TraceWriter
from tests.store.traces import make_trace


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_open_gives_the_right_to_write_back(tmp_path: Path, turns: int) -> None:
    """A connection that nobody waited for any more kept the lock for as long as the process lived."""
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    for pause_s in (0, 0.0005):
        opening = asyncio.create_task(open_writer(path, TRACES))
        for _ in range(turns):
            await asyncio.sleep(pause_s)
        opening.cancel()
        (opened,) = await asyncio.gather(opening, return_exceptions=True)
        if not isinstance(opened, BaseException):
            await opened.close()
        assert await becomes_free(path, 5)


async def becomes_free(path: Path, patience_s: float) -> bool:
    """Tell whether the right to write is to be had within that time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            writer = await open_writer(path, TRACES)
        except WriterBusyError:  # the thread is just closing what was cancelled
            await asyncio.sleep(0)
        else:
            await writer.close()
            return True
    return False


async def test_what_opens_after_its_task_is_gone_is_closed() -> None:
    closed: list[bool] = []
    begun, cancelled = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Watched(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            closed.append(True)

    def connect() -> sqlite3.Connection:
        loop.call_soon_threadsafe(begun.set)
        assert cancelled.wait(10)
        return sqlite3.connect(":memory:", factory=Watched, check_same_thread=False)

    opening = asyncio.create_task(hand_over(connect))
    await begun.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    cancelled.set()
    await loop.shutdown_default_executor()
    assert closed == [True]


async def test_a_reading_cancelled_at_its_first_statement_leaves_the_reader_usable(tmp_path: Path) -> None:
    """The transaction it had begun stayed open, and every later reading failed."""
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([make_trace(1)])
        for turns in range(6):
            reading = asyncio.create_task(reader.page())
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await writer.write([make_trace(10 + turns)])
            assert len((await reader.page()).summaries) == 2 + turns


@pytest.mark.parametrize("kind", ["TraceWriter", "TraceReader"])
def test_a_close_cancelled_while_it_waits_does_not_hang_the_exit(tmp_path: Path, kind: str) -> None:
    script = f"""
import asyncio, pathlib, sys
from store.traces import TraceReader, TraceWriter
async def main():
    path = pathlib.Path(sys.argv[1])
    await (await TraceWriter.open(path)).close()
    global store
    store = await {kind}.open(path)
    async with store._turn:
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
asyncio.run(main())
print("left")
"""
    command = [sys.executable, "-c", script, str(tmp_path / "traces.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


async def test_a_closed_writer_leaves_everything_in_the_one_file(tmp_path: Path) -> None:
    """While a reader was open, a copy of `traces.db` alone lacked all that stood in the log."""
    path, copy = tmp_path / "traces.db", tmp_path / "copy" / "traces.db"
    writer = await TraceWriter.open(path)
    async with await TraceReader.open(path) as reader:
        await writer.write([make_trace(n) for n in range(50)])
        assert len((await reader.page()).summaries) == 50
        await writer.close()
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
    async with await TraceReader.open(copy) as reader:
        assert (await reader.stats()).traces == 50


async def test_a_writer_closes_although_a_reader_is_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    writer = await TraceWriter.open(path)
    await writer.write([make_trace(1)])
    reader = await open_reader(path, TRACES)
    async with transaction(reader, "DEFERRED"):
        await reader.execute_fetchall("SELECT count(*) FROM traces")
        async with asyncio.timeout(5):
            await writer.close()
        async with await TraceWriter.open(path) as again:
            assert await again.known([make_trace(1).id]) == {make_trace(1).id}
    await reader.close()


async def test_a_batch_whose_task_is_cancelled_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    """Whoever gave up waiting may write the same batch again; nothing of it stays half done or doubled."""
    batch = [make_trace(number) for number in range(200)]
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        for steps in range(6):
            writing = asyncio.create_task(writer.write(batch, positions=[JournalPosition("w", 1, steps)]))
            for _ in range(steps):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            known = await writer.known([trace.id for trace in batch])
            assert len(known) in (0, 200)
            assert bool(known) == bool(await writer.positions())
        assert sum(await writer.write(batch)) == 200
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert (await reader.counts())[0] == 200


async def test_a_batch_that_fails_in_the_middle_leaves_nothing_and_the_next_one_is_stored(tmp_path: Path) -> None:
    """What was hashed for a batch that failed is remembered; its nodes must not be taken for stored."""
    first, second = make_trace(1, messages=(b'{"role":"user"}',)), make_trace(2, messages=(b'{"role":"user"}', b"{}"))
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        # The position is written last, and its column takes integers alone.
        with pytest.raises(StoreError, match="cannot store TEXT"):
            await writer.write([first], positions=[JournalPosition("w", 1, cast("int", "no number"))])
        assert await writer.write([second]) == (1, 0, 0, 0)
        assert await writer.write([first]) == (1, 0, 0, 0)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert [trace async for trace in reader.traces()] == [first, second]
