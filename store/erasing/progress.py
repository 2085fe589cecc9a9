"""How far an erasure is, for who asked for it."""

import json
import sqlite3
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from store.change import ChangeKind, find_change

_ROW = "SELECT phase, counts FROM erasures WHERE id = :id"
_IDS = "SELECT id FROM forgotten_traces WHERE change = :change LIMIT 1000"
_KNOWN = """
    SELECT EXISTS (SELECT 1 FROM traces WHERE id = :id) OR EXISTS (SELECT 1 FROM dead_letters WHERE trace_id = :id)
"""


class Progress(NamedTuple):
    """How far it is.

    Attributes:
        phase: One of `store.erasing.erasure`, or `done`.
        result: Counts so far.
        trace_ids: Of the erased traces, at most 1,000.
    """

    id: UUID
    phase: str
    asked_at: datetime
    finished_at: datetime | None
    result: dict[str, Any]
    trace_ids: list[UUID]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "id": str(self.id),
            "phase": self.phase,
            "asked_at": self.asked_at.isoformat(),
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "result": self.result,
            "trace_ids": [str(each) for each in self.trace_ids],
        }


def find_progress(db: sqlite3.Connection, id_: UUID) -> Progress | None:
    """Tell how far an erasure is; None when none of this id was applied."""
    change = find_change(db, id_)
    if change is None or change.kind != ChangeKind.ERASE:
        return None
    row = db.execute(_ROW, {"id": id_.bytes}).fetchone()
    phase, result = ("done", dict(change.result)) if row is None else (row[0], json.loads(row[1]))
    ids = [UUID(bytes=found[0]) for found in db.execute(_IDS, {"change": change.number})]
    return Progress(id_, phase, change.asked_at, change.finished_at, result, ids)


def is_known(db: sqlite3.Connection, id_: UUID) -> bool:
    """Tell whether a call is stored, as a trace or set aside."""
    return bool(db.execute(_KNOWN, {"id": id_.bytes}).fetchone()[0])
