"""Looking for rows in all versions: by the beginning of an id, and by the trace they were made from."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

_LAST = "\U0010ffff"
"""Comes after all that an id goes on with."""
_VERSIONS = "SELECT id FROM versions ORDER BY dataset, number DESC"
_ROWS = """
    SELECT row_id, part, state, stage, reason, row_hash, learned_hash FROM version_rows
    WHERE version = :version AND row_id >= :beginning AND row_id < :end ORDER BY row_id LIMIT :limit
"""
_OF_TRACE = """
    SELECT r.version, r.row_id, r.part, r.state, r.stage, r.reason, r.row_hash, r.learned_hash, min(s.trace)
    FROM row_sources s JOIN version_rows r USING (row_hash)
    WHERE s.trace >= :beginning AND s.trace < :end GROUP BY r.version, r.row_id ORDER BY r.version, r.row_id
"""


class FoundRow(NamedTuple):
    """Where a row stands in a version.

    Attributes:
        version: Id of the version.
        row_id: The row.
        part: None when it is in none.
        state: Kept, dropped, failed or review; `stage` and `reason` tell how.
        row_hash: Hexadecimal, as is `learned_hash`.
        trace: The trace it was found by; None when it was found by its id.
    """

    version: int
    row_id: str
    part: str | None
    state: str
    stage: str
    reason: str
    row_hash: str
    learned_hash: str
    trace: str | None = None


def rows_beginning(db: sqlite3.Connection, beginning: str, limit: int) -> list[FoundRow]:
    """Find rows by the beginning of their ids, in each dataset the newest version first, a few of each version.

    An id that is whole finds itself alone.
    """
    found: list[FoundRow] = []
    for (version,) in db.execute(_VERSIONS).fetchall():
        values = {"version": version, "beginning": beginning, "end": beginning + _LAST, "limit": limit}
        found += [_found((version, *row)) for row in db.execute(_ROWS, values)]
    return [one for one in found if one.row_id == beginning] or found


def rows_of_trace(db: sqlite3.Connection, trace: str) -> list[FoundRow]:
    """Find rows by a trace that they were made from: its id or the beginning of it, or the place of a line."""
    found = {}
    for wanted in dict.fromkeys((trace, trace.lower())):
        for row in db.execute(_OF_TRACE, {"beginning": wanted, "end": wanted + _LAST}):
            found[row[:2]] = _found(row)
    return list(found.values())


def _found(row: Sequence[Any]) -> FoundRow:
    version, row_id, part, state, stage, reason, row_hash, learned_hash, *trace = row
    return FoundRow(version, row_id, part, state, stage, reason, row_hash.hex(), learned_hash.hex(), *trace)
