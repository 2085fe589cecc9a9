import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.database import TRACES, WORK, Schema, open_reader, open_reader_now, open_writer, transaction, write_lock
from store.errors import (
    CorruptDatabaseError,
    DatabaseMissingError,
    NewerSchemaError,
    NotOurDatabaseError,
    OlderSchemaError,
    StoreError,
    WriterBusyError,
)

SCHEMAS = pytest.mark.parametrize("schema", [TRACES, WORK], ids=lambda schema: schema.name)


def layout(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    # SQLite writes a column that was added with blanks of its own round the comma.
    return {
        (kind, name, " ".join(re.sub(r"--[^\n]*|(?<=[(),])|(?=[(),])", " ", sql).split())) for kind, name, sql in rows
    }


@SCHEMAS
async def test_an_empty_database_and_all_migrations_make_todays_schema(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "made.db"
    await (await open_writer(path, schema)).close()
    made, written = sqlite3.connect(path), sqlite3.connect(":memory:")
    written.executescript(schema.sql())
    try:
        assert layout(made) == layout(written)
        assert made.execute("PRAGMA user_version").fetchone() == (schema.version,)
        assert made.execute("PRAGMA application_id").fetchone() == (schema.application_id,)
        assert made.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        made.close()
        written.close()


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "data" / "traces.db"
        writer = await open_writer(path, TRACES)
        await writer.execute("INSERT INTO journal_positions VALUES ('w', 1, 2)")
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        await writer.close()
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys(("traces.db", "traces.db-wal", "traces.db-shm", "traces.db.lock"), 0o600)


async def test_a_second_writer_is_refused_and_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    writer = await open_writer(path, TRACES)
    with pytest.raises(WriterBusyError, match=f"process {os.getpid()}") as caught:
        await open_writer(path, TRACES)
    assert caught.value.pid == os.getpid()
    await writer.close()
    await (await open_writer(path, TRACES)).close()


async def test_a_killed_writer_leaves_the_file_free_and_its_open_transaction_undone(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    script = """
import asyncio, pathlib, sys
from store.database import TRACES, open_writer
async def main():
    writer = await open_writer(pathlib.Path(sys.argv[1]), TRACES)
    await writer.execute("INSERT INTO journal_positions VALUES ('whole', 1, 1)")
    await writer.execute("BEGIN IMMEDIATE")
    await writer.execute("INSERT INTO journal_positions VALUES ('half', 1, 1)")
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == b"ready\n"
        with pytest.raises(WriterBusyError) as caught:
            await open_writer(path, TRACES)
        assert caught.value.pid == child.pid
        child.send_signal(signal.SIGKILL)
        child.wait()
    writer = await open_writer(path, TRACES)
    rows = list(await writer.execute_fetchall("SELECT writer FROM journal_positions"))
    await writer.close()
    assert rows == [("whole",)]


async def test_a_reader_that_comes_while_a_database_is_made_finds_none_or_a_whole_one(tmp_path: Path) -> None:
    path, is_made, found = tmp_path / "traces.db", threading.Event(), []

    def look_again_and_again() -> None:
        while not is_made.is_set():
            try:
                open_reader_now(path, TRACES).close()
            except DatabaseMissingError:
                pass
            except StoreError as error:
                found.append(error)

    for _ in range(20):
        is_made.clear()
        lookers = [threading.Thread(target=look_again_and_again) for _ in range(3)]
        for looker in lookers:
            looker.start()
        try:
            await (await open_writer(path, TRACES)).close()
        finally:
            is_made.set()
            for looker in lookers:
                looker.join()
        for file in tmp_path.iterdir():
            file.unlink()
    assert found == []


def set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize("opens", [open_writer, open_reader])
async def test_a_database_of_a_later_version_is_refused_and_left_untouched(tmp_path: Path, opens: object) -> None:
    assert callable(opens)
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    set_version(path, TRACES.version + 4)
    (tmp_path / "traces.db.lock").unlink()
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match=f"version {TRACES.version + 4}.*up to {TRACES.version}") as caught:
        await opens(path, TRACES)
    assert (caught.value.found, caught.value.expected) == (TRACES.version + 4, TRACES.version)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["traces.db"]


async def test_a_later_version_that_stands_in_the_log_only_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {TRACES.version + 1}")
    with pytest.raises(NewerSchemaError):
        await open_writer(path, TRACES)
    other.close()


@pytest.mark.parametrize("opens", [open_writer, open_reader])
@pytest.mark.parametrize("content", ["text", "foreign id", "foreign tables", "other schema"])
async def test_a_file_of_something_else_is_refused_and_left_untouched(
    tmp_path: Path, opens: object, content: str
) -> None:
    assert callable(opens)
    path = tmp_path / "traces.db"
    if content == "text":
        path.write_text("not a database, whatever its name says\n" * 10)
    elif content == "other schema":
        await (await open_writer(path, WORK)).close()
        (tmp_path / "traces.db.lock").unlink()
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (id INTEGER)")
        if content == "foreign id":
            connection.execute("PRAGMA application_id = 77")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(NotOurDatabaseError, match="untouched"):
        await opens(path, TRACES)
    assert path.read_bytes() == before


async def test_a_reader_without_a_database_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissingError, match="tracemill serve"):
        await open_reader(tmp_path / "traces.db", TRACES)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(DatabaseMissingError):
        await open_reader(tmp_path / "empty.db", TRACES)


async def test_a_reader_of_an_older_database_asks_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    # Today's file, read by a program that is newer by one.
    newer = type("Newer", (Schema,), {"version": TRACES.version + 1, "__slots__": ()})(
        *("traces", TRACES.application_id)
    )
    with pytest.raises(OlderSchemaError, match="migrates"):
        await open_reader(path, newer)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    reader = await open_reader(path, TRACES)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reader.execute("INSERT INTO journal_positions VALUES ('w', 1, 2)")
    await reader.close()


@pytest.mark.parametrize("name", ["a b", "q?mode=memory", "h#ash", "per%20cent", "ümlaut"])
async def test_any_path_is_opened_as_it_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "traces.db"
    await (await open_writer(path, TRACES)).close()
    assert path.stat().st_size > 0
    await (await open_reader(path, TRACES)).close()


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Choose a folder"):
        await open_writer(tmp_path / "file" / "data" / "traces.db", TRACES)


async def test_a_path_that_is_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "traces.db").mkdir()
    with pytest.raises(StoreError, match=r"traces\.db: cannot be read"):
        await open_writer(tmp_path / "traces.db", TRACES)


async def test_a_damaged_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await (await open_writer(path, TRACES)).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(content)
    with pytest.raises(CorruptDatabaseError, match="restore a backup"):
        await open_writer(path, TRACES)
    with pytest.raises(CorruptDatabaseError):
        await open_reader(path, TRACES)


async def test_a_failed_body_is_rolled_back_and_the_connection_stays_usable(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path / "traces.db", TRACES)

    async def fail() -> None:
        async with transaction(writer):
            await writer.execute("INSERT INTO journal_positions VALUES ('w', 1, 2)")
            raise KeyError("any error")

    with pytest.raises(KeyError):
        await fail()
    async with transaction(writer):
        await writer.execute("INSERT INTO journal_positions VALUES ('x', 1, 2)")
    rows = list(await writer.execute_fetchall("SELECT writer FROM journal_positions"))
    await writer.close()
    assert rows == [("x",)]


async def test_processes_that_write_in_turn_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    one, two = [await open_writer(path, WORK, keep_lock=False) for _ in range(2)]
    order: list[str] = []

    def batch(name: str) -> None:
        with write_lock(path):
            order.append(f"{name} in")
            time.sleep(0.01)  # the time in which another would come in
            order.append(f"{name} out")

    await asyncio.gather(asyncio.to_thread(batch, "a"), asyncio.to_thread(batch, "b"))
    with write_lock(path), pytest.raises(WriterBusyError), write_lock(path, timeout_s=0):
        order.append("never")
    await one.close()
    await two.close()
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


async def test_a_transaction_cancelled_at_any_step_is_over(tmp_path: Path) -> None:
    """Cancelled while BEGIN waited for the connection's thread, the transaction once stayed open for good."""
    writer = await open_writer(tmp_path / "traces.db", TRACES)

    async def write() -> None:
        async with transaction(writer):
            await writer.execute("CREATE TABLE IF NOT EXISTS t (a)")

    try:
        for steps in range(10):
            writing = asyncio.create_task(write())
            for _ in range(steps):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            async with transaction(writer):
                await writer.execute("DROP TABLE IF EXISTS t")
        tables = list(await writer.execute_fetchall("SELECT name FROM sqlite_master WHERE name = 't'"))
    finally:
        await writer.close()
    assert tables == []


NOBODY = 65534


@contextmanager
def folder_for_reading() -> Iterator[Path]:
    """A folder with an empty database, left by its writer, that this process may read and not write."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        user = os.geteuid()
        asyncio.run(_make_and_close(folder / "traces.db"))
        (folder / "traces.db").chmod(0o444)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


async def _make_and_close(path: Path) -> None:
    await (await open_writer(path, TRACES)).close()


def test_a_database_at_rest_is_read_where_nothing_may_be_written() -> None:
    """A read-only mount: SQLite cannot make the files it wants beside a database in WAL mode."""

    async def read(path: Path) -> object:
        reader = await open_reader(path, TRACES)
        rows = await reader.execute_fetchall("SELECT count(*) FROM traces")
        await reader.close()
        return list(rows)

    with folder_for_reading() as folder:
        assert asyncio.run(read(folder / "traces.db")) == [(0,)]


def test_a_writer_says_that_it_may_not_write_there() -> None:
    with folder_for_reading() as folder, pytest.raises(StoreError, match="this user may write to"):
        asyncio.run(_make_and_close(folder / "traces.db"))


WRITE = """
import sqlite3, sys
from pathlib import Path
from store.database import TRACES
from store.database import _open_writer
writer = _open_writer(Path(sys.argv[1]), TRACES, keep_lock=True)
writer.execute("INSERT INTO journal_positions VALUES (?, 1, 2)", (sys.argv[2],))
writer.close()
"""


def test_readers_of_one_process_see_what_writers_write_that_come_and_go(tmp_path: Path) -> None:
    """The second reader's look at the file took away the first one's lock, and the next writer deleted the log."""
    path = tmp_path / "traces.db"

    def write(name: str) -> None:
        subprocess.run([sys.executable, "-c", WRITE, str(path), name], check=True, timeout=30)

    write("a")
    readers = []
    try:
        for _ in range(3):
            readers.append(open_reader_now(path, TRACES))
            assert readers[-1].execute("SELECT count(*) FROM journal_positions").fetchone() == (1,)
        for count, name in ((2, "b"), (3, "c")):
            write(name)
            found = [reader.execute("SELECT count(*) FROM journal_positions").fetchone()[0] for reader in readers]
            assert found == [count] * 3
    finally:
        for reader in readers:
            reader.close()
