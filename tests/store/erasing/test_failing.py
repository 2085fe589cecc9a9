"""An erasure that fails says so, holds up no other, and is done when what was in its way is gone."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from store.change import ChangeRecord, find_change
from store.erasing.erasure import Erasing
from store.erasing.progress import find_progress
from store.erasing.selector import Selector, SelectorKind
from store.raw_calls import RawCalls
from store.search_index import SearchChore
from store.traces import TraceReader, TraceWriter
from store.upkeep import make_followers
from tests.store.erasing.store import NoJournals, asked, chat, do, faults, ids

BROKEN = """
    CREATE TRIGGER broken BEFORE DELETE ON traces WHEN old.user = CAST('jane' AS BLOB)
    BEGIN SELECT raise(ABORT, 'quotes canary'); END
"""
"""In place of a disk that fails for some rows and not for others."""


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def record(path: Path, change: UUID) -> ChangeRecord:
    async with await TraceReader.open(path) as reader:
        found = await reader.look(lambda db: find_change(db, change))
    assert found is not None
    return found


async def test_an_erasure_that_fails_holds_up_no_other_and_goes_on_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that met an error kept all that were asked for after it waiting."""
    path, clock = tmp_path / "traces.db", Clock()
    first, second = (asked(Selector(SelectorKind.USER, user)) for user in ("jane", "joe"))
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(1, "canary of jane", "a", user="jane"), chat(2, "q", "a", user="joe")])
        await writer.write(changes=[first, second])
        run(path, BROKEN)
        erasing = Erasing(make_followers(RawCalls(tmp_path)), tmp_path, NoJournals(), pause_s=0, clock=clock)
        with caplog.at_level(logging.ERROR):
            await do(writer, erasing, SearchChore())
        assert await ids(path) == {UUID(int=1)}
        assert (await record(path, second.id)).finished_at is not None
        failed = await record(path, first.id)
        assert failed.finished_at is None
        assert failed.result["error"] == "IntegrityError: SQLITE_CONSTRAINT_TRIGGER in the phase 'traces'"
        async with await TraceReader.open(path) as reader:
            progress = await reader.look(lambda db: find_progress(db, first.id))
        assert progress is not None
        assert (progress.phase, progress.result["failures"], progress.result["traces"]) == ("traces", 1, 0)
        assert "SQLITE_CONSTRAINT_TRIGGER" in caplog.text
        assert "canary" not in caplog.text
        for failures, seconds in ((2, 5.0), (3, 10.0), (4, 20.0)):
            clock.seconds += seconds - 1
            await do(writer, erasing)
            assert (await record(path, first.id)).result["failures"] == failures - 1
            clock.seconds += 1
            await do(writer, erasing)
            assert (await record(path, first.id)).result["failures"] == failures
        run(path, "DROP TRIGGER broken")
        clock.seconds += 3600
        await do(writer, erasing, SearchChore())
        done = await record(path, first.id)
        assert done.finished_at is not None
        assert done.result == {"by": "user", "traces": 1, "dead_letters": 0, "feedback": 0}
        assert await ids(path) == set()
        assert faults(path) == []


async def test_what_cannot_even_be_read_is_told_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    first, second = (asked(Selector(SelectorKind.USER, user)) for user in ("jane", "joe"))
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(2, "q", "a", user="joe")])
        await writer.write(changes=[first, second])
        run(path, "UPDATE erasures SET selector = x'7b' WHERE number = 1")
        erasing = Erasing(make_followers(RawCalls(tmp_path)), tmp_path, NoJournals(), pause_s=0)
        await do(writer, erasing, SearchChore())
        assert await ids(path) == set()
        assert "JSONDecodeError" in (await record(path, first.id)).result["error"]


def run(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql)
