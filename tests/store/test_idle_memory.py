"""What a burst took is given back when nothing is stored for a while."""

import gc
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store.idle_memory import IdleMemory
from store.traces import TraceReader, TraceWriter
from tests.store.traces import make_trace

MEASURE = """
import re, sqlite3, sys
from store.idle_memory import IdleMemory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read()).group(1))

db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA cache_size = -32000")
db.execute("CREATE TABLE t (x BLOB)")
now = [0.0]
chore = IdleMemory(clock=lambda: now[0])
db.executemany("INSERT INTO t VALUES (randomblob(8000))", ((),) * 3000)
db.commit()
chore.step(db)
before = resident()
now[0] = 10.0
chore.step(db)
print(before - resident())
"""


class Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "t.db")) as opened:
        opened.execute("CREATE TABLE t (x)")
        yield opened


def insert(db: sqlite3.Connection, rows: int) -> None:
    db.executemany("INSERT INTO t VALUES (1)", ((),) * rows)
    db.commit()


def test_it_waits_for_a_pause_and_gives_back_once(db: sqlite3.Connection) -> None:
    now = 0.0
    chore = IdleMemory(idle_s=2.0, clock=lambda: now)
    insert(db, 3000)
    chore.step(db)
    now = 1.9
    chore.step(db)
    assert chore.times == 0
    insert(db, 1)
    now = 2.1
    chore.step(db)
    now = 4.0
    chore.step(db)
    assert chore.times == 0
    gc.disable()
    try:
        cycle = Cycle()
        garbage = weakref.ref(cycle)
        del cycle
        now = 4.2
        assert chore.step(db).is_resting
        assert (chore.times, garbage()) == (1, None)
    finally:
        gc.enable()
    now = 100.0
    chore.step(db)
    assert chore.times == 1


def test_after_a_few_calls_there_is_nothing_to_give_back(db: sqlite3.Connection) -> None:
    now = 0.0
    chore = IdleMemory(clock=lambda: now)
    insert(db, 100)
    for now in (0.0, 10.0, 20.0):  # noqa: B007 - the chore's clock
        chore.step(db)
    assert chore.times == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_pages_of_the_database_go_back_to_the_system(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "t.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert int(done.stdout) > 10_000, "kB"


async def test_a_writer_that_forgot_what_it_remembered_stores_on_as_before(tmp_path: Path) -> None:
    now = 0.0
    chore = IdleMemory(idle_s=1.0, clock=lambda: now)
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        traces = [make_trace(number) for number in range(1, 2502)]
        await writer.write(traces[:2500])
        await writer.perform(chore)
        now = 2.0
        assert (await writer.perform(chore)).is_resting
        counts = await writer.write([traces[0], traces[2500]])
        assert (counts.traces, counts.duplicates) == (1, 1)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert await reader.trace(traces[2500].id) == traces[2500]
