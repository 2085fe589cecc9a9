"""Traces that were erased: their ids are all that is left, with the change that asked for it."""

import json
import sqlite3
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from store.trace_rows import from_micros

_ID_DIGITS = 32
_FIND = """
    SELECT f.id, c.asked_at, c.result FROM forgotten_traces f LEFT JOIN changes c ON c.number = f.change
    WHERE f.id BETWEEN :first AND :last ORDER BY f.id LIMIT :most
"""


class ErasedTrace(NamedTuple):
    """A trace that is gone, and is not stored again.

    Attributes:
        trace_id: Its id.
        asked_at: When it was asked for, UTC; None where the audit log does not know.
        datasets: Folders of runs and labels of versions that held something of what was erased with it.
    """

    trace_id: UUID
    asked_at: datetime | None
    datasets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        asked_at = None if self.asked_at is None else self.asked_at.isoformat().replace("+00:00", "Z")
        return {"trace_id": str(self.trace_id), "asked_at": asked_at, "datasets": list(self.datasets)}


def erased_traces(db: sqlite3.Connection, beginning: str, most: int) -> list[ErasedTrace]:
    """Find erased traces by the beginning of their ids; none for what is not the beginning of an id.

    Args:
        db: `traces.db`, only read.
        beginning: Hexadecimal digits, with dashes or without.
        most: At most so many, by their ids.
    """
    digits = beginning.replace("-", "")
    try:
        first, last = (bytes.fromhex(digits.ljust(_ID_DIGITS, filler)) for filler in "0f")
    except ValueError:
        return []
    rows = db.execute(_FIND, {"first": first, "last": last, "most": most}).fetchall()
    return [ErasedTrace(UUID(bytes=row[0]), *_asked(row[1], row[2])) for row in rows]


def _asked(asked_at: int | None, result: bytes | None) -> tuple[datetime | None, tuple[str, ...]]:
    told = {} if result is None else json.loads(result)
    return None if asked_at is None else from_micros(asked_at), tuple(told.get("datasets", ()))
