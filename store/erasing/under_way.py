"""Erasures that have steps left to do, as rows of the database."""

import json
import sqlite3
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from store.change import finish_change
from store.trace_rows import from_micros, to_micros

PHASES = (
    "begin", "traces", "sweep", "search", "work", "journals",
    "late traces", "late sweep", "late search", "late work", "log", "pages",
)  # fmt: skip
"""In their order; `store.erasing.erasure` tells what each does."""
_NEXT = dict(pairwise(PHASES))

_INSERT = """
    INSERT INTO erasures (id, asked_at, selector, phase, place, counts)
    VALUES (:id, :asked_at, :selector, 'begin', 0, :counts)
"""
_ALL = "SELECT number, id, asked_at, selector, phase, place, counts FROM erasures ORDER BY number"
_COUNTS = "SELECT counts FROM erasures WHERE number = :number"
_MOVE = "UPDATE erasures SET phase = :phase, place = :place, counts = :counts WHERE number = :number"
_TELL = "UPDATE erasures SET counts = :counts WHERE number = :number"
_TELL_CHANGE = "UPDATE changes SET result = :counts WHERE id = :id"
_HIDE = "UPDATE erasures SET selector = x'' WHERE number = :number"
_DELETE = "DELETE FROM erasures WHERE number = :number"
_CHANGE = "SELECT number FROM changes WHERE id = :id"


class Erasure(NamedTuple):
    """A row of `erasures`.

    Attributes:
        counts: The result so far; with `error` and `failures` while it fails.
    """

    number: int
    id: UUID
    asked_at: datetime
    selector: bytes
    phase: str
    place: int
    counts: dict[str, Any]

    def add(self, more: dict[str, int]) -> None:
        """Add to what is counted; it is kept by the next move."""
        for name, count in more.items():
            self.counts[name] = self.counts.get(name, 0) + count


def take_up(db: sqlite3.Connection, id_: UUID, asked_at: datetime, selector: bytes, counts: dict[str, Any]) -> None:
    """Write an erasure down, inside a transaction."""
    db.execute(
        _INSERT,
        {"id": id_.bytes, "asked_at": to_micros(asked_at), "selector": selector, "counts": json.dumps(counts).encode()},
    )


def erasures_under_way(db: sqlite3.Connection) -> list[Erasure]:
    """List the erasures that have steps left to do, in their order."""
    return [
        Erasure(row[0], UUID(bytes=row[1]), from_micros(row[2]), row[3], row[4], row[5], json.loads(row[6]))
        for row in db.execute(_ALL)
    ]


def change_number(db: sqlite3.Connection, erasure: Erasure) -> int:
    """Give the number of the change that asks for an erasure."""
    return int(db.execute(_CHANGE, {"id": erasure.id.bytes}).fetchone()[0])


def move(db: sqlite3.Connection, erasure: Erasure, phase: str, place: int = 0) -> None:
    """Note how far an erasure is, inside a transaction, and that it is none that fails."""
    counts = {name: count for name, count in erasure.counts.items() if name not in ("error", "failures")}
    db.execute(_MOVE, {"phase": phase, "place": place, "counts": json.dumps(counts).encode(), "number": erasure.number})


def go_on(db: sqlite3.Connection, erasure: Erasure) -> None:
    """Enter the next phase; before the log is cut, the selector goes, which may name a person."""
    phase = _NEXT[erasure.phase]
    move(db, erasure, phase)
    if phase == "log":
        db.execute(_HIDE, {"number": erasure.number})


def finish(db: sqlite3.Connection, erasure: Erasure) -> None:
    """Note, inside a transaction, that nothing is left to do."""
    counts = {name: count for name, count in erasure.counts.items() if name not in ("error", "failures")}
    db.execute(_DELETE, {"number": erasure.number})
    finish_change(db, erasure.id, counts, datetime.now(UTC))


def note_failure(db: sqlite3.Connection, erasure: Erasure, error: str, failures: int) -> None:
    """Say in an erasure, and in its change, why it does not get on, inside a transaction; its place stays."""
    row = db.execute(_COUNTS, {"number": erasure.number}).fetchone()
    if row is None:
        return
    counts = json.dumps({**json.loads(row[0]), "error": error, "failures": failures}).encode()
    db.execute(_TELL, {"number": erasure.number, "counts": counts})
    db.execute(_TELL_CHANGE, {"id": erasure.id.bytes, "counts": counts})
