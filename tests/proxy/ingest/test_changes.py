"""Changes from a journal reach the store, once, whether or not a server is running."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.ingest.ingest import ingest_once, run_ingest
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.writer import JOURNAL_FOLDER
from store.change import Change, ChangeKind, find_change, list_changes
from store.chore import Step
from store.data_files import TRACES_FILE
from store.errors import DatabaseMissingError, WriterBusyError
from store.traces import TraceReader, TraceWriter
from store.uuid7 import uuid7
from tests.store.traces import make_trace

MAX = 1 << 20


def change() -> Change:
    return Change(uuid7(), ChangeKind.EXPORT, datetime.now(UTC), "anna", json.dumps({"traces": 3}).encode())


async def applied(data_dir: Path) -> list[object]:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return [record.id for record in await reader.look(list_changes)]


async def test_a_change_is_applied_by_the_command_itself_when_nothing_serves(tmp_path: Path) -> None:
    asked = change()
    with ChangeWriter(tmp_path / JOURNAL_FOLDER) as writer:
        writer.write(asked)
        for _ in range(2):
            await ingest_once(tmp_path, max_decoded_bytes=MAX)
            assert await applied(tmp_path) == [asked.id]
    await ingest_once(tmp_path, max_decoded_bytes=MAX)
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []
    assert await applied(tmp_path) == [asked.id]


async def test_a_command_leaves_the_store_to_a_server_that_is_running(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / TRACES_FILE):
        with pytest.raises(WriterBusyError):
            await ingest_once(tmp_path, max_decoded_bytes=MAX)


async def test_a_change_is_applied_soon_while_ingest_runs_and_chores_go_on(tmp_path: Path) -> None:
    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self.steps = 0

        def step(self, _db: object) -> Step:
            self.steps += 1
            if self.steps % 3 == 0:
                raise RuntimeError("a chore that fails")
            return Step(has_more=self.steps < 2)

    stop, counting = asyncio.Event(), Counting()
    running = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=MAX, chores=[counting]))
    asked = change()
    with ChangeWriter(tmp_path / JOURNAL_FOLDER) as writer:
        await asyncio.to_thread(writer.write, asked)
        async with asyncio.timeout(5):
            while not await is_applied(tmp_path, asked):
                await asyncio.sleep(0.01)
            while counting.steps < 3:
                await asyncio.sleep(0.01)
        second = change()
        await asyncio.to_thread(writer.write, second)
        async with asyncio.timeout(5):
            while not await is_applied(tmp_path, second):
                await asyncio.sleep(0.01)
        assert counting.steps == 3  # a chore that failed rests
    stop.set()
    await running
    assert await applied(tmp_path) == [second.id, asked.id]


async def is_applied(data_dir: Path, asked: Change) -> bool:
    try:
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            return await reader.look(lambda db: find_change(db, asked.id)) is not None
    except DatabaseMissingError:
        return False


async def test_chores_are_not_asked_for_more_than_the_pause_between_rounds(tmp_path: Path) -> None:
    """A chore that always has more to do must not keep ingest from its next round."""

    class Endless:
        name = "endless"

        def step(self, _db: object) -> Step:
            return Step(has_more=True)

    stop = asyncio.Event()
    running = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=MAX, chores=[Endless()]))
    asked = change()
    with ChangeWriter(tmp_path / JOURNAL_FOLDER) as writer:
        await asyncio.to_thread(writer.write, asked)
        async with asyncio.timeout(5):
            while not await is_applied(tmp_path, asked):
                await asyncio.sleep(0.01)
    stop.set()
    await running
    async with await TraceWriter.open(tmp_path / TRACES_FILE) as store:
        assert (await store.write([make_trace(1)])).traces == 1
