"""Stitching all calls again, because somebody asks for it: after an upgrade that changed the rules, above all.

A change that is not finished is the mark of it. The chore (`store.conversation_settling`) empties the tables first,
some rows at a time, and every call that it takes out waits to be stitched. What comes in meanwhile is stitched by what
is left, and again later like all others. It is finished when no call waits any more.
"""

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from store.change import Applied, Change, ChangeKind, finish_change

# ruff: noqa: S608 - the statements are put together from constants
_ROWS = 2_000
_KEYS = {
    "replies": "point, created_at, trace",
    "waits": "point, trace",
    "windows": "window, point, trace",
    "seekers": "window, request, trace",
    "sessions": "id",
}
_EMPTY = tuple(
    f"DELETE FROM conversation_{table} WHERE ({keys}) IN (SELECT {keys} FROM conversation_{table} LIMIT {_ROWS})"
    for table, keys in _KEYS.items()
)
_NEXT = f"SELECT trace FROM conversation_traces ORDER BY trace LIMIT {_ROWS}"
_WAIT = """
    INSERT OR IGNORE INTO conversation_unsettled (message_count, trace)
    SELECT t.message_count, t.number FROM traces t WHERE t.number <= :last
        AND t.number IN (SELECT trace FROM conversation_traces WHERE trace <= :last)
"""
_TAKE_OUT = "DELETE FROM conversation_traces WHERE trace <= :last"
_UNDER_WAY = """
    SELECT id, result FROM changes WHERE kind = :kind AND finished_at IS NULL ORDER BY number LIMIT 1
"""
_NOTE = "UPDATE changes SET result = :result WHERE id = :id"
_COUNT = "SELECT count(*) FROM conversation_traces"


class Rebuild(NamedTuple):
    """One that is under way.

    Attributes:
        result: `calls` to be stitched, and how many tables are `emptied`.
    """

    id: UUID
    result: dict[str, Any]

    @property
    def is_emptying(self) -> bool:
        """Whether rows of before may be left."""
        return bool(self.result["emptied"] <= len(_EMPTY))


def apply_rebuild(db: sqlite3.Connection, change: Change) -> Applied:  # noqa: ARG001 - it says all by its kind
    """Take it up; the applier of `ChangeKind.CONVERSATIONS`."""
    return Applied({"calls": db.execute(_COUNT).fetchone()[0], "emptied": 0}, is_finished=False)


def rebuild_under_way(db: sqlite3.Connection) -> Rebuild | None:
    """Give the first that was asked for."""
    row = db.execute(_UNDER_WAY, {"kind": ChangeKind.CONVERSATIONS.value}).fetchone()
    return None if row is None else Rebuild(UUID(bytes=row[0]), json.loads(row[1]))


def empty_some(db: sqlite3.Connection, rebuild: Rebuild) -> None:
    """Take some rows out, inside a transaction; the calls themselves are the last."""
    emptied = rebuild.result["emptied"]
    if emptied < len(_EMPTY):
        is_empty = db.execute(_EMPTY[emptied]).rowcount < _ROWS
    else:
        numbers = [row[0] for row in db.execute(_NEXT)]
        if numbers:
            db.execute(_WAIT, {"last": numbers[-1]})
            db.execute(_TAKE_OUT, {"last": numbers[-1]})
        is_empty = len(numbers) < _ROWS
    if is_empty:
        result = json.dumps({**rebuild.result, "emptied": emptied + 1}).encode()
        db.execute(_NOTE, {"id": rebuild.id.bytes, "result": result})


def finish_rebuild(db: sqlite3.Connection, rebuild: Rebuild) -> None:
    """Note, inside a transaction, that every call has its place."""
    finish_change(db, rebuild.id, {"calls": rebuild.result["calls"]}, datetime.now(UTC))
