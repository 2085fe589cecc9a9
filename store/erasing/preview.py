"""What an erasure would take, without taking it."""

import math
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from store.connection import connect_sqlite
from store.data_files import WORK_FILE
from store.erasing.selector import Selector
from store.id_list import WANTED, id_list, number_list
from store.trace_rows import from_micros

# ruff: noqa: S608 - the statements are put together from constants; a selector's SQL holds nothing of who wrote it
_IDS_A_LOOK = 500
_NUMBERS = WANTED + "SELECT t.number FROM wanted w CROSS JOIN traces t ON t.id = w.id"
_HAS_TABLE = "SELECT count(*) FROM sqlite_master WHERE name = :name"
_HELD = {
    "run_sources": "SELECT s.trace_id, j.out_dir FROM run_sources s JOIN jobs j USING (run_id)",
    "row_sources": """
        SELECT s.trace, v.dataset || '-v' || v.number FROM row_sources s JOIN version_rows r USING (row_hash)
        JOIN versions v ON v.id = r.version WHERE length(s.trace) = 36
    """,
}
"""Trace id, as 16 bytes or as text, and what holds something of it; by the table that tells, which may not be there."""


class Preview(NamedTuple):
    """What would go.

    Attributes:
        traces: How many are stored now; calls in flight come on top.
        first_at: When the first of these calls began; None when there is none.
        last_at: The same of the last one.
        datasets: Folders of runs, and labels of versions, that hold something of it and will be marked.
    """

    traces: int
    first_at: datetime | None
    last_at: datetime | None
    datasets: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "traces": self.traces,
            "first_at": self.first_at and self.first_at.isoformat(),
            "last_at": self.last_at and self.last_at.isoformat(),
            "datasets": list(self.datasets),
        }


def preview(db: sqlite3.Connection, data_dir: Path, selector: Selector) -> Preview:
    """Count what a selector names now; reads one state of the database.

    Raises:
        SearchOffError: It searches texts, and they are not indexed.
    """
    resolved = selector.resolved(db, datetime.now(UTC))
    if resolved is None:
        return Preview(0, None, None, ())
    selector = resolved
    now = datetime.now(UTC)
    if selector.is_search:
        picked = selector.pick(db, now, 0, sys.maxsize, math.inf).numbers
        source, condition = "json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value", "1"
        parameters: dict[str, object] = {**number_list(picked)}
    else:
        source, (condition, parameters) = "traces t", selector.condition(db, now, ())
    sql = f"SELECT count(*), min(t.created_at), max(t.created_at) FROM {source} WHERE {condition}"
    traces, first, last = db.execute(sql, parameters).fetchone()
    return Preview(
        traces,
        None if first is None else from_micros(first),
        None if last is None else from_micros(last),
        tuple(sorted(_datasets(db, data_dir / WORK_FILE, selector))),
    )


def _datasets(db: sqlite3.Connection, path: Path, selector: Selector) -> set[str]:
    if not path.exists():
        return set()
    with closing(connect_sqlite(path, mode="ro")) as work:
        found: set[str] = set()
        for table, sql in _HELD.items():
            if not work.execute(_HAS_TABLE, {"name": table}).fetchone()[0]:
                continue
            rows = work.execute(sql)
            while some := rows.fetchmany(_IDS_A_LOOK):
                held = [(id_, what) for row, what in some if (id_ := _trace_id(row)) is not None]
                named = _among(db, {id_ for id_, _ in held}, selector)
                found |= {what for id_, what in held if id_ in named}
        return found


def _trace_id(written: bytes | str) -> bytes | None:
    """Give the 16 bytes of a trace's id; None for what a file called its own."""
    if isinstance(written, bytes):
        return written
    try:
        return UUID(written).bytes
    except ValueError:
        return None


def _among(db: sqlite3.Connection, ids: set[bytes], selector: Selector) -> set[bytes]:
    """Tell which of these traces are selected."""
    numbers = [row[0] for row in db.execute(_NUMBERS, id_list(ids))]
    condition, parameters = selector.condition(db, datetime.now(UTC), numbers)
    sql = f"""
        SELECT t.id FROM json_each(:held) w CROSS JOIN traces t ON t.number = w.value WHERE {condition}
    """
    return {row[0] for row in db.execute(sql, {**parameters, "held": number_list(numbers)["numbers"]})}
