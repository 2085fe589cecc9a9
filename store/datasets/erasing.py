"""Erasing rows with the traces they were made from.

What a row held goes from every version at once, as do what people wrote about it and what models answered to it. A
frozen version keeps the row's id, place and hashes, so that its own hash can still be derived, and is marked by the
rows that are gone; from an active version the row goes as a whole.
"""

import sqlite3
from collections.abc import Sequence

from store.datasets.evaluation import ERASE_PREDICTIONS
from store.datasets.version import label
from store.erasing.work_walk import Held, Outcome, Walk

_TOMBSTONE = """
    INSERT INTO erased_rows (row_hash, change, erased_at) SELECT :key, :change, :now
    WHERE NOT EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = :key)
"""
_HOLDERS = """
    SELECT DISTINCT v.dataset, v.number FROM version_rows r JOIN versions v ON v.id = r.version WHERE r.row_hash = :key
"""
ERASE_ROW = (
    # Versions that are still open.
    """
    UPDATE versions SET entered = entered - (
        SELECT count(*) FROM version_rows r WHERE r.version = versions.id AND r.row_hash = :key
    ) WHERE state = 'active' AND id IN (SELECT version FROM version_rows WHERE row_hash = :key)
    """,
    """
    DELETE FROM version_rows WHERE row_hash = :key AND version IN (SELECT id FROM versions WHERE state = 'active')
    """,
    "DELETE FROM birth_rows WHERE row_hash = :key",
    # Details of how a row ended quote candidates and judges.
    "UPDATE version_rows SET detail = NULL WHERE row_hash = :key AND detail IS NOT NULL",
    # What models answered to it.
    *ERASE_PREDICTIONS,
    "DELETE FROM row_contents WHERE row_hash = :key",
    "DELETE FROM row_sources WHERE row_hash = :key",
)
"""What erases all that hangs on a row, by its hash; a table that holds something of rows has its statement here."""
_ERASE_DECISION = (
    """
    INSERT INTO erased_decisions (decision, change, erased_at) SELECT :key, :change, :now
    WHERE NOT EXISTS (SELECT 1 FROM erased_decisions WHERE decision = :key)
    """,
    "DELETE FROM decision_texts WHERE decision = :key",
    "DELETE FROM decision_sources WHERE decision = :key",
)


def _erase_rows(work: sqlite3.Connection, held: Sequence[Held], now: str) -> Outcome:
    labels: set[str] = set()
    for one in {one.key: one for one in held}.values():
        values = {"key": one.key, "change": one.change, "now": now}
        labels |= {label(*row) for row in work.execute(_HOLDERS, values)}
        work.execute(_TOMBSTONE, values)
        for statement in ERASE_ROW:
            work.execute(statement, values)
    return Outcome(datasets=tuple(sorted(labels)))


def _erase_decisions(work: sqlite3.Connection, held: Sequence[Held], now: str) -> Outcome:
    for one in {one.key: one for one in held}.values():
        for statement in _ERASE_DECISION:
            work.execute(statement, {"key": one.key, "change": one.change, "now": now})
    return Outcome()


ROWS = Walk(
    "SELECT number, row_hash, trace FROM row_sources WHERE number > :place ORDER BY number LIMIT :count", _erase_rows
)
DECISIONS = Walk(
    "SELECT number, decision, trace FROM decision_sources WHERE number > :place ORDER BY number LIMIT :count",
    _erase_decisions,
)
