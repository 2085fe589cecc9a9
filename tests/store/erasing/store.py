"""A store to erase from: traces that share what chats share, and the chores run to their end."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from store.change import Change, ChangeKind, ChangeRecord, find_change
from store.chore import Chore
from store.connection import connect_sqlite
from store.erasing.erasure import Erasing
from store.erasing.selector import Selector, SelectorKind
from store.json_text import dumps
from store.raw_calls import RawCalls
from store.search_index import SearchChore
from store.trace import Reply, Trace
from store.traces import TraceReader, TraceWriter
from store.upkeep import make_followers
from store.uuid7 import uuid7
from store.verify import verify
from tests.store.traces import make_trace

SYSTEM = dumps({"role": "system", "content": "Be brief, and never tell. " * 20})


class NoJournals:
    """Where nothing is in any journal."""

    def begin_anew(self) -> object:
        return ()

    def are_gone(self, old: object) -> bool:
        return old == ()


def say(text: str, role: str = "user") -> bytes:
    return dumps({"role": role, "content": text})


def chat(number: int, *texts: str, **fields: Any) -> Trace:
    """Make the trace of a call that ends in the last text."""
    roles = ("user", "assistant")
    messages = [say(text, roles[at % 2]) for at, text in enumerate(texts[:-1])]
    replies = (Reply(0, say(texts[-1], "assistant"), "stop"),)
    return make_trace(number, messages=(SYSTEM, *messages), replies=replies, **fields)


def erasing(data_dir: Path) -> Erasing:
    return Erasing(make_followers(RawCalls(data_dir)), data_dir, NoJournals(), pause_s=0)


def asked(selector: Selector) -> Change:
    return Change(uuid7(), ChangeKind.ERASE, datetime.now(UTC) + timedelta(days=4000), "me", selector.encode())


async def do(writer: TraceWriter, *chores: Chore) -> None:
    """Do chores to their end."""
    while any([(await writer.perform(chore)).has_more for chore in chores]):
        pass


async def erase(writer: TraceWriter, kind: str, value: str) -> ChangeRecord:
    """Ask for an erasure, have it done, and give what the audit log says."""
    change = asked(Selector(SelectorKind(kind), value))
    await writer.write(changes=[change])
    await do(writer, SearchChore(), erasing(writer.path.parent))
    async with await TraceReader.open(writer.path) as reader:
        found = await reader.look(lambda db: find_change(db, change.id))
    assert found is not None
    return found


async def ids(path: Path) -> set[UUID]:
    async with await TraceReader.open(path) as reader:
        return {trace.id async for trace in reader.traces()}


def faults(path: Path) -> list[str]:
    """Have every id and reference of a store checked; give what is wrong."""
    connection = connect_sqlite(path, mode="ro")
    connection.row_factory = sqlite3.Row
    try:
        done = verify(connection, lambda _done, _all: None)
        return [each.what for each in done.findings() if each.kind.severity.value != "ok"]
    finally:
        connection.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = connect_sqlite(path, mode="ro")
    try:
        return [tuple(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def sizes(path: Path) -> dict[str, int]:
    tables = [
        row[0] for row in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search%'")
    ]
    return {table: rows(path, f"SELECT count(*) FROM {table}")[0][0] for table in tables}  # noqa: S608
