"""Copies of databases: of one moment, whole, checked, and made beside a writer that does not notice."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.backup import CopiedDatabase, check_copy, copy_database
from store.database import TRACES, WORK, open_writer
from store.errors import (
    CorruptDatabaseError,
    DatabaseMissingError,
    NewerSchemaError,
    NotOurDatabaseError,
    StoreError,
)
from store.traces import TraceReader, TraceWriter
from store.work import WorkStore
from tests.folder_state import folder_state
from tests.store.traces import make_trace

RELEASED = Path(__file__).parent / "released"


def copy(source: Path, target: Path) -> CopiedDatabase:
    return copy_database(source, target, TRACES, lambda _done, _total: None)


async def fill(path: Path, numbers: range) -> None:
    async with await TraceWriter.open(path) as writer:
        for number in numbers:
            text = f'{{"role":"user","content":"{number} {"x" * 5000}{number}"}}'.encode()
            await writer.write([make_trace(number, messages=(text,), tags={"n": str(number)})])


async def test_a_copy_is_of_one_moment_while_a_writer_goes_on(tmp_path: Path) -> None:
    """A copy that began again with each commit would never end; one that read on would be of no moment."""
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    await fill(source, range(300))
    loop = asyncio.get_running_loop()
    async with await TraceWriter.open(source) as writer:
        written = 300

        async def write_one() -> None:
            nonlocal written
            await writer.write([make_trace(written, tags={"n": "x" * 3000})])
            written += 1

        def between_steps(_done: int, _total: int) -> None:
            asyncio.run_coroutine_threadsafe(write_one(), loop).result(10)

        copied = await asyncio.to_thread(copy_database, source, target, TRACES, between_steps)
    assert written > 300
    assert copied.rows["traces"] == copied.rows["tags"] == 300
    async with await TraceReader.open(target) as reader:
        assert [trace.id.int async for trace in reader.traces()] == sorted(range(300), key=lambda n: n)
    assert target.stat().st_mode & 0o777 == 0o600


async def test_what_stands_only_in_the_log_is_copied_and_the_copy_has_no_log(tmp_path: Path) -> None:
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    async with await TraceWriter.open(source) as writer:
        await writer.write([make_trace(1)])
        assert copy(source, target).rows["traces"] == 1
    assert [path.name for path in tmp_path.glob("copy.db*")] == ["copy.db"]


async def test_a_database_of_an_older_schema_is_copied_as_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as database:
        database.executescript((RELEASED / "traces-1.sql").read_text("utf-8"))
    copied = copy(source, target)
    assert (copied.schema_version, copied.rows["traces"]) == (1, 8)
    await (await open_writer(target, TRACES)).close()
    async with await TraceReader.open(target) as reader:
        assert (await reader.counts()).traces == 8


async def test_the_working_memory_of_processing_is_copied_too(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        await work.add_verdicts({}, b"")
        await work.start_job(tmp_path / "out", name="a", config={})
    copied = copy_database(tmp_path / "work.db", tmp_path / "copy.db", WORK, lambda _done, _total: None)
    assert copied.rows["jobs"] == 1


async def test_what_cannot_be_copied_is_refused_and_left_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    with pytest.raises(DatabaseMissingError):
        copy(source, target)
    await fill(source, range(3))
    with closing(sqlite3.connect(source)) as database:
        database.execute(f"PRAGMA user_version = {TRACES.version + 1}")
    before = folder_state(tmp_path)
    with pytest.raises(NewerSchemaError, match="later Tracemill"):
        copy(source, target)
    with pytest.raises(NotOurDatabaseError):
        copy_database(source, target, WORK, lambda _done, _total: None)
    assert folder_state(tmp_path) == before


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    await fill(source, range(3))
    target.write_bytes(b"mine")
    with pytest.raises(StoreError, match="cannot be made"):
        copy(source, target)
    assert target.read_bytes() == b"mine"


async def test_a_damaged_source_gives_no_copy_that_looks_whole(tmp_path: Path) -> None:
    source = tmp_path / "traces.db"
    await fill(source, range(100))
    whole = source.read_bytes()
    source.write_bytes(whole[:20480] + b"\xa5" * 8192 + whole[28672:])
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        copy(source, tmp_path / "copy.db")


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM tags", "INSERT INTO dead_letters VALUES (1, NULL, 'r', x'', x'', 0)", "PRAGMA user_version = 1"],
)
async def test_a_copy_that_is_not_what_it_was_is_found(tmp_path: Path, sql: str) -> None:
    source, target = tmp_path / "traces.db", tmp_path / "copy.db"
    await fill(source, range(3))
    copied = copy(source, target)
    check_copy(target, copied.schema_version, copied.rows)
    with closing(sqlite3.connect(target)) as database:
        database.execute(sql)
        database.commit()
    with pytest.raises(CorruptDatabaseError):
        check_copy(target, copied.schema_version, copied.rows)


async def test_stopping_between_two_steps_stops(tmp_path: Path) -> None:
    source = tmp_path / "traces.db"
    await fill(source, range(3))

    def stop(_done: int, _total: int) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        copy_database(source, tmp_path / "copy.db", TRACES, stop)
    async with await TraceWriter.open(source) as writer:
        assert (await writer.write([make_trace(9)])).traces == 1
