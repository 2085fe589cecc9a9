"""Migrations under fire: killed at any moment, without room, and of databases that are too new."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from store import database
from store.call import Call
from store.connection import connect_sqlite
from store.database import TRACES, WORK, Schema, open_writer
from store.errors import StoreFullError
from store.job import JobStatus
from store.schema_version import migrate, read_version
from store.work import WorkStore
from tests.folder_state import folder_state
from tests.server import tracemill

RELEASED = Path(__file__).parent / "released"
SCHEMAS = {"traces": TRACES, "work": WORK}
FIXTURES = sorted(RELEASED.glob("*-*.sql"))


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database as a release left it, named for its schema."""
    path = tmp_path / f"{request.param.stem.partition('-')[0]}.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(request.param.read_text("utf-8"))
        made.execute("PRAGMA journal_mode = WAL")
    return path


def schema_of(path: Path) -> Schema:
    return SCHEMAS[path.stem]


def test_every_released_version_is_kept() -> None:
    for name, schema in SCHEMAS.items():
        versions = {int(path.stem.partition("-")[2]) for path in FIXTURES if path.stem.startswith(name)}
        assert versions == set(range(1, schema.version))


def content(path: Path) -> tuple[int, str]:
    """The version of a database and a hash of all that it holds, its layout too."""
    digest = blake2b()
    with closing(sqlite3.connect(path)) as connection:
        for line in connection.iterdump():
            digest.update(line.encode("utf-8", "surrogatepass"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return read_version(connection), digest.hexdigest()


def open_now(path: Path) -> sqlite3.Connection:
    """Open to write; nothing is waited for to be on the disk, since only processes die here."""
    connection = connect_sqlite(path, mode="rw")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def die_while_migrating(path: Path, statement: int, step: int | None = None) -> bool:
    """Migrate in a process that is gone before its n-th statement, or in it; tell whether it came to its end.

    Args:
        path: The database.
        statement: At which one; BEGIN and COMMIT count, too.
        step: In the middle of it, after so many steps of SQLite's machine; None before it.
    """
    child = os.fork()
    if child == 0:
        seen = 0
        connection = open_now(path)

        def count(_sql: str) -> None:
            nonlocal seen
            seen += 1
            if seen == statement:
                if step is None:
                    os._exit(9)
                connection.set_progress_handler(lambda: os._exit(9), step)

        connection.set_trace_callback(count)
        try:
            migrate(connection, schema_of(path))
        finally:
            os._exit(0 if seen < statement else 8)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 9


def moments() -> Iterator[tuple[int, int | None]]:
    for statement in range(1, 1000):
        yield statement, None
        if statement % 3 == 0:
            yield statement, 10


def test_killed_at_any_statement_a_migration_leaves_a_whole_version_and_goes_on_from_it(
    released: Path, tmp_path: Path
) -> None:
    states = {content(released)}
    with closing(connect_sqlite(released, mode="ro")) as connection:
        old = read_version(connection)
    whole = tmp_path / "whole" / released.name
    whole.parent.mkdir()
    shutil.copy(released, whole)
    for version in range(old + 1, schema_of(released).version + 1):
        with closing(open_now(whole)) as connection:
            migrate(connection, Upto(schema_of(released), version))
        states.add(content(whole))
    new = content(whole)
    assert len(states) == schema_of(released).version - old + 1
    killed = 0
    for statement, step in moments():
        victim = tmp_path / f"{statement}-{step}" / released.name
        victim.parent.mkdir()
        shutil.copy(released, victim)
        is_through = die_while_migrating(victim, statement, step)
        assert content(victim) in states
        with closing(open_now(victim)) as connection:
            migrate(connection, schema_of(released))
        assert content(victim) == new
        shutil.rmtree(victim.parent)
        killed += not is_through
        if is_through and step is None:
            break
    assert killed > 5


class Upto(Schema):
    """A schema as it was at an earlier version."""

    def __init__(self, schema: Schema, version: int) -> None:
        super().__init__(schema.name, schema.application_id)
        object.__setattr__(self, "_upto", version)

    def migrations(self) -> tuple[object, ...]:  # type: ignore[override]
        return super().migrations()[: self._upto]  # type: ignore[attr-defined]

    __slots__ = ("_upto",)


async def test_what_processing_paid_for_outlives_a_migration(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript((RELEASED / "work-1.sql").read_text("utf-8"))
    async with await WorkStore.open(path) as work:
        paid = await work.call(b"\1" * 20)
        refused = await work.call(b"\2" * 20)
        verdicts = await work.verdicts([b"\3" * 20])
        first, second = await work.job("first"), await work.job("second")
    assert paid == Call(
        b"\1" * 20, "relabel", "big", "https://u.test/v1", b'{"seed":12345678901234567890}', b'{"choices":[]}',
        b'{"total_tokens":1.0}', 0.25, 2,
    )  # fmt: skip
    assert refused is not None
    assert (refused.reply, refused.error, refused.request) == (None, "refused", b'{"q":"\\ud800 \\u0000"}')
    assert verdicts[b"\3" * 20].value == {"score": 0.5}
    assert first is not None
    assert second is not None
    assert (first.status, first.counts, second.status) == (JobStatus.SUCCESS, {"kept": 3}, JobStatus.RUNNING)


async def test_a_migration_that_rewrites_asks_for_room_first(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(released)
    free = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(database.shutil, "disk_usage", lambda _: free)
    with pytest.raises(StoreFullError, match=r"Make room") as refused:
        await open_writer(released, schema_of(released))
    assert str(released) in str(refused.value)
    assert content(released) == before
    monkeypatch.undo()
    await (await open_writer(released, schema_of(released))).close()
    assert content(released)[0] == schema_of(released).version


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that a later version wrote."""
    data_dir = tmp_path_factory.mktemp("newer") / "data"
    data_dir.mkdir(mode=0o700)
    for name, schema in SCHEMAS.items():
        with closing(sqlite3.connect(data_dir / f"{name}.db")) as made:
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("CREATE TABLE traces (a)")
            made.execute(f"PRAGMA application_id = {schema.application_id}")
            made.execute(f"PRAGMA user_version = {schema.version + 1}")
        (data_dir / f"{name}.db").chmod(0o600)
    return data_dir


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--upstream", "http://127.0.0.1:9/v1", "--port", "0", "--admin-port", "0"),
        ("traces", "list"),
        ("traces", "show", "00000000-0000-0000-0000-000000000001"),
        ("export", "-o", "-"),
        ("reingest",),
        ("backup", "TARGET"),
        ("status", "run"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_later_version_is_refused_politely_by_every_command(newer: Path, tmp_path: Path, command: list[str]) -> None:
    before = folder_state(newer)
    words = [str(tmp_path / "copy") if word == "TARGET" else word for word in command]
    done = tracemill(*words, "--data-dir", newer)
    told = done.stdout + done.stderr
    assert (done.returncode, "Traceback" in told) == (1, False), told
    assert "later" in told or "schema_newer" in told
    assert folder_state(newer) == before
    assert list(tmp_path.iterdir()) == []
