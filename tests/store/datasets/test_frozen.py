"""A frozen version survives everybody: plain SQL, other processes, kills at any moment."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store.body import Packer
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.row import Part, Row
from store.datasets.version import Birth, Version
from store.errors import CorruptDatabaseError, DatasetError
from tests.store.datasets.rows import DROPPED, KEPT, row

ROWS = [row(number, part=Part.TEST if number % 3 == 0 else Part.TRAIN) for number in range(30)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(tmp_path / "work.db") as opened:
        async with opened.birth("set", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
            await born.add_rows([*ROWS, row(99, end=DROPPED)])
        yield opened


@pytest.fixture
def attacker(store: DatasetStore, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody with the file and no manners: no foreign keys, no checks, recursive triggers off."""
    assert store, "the file is made first"
    with closing(sqlite3.connect(tmp_path / "work.db", isolation_level=None, timeout=1)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection


PLACE = "SELECT 1, 'x', row_hash, learned_hash, 'train', 'kept', 's', 'r', NULL FROM version_rows LIMIT 1"
CONTENT = "SELECT number, row_hash, learned_hash, x'007B7D' FROM row_contents LIMIT 1"
VERSION = (
    "SELECT id, dataset, number, 'active', birth, parent, note, '{}', 0, created_at, NULL, NULL, NULL, NULL"
    " FROM versions WHERE id = 1"
)
ATTACKS = [
    "UPDATE versions SET note = 'mine'",
    "UPDATE versions SET state = 'active', hash = NULL, frozen_at = NULL, counts = NULL",
    "UPDATE versions SET hash = x'00' WHERE id = 1",
    "UPDATE versions SET manifest = '{}'",
    "UPDATE OR REPLACE versions SET id = 2",
    "DELETE FROM versions",
    f"INSERT OR REPLACE INTO versions {VERSION}",
    f"REPLACE INTO versions {VERSION.replace('SELECT id', 'SELECT 7')}",
    f"INSERT INTO versions {VERSION} ON CONFLICT DO UPDATE SET note = 'mine'",
    f"INSERT INTO version_rows {PLACE}",
    f"INSERT OR REPLACE INTO version_rows {PLACE}",
    f"REPLACE INTO version_rows {PLACE.replace('x', 'r_0000001')}",
    "UPDATE version_rows SET part = NULL",
    "UPDATE OR IGNORE version_rows SET state = 'dropped' WHERE state = 'kept'",
    "UPDATE version_rows SET version = 2",
    "UPDATE OR REPLACE version_rows SET row_id = 'r_0000001'",
    "DELETE FROM version_rows",
    "DELETE FROM version_rows WHERE state = 'dropped'",
    f"INSERT OR REPLACE INTO row_contents {CONTENT}",
    f"REPLACE INTO row_contents {CONTENT.replace('SELECT number', 'SELECT NULL')}",
    f"REPLACE INTO row_contents {CONTENT.replace('row_hash,', 'randomblob(20),', 1)}",
    "UPDATE row_contents SET body = x'007B7D'",
    "UPDATE OR REPLACE row_contents SET row_hash = (SELECT row_hash FROM row_contents LIMIT 1)",
    "DELETE FROM row_contents",
    "UPDATE decisions SET kind = 'reject'",
    "DELETE FROM decisions",
    "REPLACE INTO decisions SELECT id, dataset, learned_hash, row_id, 'reject', who, at FROM decisions",
    "UPDATE decision_texts SET body = x'00'",
    "DELETE FROM decision_texts",
    "REPLACE INTO decision_texts SELECT decision, x'00' FROM decision_texts",
]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("schema", ["main", "other"])
async def test_plain_sql_changes_nothing(
    store: DatasetStore, attacker: sqlite3.Connection, tmp_path: Path, schema: str
) -> None:
    decision = Decision("set", ROWS[0].learned_hash, DecisionKind.ACCEPT, "ann", note="a note")
    await store.note_decision(decision)
    before = dump(tmp_path / "work.db")
    connection = attacker
    if schema == "other":
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("ATTACH ? AS other", (str(tmp_path / "work.db"),))
    for sql in ATTACKS:
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(sql)
    if schema == "other":
        connection.close()
    assert dump(tmp_path / "work.db") == before
    checks, guards = await store.verify()
    assert (checks[0].problems, guards) == (0, [])


async def test_what_is_forced_past_the_triggers_is_found(
    store: DatasetStore, attacker: sqlite3.Connection, tmp_path: Path
) -> None:
    version = await store.version("set")
    for (name,) in attacker.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        attacker.execute(f"DROP TRIGGER {name}")
    found = dump(tmp_path / "work.db")
    said = Packer().pack(row(1, "forged").text)
    forgeries = {
        "what it holds is not what its hash says": (
            "UPDATE row_contents SET body = :body WHERE row_hash = :hash",
            {"body": said, "hash": bytes.fromhex(ROWS[1].row_hash)},
        ),
        "what it holds is missing": (
            "DELETE FROM row_contents WHERE row_hash = :hash",
            {"hash": bytes.fromhex(ROWS[1].row_hash)},
        ),
        "what it teaches": ("UPDATE version_rows SET learned_hash = zeroblob(20) WHERE row_id = 'r_0000003'", {}),
        "its hash is not": ("UPDATE versions SET hash = zeroblob(32)", {}),
        "its test hash": ("UPDATE versions SET test_hash = NULL", {}),
        "rows were taken in": ("DELETE FROM version_rows WHERE state = 'dropped'", {}),
        "its counts": ("UPDATE version_rows SET state = 'review' WHERE state = 'dropped'", {}),
        "was erased, and what it held": (
            "INSERT INTO erased_rows SELECT row_hash, 1, '' FROM row_contents LIMIT 1",
            {},
        ),
        "holds another row_id": ("UPDATE version_rows SET row_id = 'r_x' WHERE row_id = 'r_0000004'", {}),
    }
    for told, (sql, values) in forgeries.items():
        attacker.execute("BEGIN")
        attacker.execute(sql, values)
        attacker.execute("COMMIT")
        checks, guards = await store.verify("set")
        assert "frozen_rows_stay" in guards
        assert any(told in problem or "two places" in problem for problem in checks[0].named), (told, checks)
        await restore(attacker, found)
    assert (await store.verify("set-v1"))[0][0].problems == 0
    attacker.execute("UPDATE row_contents SET body = :body WHERE row_hash = :hash", next(iter(forgeries.values()))[1])
    with pytest.raises(CorruptDatabaseError, match="set-v1, row 'r_0000001'"):
        [one async for one in store.rows(version)]


async def restore(attacker: sqlite3.Connection, found: list[str]) -> None:
    attacker.execute("BEGIN")
    tables = ("erased_rows", "version_rows", "row_contents", "versions")
    for table in tables:
        attacker.execute(f"DELETE FROM {table}")  # noqa: S608 - our names
    for line in found:
        if line.startswith("INSERT INTO") and line.split('"')[1] in tables:
            attacker.execute(line)
    attacker.execute("COMMIT")


def freeze_in_a_process(path: Path, barrier: object, told: object) -> None:
    async def freeze() -> Version:
        async with await DatasetStore.open(path) as store:
            version = await store.version("race")
            barrier.wait(20)  # type: ignore[attr-defined]
            return await store.freeze(version)

    frozen = asyncio.run(freeze())
    told.put((frozen.hash, frozen.frozen_at))  # type: ignore[attr-defined]


async def test_two_processes_that_freeze_at_once_agree(store: DatasetStore, tmp_path: Path) -> None:
    async with store.birth("race", birth=Birth.UPLOAD, manifest={}) as born:
        await born.add_rows(ROWS)
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2), context.Queue()
    racers = [context.Process(target=freeze_in_a_process, args=(tmp_path / "work.db", barrier, told)) for _ in range(2)]
    for racer in racers:
        racer.start()
    answers = [await asyncio.to_thread(told.get, True, 30) for _ in racers]
    for racer in racers:
        racer.join()
    assert answers[0] == answers[1]
    assert (await store.version("race")).hash == answers[0][0] == (await store.version("set")).hash


async def test_rows_added_while_it_is_frozen_are_in_it_or_refused(store: DatasetStore) -> None:
    async with store.birth("race", birth=Birth.UPLOAD, manifest={}) as born:
        await born.add_rows(ROWS)
    version = await store.version("race")
    added: list[int] = []

    async def add_until_refused(first: int) -> None:
        for number in range(first, first + 1000):
            try:
                await store.add_rows(version, [row(number)])
            except DatasetError:
                return
            added.append(number)

    await asyncio.gather(*(add_until_refused(1000 * turn) for turn in range(1, 4)), store.freeze(version))
    frozen = await store.version("race")
    assert frozen.is_frozen
    assert frozen.counts.kept == len(ROWS) + len(added) < len(ROWS) + 3000
    assert added
    assert (await store.verify("race-v1"))[0][0].problems == 0


BIRTH = """
import asyncio, sys
from pathlib import Path
from store.datasets.dataset_store import DatasetStore
from store.datasets.version import Birth
from tests.store.datasets.rows import row

async def main():
    async with await DatasetStore.open(Path(sys.argv[1])) as store:
        async with store.birth("killed", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
            for start in range(0, 6000, 100):
                await born.add_rows([row(number) for number in range(start, start + 100)])
                print(start, flush=True)
        print("done", flush=True)

asyncio.run(main())
"""


def killed_after(path: Path, lines: int, wait_s: float = 0.0) -> None:
    """Make a version in a process that is killed after so many batches."""
    with subprocess.Popen([sys.executable, "-c", BIRTH, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        time.sleep(wait_s)  # somewhere in what comes next
        os.kill(child.pid, signal.SIGKILL)


@pytest.mark.parametrize(("lines", "wait_s"), [(1, 0.0), (20, 0.0), (59, 0.01), (60, 0.0), (60, 0.1), (60, 0.2)])
async def test_a_killed_birth_leaves_a_whole_version_or_none(
    store: DatasetStore, tmp_path: Path, lines: int, wait_s: float
) -> None:
    path = tmp_path / "work.db"
    await asyncio.to_thread(killed_after, path, lines, wait_s)
    there = [summary.name for summary in await store.datasets()]
    if "killed" in there:
        version = await store.version("killed", wants="frozen")
        assert (version.counts.kept, (await store.verify("killed"))[0][0].problems) == (6000, 0)
        return
    async with store.birth("next", birth=Birth.UPLOAD, manifest={}) as born:
        await born.add_rows(ROWS[:1])
    counts = "SELECT (SELECT count(*) FROM row_contents), (SELECT count(*) FROM birth_rows)"
    assert await store._row(counts, {}) == (31, 0)
    async with store.birth("killed", birth=Birth.UPLOAD, manifest={}, freeze=True) as born:
        await born.add_rows([Row(ROWS[0].content, None, KEPT)])
    assert born.version is not None
    assert born.version.label == "killed-v1"
