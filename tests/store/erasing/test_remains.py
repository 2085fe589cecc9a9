"""What SQLite leaves in its pages when it moves rows goes with what was erased, and nothing else does."""

import asyncio
import os
import random
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from store.chore import Step
from store.connection import connect_sqlite
from store.erasing.database_file import DatabaseFile, Log
from store.erasing.erasure import Erasing
from store.erasing.page_room import unused_room
from store.erasing.remains import Lap, WorkLap, cut_log
from store.erasing.selector import Selector, SelectorKind
from store.raw_calls import RawCalls
from store.search_index import SearchChore
from store.trace import Reply, Trace
from store.traces import TraceReader, TraceWriter
from store.upkeep import make_followers
from store.work import WorkStore
from store.writer_lock import WriterLock
from tests.store.erasing.store import NoJournals, asked, do, faults, rows, say
from tests.store.traces import make_trace

CANARY = b"canary"


def made(chance: random.Random, number: int, *, is_gone: bool) -> Trace:
    """Make a trace of any size; one that is to go says so all over."""
    word = CANARY.decode() if is_gone else "kept"
    long = "x" * chance.randrange(chance.choice((5, 300, 300, 9000)))
    return make_trace(
        number,
        messages=(say(f"{word} {number} {long}"),),
        replies=(Reply(0, say(f"re {word} {number}", "assistant"), "stop"),),
        user="jane" if is_gone else "joe",
        error=f"{word} error {number}" if chance.random() < 0.2 else None,
        tags={word: f"{word} {number}"} if chance.random() < 0.3 else {},
        upstream_id=f"{word}-{number}",
    )


def holds(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and CANARY in path.read_bytes()]


def is_whole(path: Path) -> bool:
    return rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("seed", range(16))
async def test_no_page_holds_what_was_erased_while_calls_come_in(tmp_path: Path, seed: int) -> None:
    """Four of fourteen such stores held some of it until they were rewritten."""
    chance = random.Random(seed)
    path, number, kept = tmp_path / "traces.db", 0, []
    async with await TraceWriter.open(path) as writer:

        async def store(count: int, share: float) -> None:
            nonlocal number
            batch = []
            for _ in range(count):
                number += 1
                is_gone = chance.random() < share
                batch.append(made(chance, number, is_gone=is_gone))
                if not is_gone:
                    kept.append(batch[-1])
            await writer.write(batch)

        for _ in range(6):
            await store(chance.choice((5, 30, 60)), 0.6)
        await do(writer, SearchChore())
        await writer.write(changes=[asked(Selector(SelectorKind.USER, "jane"))])
        erasing = Erasing(make_followers(RawCalls(tmp_path)), tmp_path, NoJournals(), pause_s=0, clean_s=0)
        chores = (erasing, SearchChore())
        while any([(await writer.perform(chore)).has_more for chore in chores]):
            if chance.random() < 0.5:
                await store(chance.choice((1, 20)), 0)
        assert rows(path, "SELECT count(*) FROM erasures") == [(0,)]
        assert holds(tmp_path) == []
        # Nothing of it comes back from what the writer remembers of its pages.
        await store(60, 0)
        assert holds(tmp_path) == []
        assert is_whole(path)
        assert faults(path) == []
    assert holds(tmp_path) == []
    async with await TraceReader.open(path) as reader:
        assert [each async for each in reader.traces()] == sorted(kept, key=lambda t: (t.created_at, t.id.bytes))


@pytest.mark.parametrize("auto_vacuum", [0, 2])
@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_of_any_database_only_what_nobody_reads_is_overwritten(
    tmp_path: Path, page_bytes: int, auto_vacuum: int
) -> None:
    path, chance = tmp_path / "any.db", random.Random(page_bytes)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in (f"page_size = {page_bytes}", f"auto_vacuum = {auto_vacuum}", "secure_delete = OFF"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE a (x INTEGER PRIMARY KEY, y)")
        db.execute("CREATE TABLE b (x PRIMARY KEY, y) WITHOUT ROWID")
        db.execute("CREATE INDEX c ON a (y)")
        db.execute("BEGIN")
        for n in range(3000):
            long = chance.randbytes(chance.randrange(chance.choice((20, 300, 3000))))
            db.execute("INSERT OR REPLACE INTO a VALUES (?, ?)", (chance.randrange(4000), long))
            db.execute("INSERT OR REPLACE INTO b VALUES (?, ?)", (chance.randbytes(8), long[:100]))
            if n % 5 == 0:
                db.execute("DELETE FROM a WHERE x % 7 = ?", (n % 7,)) if n % 200 == 0 else None
        db.execute("COMMIT")
        before = list(db.iterdump())
        pages = path.stat().st_size // page_bytes
        dirty = _dirty(path, page_bytes)
        assert dirty
        file = DatabaseFile(path)
        place = file.pages
        assert place == pages
        while place:
            place = file.clean_down(place, 0)
        file.sync()
        assert not _dirty(path, page_bytes)
    with closing(sqlite3.connect(path)) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _dirty(path: Path, page_bytes: int) -> int:
    """Count the pages of tables and indexes, by SQLite's own account, that hold something in their unused room."""
    data = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        try:
            found = db.execute("SELECT pageno FROM dbstat WHERE pagetype IN ('leaf', 'internal')").fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    count = 0
    for (number,) in found:
        page = data[(number - 1) * page_bytes : number * page_bytes]
        room = unused_room(page, page_bytes, is_first=number == 1)
        assert room is not None
        count += any(page[slice(*room)])
    return count


def test_cleaning_that_is_killed_again_and_again_leaves_a_whole_database(tmp_path: Path) -> None:
    path, chance = tmp_path / "traces.db", random.Random(3)
    traces = [made(chance, n, is_gone=False) for n in range(1, 1200)]
    asyncio.run(_write(path, traces[:600]))
    kills = 0
    while kills < 12:
        child = os.fork()
        if child == 0:
            try:
                threading.Timer(chance.uniform(0.02, 0.15), os.kill, (os.getpid(), signal.SIGKILL)).start()
                asyncio.run(_write_and_clean(path, traces))
            finally:
                os._exit(1)
        chance.random()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        kills += 1
        assert is_whole(path)
        assert faults(path) == []
    stored = asyncio.run(_stored(path))
    assert len(stored) >= 600
    assert {trace.id: trace for trace in traces} | {trace.id: trace for trace in stored} == {
        trace.id: trace for trace in traces
    }


async def _write(path: Path, traces: list[Trace]) -> None:
    async with await TraceWriter.open(path) as writer:
        for at in range(0, len(traces), 50):
            await writer.write(traces[at : at + 50])


async def _write_and_clean(path: Path, traces: list[Trace]) -> None:
    """Store and clean until somebody kills us."""
    async with await TraceWriter.open(path) as writer:
        cleaning = _Cleaning(path)
        while True:
            known = await writer.known([trace.id for trace in traces])
            await writer.write([trace for trace in traces if trace.id not in known][:20])
            await writer.perform(cleaning)


class _Cleaning:
    name = "cleaning"

    def __init__(self, path: Path) -> None:
        self._lap = Lap(path, 0)

    def step(self, db: sqlite3.Connection) -> Step:
        self._lap.step(db)
        return Step()


async def _stored(path: Path) -> list[Trace]:
    async with await TraceReader.open(path) as reader:
        return [trace async for trace in reader.traces()]


async def test_a_reader_is_waited_for_and_sees_what_it_saw(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await _write(path, [made(random.Random(1), n, is_gone=False) for n in range(1, 300)])
    with closing(connect_sqlite(path, mode="rw")) as db, closing(connect_sqlite(path, mode="ro")) as reader:
        db.execute("UPDATE sweep SET place = 5")
        lap = Lap(path, 0)
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*), sum(length(body)) FROM nodes").fetchone()
        assert lap.step(db) is None
        assert reader.execute("SELECT count(*), sum(length(body)) FROM nodes").fetchone() == before
        reader.execute("COMMIT")
        while not lap.step(db):
            assert reader.execute("SELECT count(*), sum(length(body)) FROM nodes").fetchone() == before
    assert is_whole(path)


async def test_while_the_working_memory_is_cleaned_nobody_else_writes_and_afterwards_all_do(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    async with await WorkStore.open(path):
        pass
    with closing(connect_sqlite(path, mode="rw")) as other:
        other.execute("CREATE TABLE filler (x INTEGER PRIMARY KEY, y)")
        other.execute("WITH RECURSIVE n (x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 2000) "
                      "INSERT INTO filler SELECT x, randomblob(500) FROM n")  # fmt: skip
        lap = WorkLap(path, 0)
        lock = WriterLock(path)
        lock.acquire_nowait()
        assert lap.step() is None
        lock.release()
        assert lap.step() is False
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM filler")
        while not lap.step():
            pass
        version = other.execute("PRAGMA data_version").fetchone()
        other.execute("DELETE FROM filler WHERE x % 2")
        assert version
    assert is_whole(path)


def test_a_log_tells_its_pages_and_when_it_began_anew(tmp_path: Path) -> None:
    path = tmp_path / "any.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        log = Log(path)
        db.execute("CREATE TABLE a (x)")
        assert {1, 2} <= log.pages()
        salts = log.salts()
        db.execute("INSERT INTO a VALUES (1)")
        assert log.salts() == salts
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        db.execute("INSERT INTO a VALUES (1)")
        assert log.salts() != salts
        assert cut_log(db)
        assert (log.is_empty, log.pages(), log.salts()) == (True, set(), b"")


def test_what_is_rearranged_between_two_steps_is_cleaned_all_the_same(tmp_path: Path) -> None:
    """Pages change their places when rows are balanced, and the writer remembers pages as they were."""
    path, chance = tmp_path / "any.db", random.Random(9)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in ("page_size = 512", "auto_vacuum = 2", "secure_delete = ON"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE b (x PRIMARY KEY, y) WITHOUT ROWID")
        rows = [(chance.randbytes(8), chance.randbytes(chance.randrange(60, 120))) for _ in range(4000)]
        db.execute("BEGIN")
        db.executemany("INSERT INTO b VALUES (?, ?)", rows)
        db.execute("COMMIT")
    _plant(path, 512)
    with closing(connect_sqlite(path, mode="rw")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("SELECT count(*), sum(length(y)) FROM b").fetchone()
        assert holds(tmp_path)
        lap, steps = Lap(path, 0), 1
        while not lap.step(db):
            steps += 1
            db.execute("SELECT count(*), sum(length(y)) FROM b").fetchone()
            db.execute("BEGIN")
            db.execute("DELETE FROM b WHERE abs(random()) % 20 = 0")
            rows = [(chance.randbytes(8), chance.randbytes(chance.randrange(60, 120))) for _ in range(200)]
            db.executemany("INSERT INTO b VALUES (?, ?)", rows)
            db.execute("COMMIT")
            db.execute("PRAGMA incremental_vacuum(20)").fetchall()
        assert steps > 5
        db.execute("UPDATE b SET y = zeroblob(length(y))")
        assert holds(tmp_path) == []
        assert is_whole(path)


def _plant(path: Path, page_bytes: int) -> None:
    """Write the canary into the unused room of every page that has some."""
    data = bytearray(path.read_bytes())
    for at in range(page_bytes, len(data), page_bytes):
        room = unused_room(bytes(data[at : at + page_bytes]), page_bytes)
        if room is not None and room[1] - room[0] >= len(CANARY):
            data[at + room[1] - len(CANARY) : at + room[1]] = CANARY
    path.write_bytes(data)
