"""What goes of clusters with an erased trace: its place in them, and the words that it alone may have given them."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final

from store import json_text
from store.erasing.work_walk import Held, Outcome, Walk

_UNHELD_VECTORS = """
    DELETE FROM embeddings WHERE key = :key AND NOT EXISTS (SELECT 1 FROM embedding_sources WHERE key = :key)
"""


def _erase_vectors(work: sqlite3.Connection, held: Sequence[Held], _now: str) -> Outcome:
    work.executemany("DELETE FROM embedding_sources WHERE number = ?", [(one.number,) for one in held])
    work.executemany(_UNHELD_VECTORS, [{"key": key} for key in sorted({one.key for one in held})])
    return Outcome()


def _erase_members(work: sqlite3.Connection, held: Sequence[Held], _now: str) -> Outcome:
    work.executemany("DELETE FROM cluster_members WHERE number = ?", [(one.number,) for one in held])
    for cluster, count in sorted(Counter(one.key for one in held if one.key is not None).items()):
        terms, erased = work.execute("SELECT terms, erased FROM clusters WHERE id = ?", (cluster,)).fetchone()
        # A term that more members have than were ever erased is the word of one that is left.
        left = [term for term in json_text.loads(terms.encode()) if term[1] > erased + count]
        work.execute(
            "UPDATE clusters SET terms = ?, erased = ? WHERE id = ?",
            (json_text.dumps(left).decode(), erased + count, cluster),
        )
    return Outcome()


def _erase_names(work: sqlite3.Connection, held: Sequence[Held], _now: str) -> Outcome:
    work.executemany("DELETE FROM cluster_name_sources WHERE number = ?", [(one.number,) for one in held])
    work.executemany(
        "UPDATE clusters SET model_name = NULL, description = NULL WHERE id = ?",
        [(cluster,) for cluster in sorted({one.key for one in held})],
    )
    return Outcome()


WALKS: Final = (
    Walk(
        "SELECT number, key, trace_id FROM embedding_sources WHERE number > :place ORDER BY number LIMIT :count",
        _erase_vectors,
    ),
    Walk(
        "SELECT number, cluster, trace_id FROM cluster_members WHERE number > :place ORDER BY number LIMIT :count",
        _erase_members,
    ),
    Walk(
        "SELECT number, cluster, trace_id FROM cluster_name_sources WHERE number > :place ORDER BY number LIMIT :count",
        _erase_names,
    ),
)
