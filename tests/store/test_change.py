"""Changes: applied once, in the writer's transaction, and noted whatever comes of them."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from store.change import Applied, Change, ChangeKind, find_change, finish_change, list_changes
from store.chore import NOTHING_TO_DO, Step
from store.database import TRACES, open_writer
from store.errors import StoreError
from store.follower import StoredTrace
from store.trace import JournalPosition
from store.trace_writer import TraceWriter
from store.traces import TraceReader
from store.uuid7 import uuid7
from tests.store.traces import make_trace

ASKED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def change(kind: ChangeKind = ChangeKind.EXPORT, **body: Any) -> Change:
    return Change(uuid7(), kind, ASKED, "admin", json.dumps(body).encode())


async def test_a_change_is_noted_once_however_often_it_is_read(tmp_path: Path) -> None:
    asked = change(where="model = m")
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        for segment in (1, 2):
            await writer.write(positions=[JournalPosition("w", segment, 0)], changes=[asked, asked])
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        records = await reader.look(list_changes)
        found = await reader.look(lambda db: find_change(db, asked.id))
    assert [(each.id, each.kind, each.asked_at, each.asked_by) for each in records] == [
        (asked.id, "export", ASKED, "admin")
    ]
    assert found == records[0]
    assert found.result == {"where": "model = m"}
    assert found.finished_at == found.applied_at >= ASKED


async def test_changes_are_listed_last_first_by_kind_and_by_page(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(changes=[change(n=1), change(ChangeKind.IMPORT, n=2), change(n=3)])
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        exports = await reader.look(lambda db: list_changes(db, ChangeKind.EXPORT, limit=1))
        older = await reader.look(lambda db: list_changes(db, ChangeKind.EXPORT, before=exports[0].number))
        everything = await reader.look(list_changes)
    assert [each.result["n"] for each in exports + older] == [3, 1]
    assert [each.result["n"] for each in everything] == [3, 2, 1]


async def test_a_change_that_cannot_be_done_changes_nothing_and_says_why(tmp_path: Path) -> None:
    def apply(db: sqlite3.Connection, change: Change) -> Applied:
        db.execute("DELETE FROM traces")
        if json.loads(change.body) == {}:
            raise ValueError("asks for nothing")
        return Applied({"traces": 1}, is_finished=False, has_erased=True)

    connection = await open_writer(tmp_path / "traces.db", TRACES)
    bad, good = change(ChangeKind.ERASE), change(ChangeKind.ERASE, id="x")
    trace = make_trace(1, messages=(), replies=())
    async with TraceWriter(connection, tmp_path / "traces.db", appliers={ChangeKind.ERASE: apply}) as writer:
        assert (await writer.write([trace], changes=[bad])).traces == 1
        async with await TraceReader.open(tmp_path / "traces.db") as reader:
            assert await reader.trace(trace.id) == trace
            await writer.write(changes=[good])
            assert await reader.trace(trace.id) is None
            records = await reader.look(list_changes)
            assert [each.result for each in records] == [{"traces": 1}, {"error": "asks for nothing"}]
            assert [each.finished_at is None for each in records] == [True, False]
            await writer.perform(_Finish(good))
            assert (await reader.look(list_changes))[0].finished_at == ASKED


class _Finish:
    name = "finish"

    def __init__(self, change: Change) -> None:
        self._change = change

    def step(self, db: sqlite3.Connection) -> Step:
        finish_change(db, self._change.id, {"traces": 1}, ASKED)
        return NOTHING_TO_DO


class _Counter:
    """A follower that counts traces in a table of its own, and remembers how many it has seen."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.forgotten = 0

    def add(self, db: sqlite3.Connection, traces: Any) -> None:
        db.executemany("INSERT INTO counted VALUES (?)", [(each.number,) for each in traces])
        self.seen += [each.number for each in traces]
        assert all(isinstance(each, StoredTrace) and each.trace.id for each in traces)

    def remove(self, db: sqlite3.Connection, numbers: Any) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        self.forgotten += 1


class _Failing(_Counter):
    is_broken = False

    def add(self, db: sqlite3.Connection, traces: Any) -> None:  # noqa: ARG002
        if self.is_broken:
            db.execute("INSERT INTO nowhere VALUES (1)")


async def test_derived_tables_stand_and_fall_with_their_traces(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    connection = await open_writer(path, TRACES)
    await connection.execute("CREATE TABLE counted (number INTEGER PRIMARY KEY)")
    follower, failing = _Counter(), _Failing()
    async with TraceWriter(connection, path, [follower, failing]) as writer:
        await writer.write([make_trace(1), make_trace(2)])
        await writer.write([make_trace(2)])
        failing.is_broken = True
        with pytest.raises(StoreError):
            await writer.write([make_trace(3)])
        failing.is_broken = False
        assert (follower.seen, follower.forgotten) == ([1, 2, 3], 1)
        await writer.write([make_trace(3)])
        rows = await connection.execute_fetchall("SELECT number FROM counted")
    assert [tuple(row) for row in rows] == [(1,), (2,), (3,)]


async def test_a_chore_that_fails_leaves_no_transaction_behind(tmp_path: Path) -> None:
    class Failing:
        name = "failing"

        def step(self, db: sqlite3.Connection) -> Step:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM totals")
            raise ValueError("no")

    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        with pytest.raises(ValueError, match="no"):
            await writer.perform(Failing())
        assert (await writer.write([make_trace(1)])).traces == 1
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert (await reader.stats()).blobs == 1
