"""A version in the making: its rows are nobody's until it is whole, and then the version's, all at once.

Rows come in batches, each committed, so neither memory nor a transaction grows with the dataset. A birth that fails
takes them back; what a birth left that was killed goes at the next one. There is at most one birth of a dataset at a
time.

What people decided about a row of an earlier version holds for a row that teaches the same: rows come in as these
decisions leave them, and the manifest tells how many decisions there were (`decisions`), so that a rebuild can apply
the same.
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.datasets import freezing, row_table, version_table
from store.datasets.birth_lock import BirthLock
from store.datasets.decided_row import carried
from store.datasets.decision import Decision, standing
from store.datasets.row import Row
from store.datasets.version import Birth, Version, read_reference
from store.datasets.warnings import cluster_of

if TYPE_CHECKING:
    from store.datasets.dataset_store import DatasetStore

_BEGIN = "INSERT INTO births (id, dataset, started_at) VALUES (?, ?, ?)"
_HAND_OVER = """
    INSERT INTO version_rows (version, row_id, row_hash, learned_hash, part, state, stage, reason, detail)
    SELECT ?, row_id, row_hash, learned_hash, part, state, stage, reason, detail FROM birth_rows WHERE birth = ?
    ON CONFLICT (version, row_id) DO NOTHING
"""


class DatasetBirth:
    """Takes in the rows of a version; made by `DatasetStore.birth`.

    Attributes:
        manifest: What makes the version; may be replaced until the block of `DatasetStore.birth` ends.
        note: As `manifest`.
        version: The version as it is once the block has ended; None before.
        clusters: Kept rows that came in, by the cluster that they name.
        decisions: How many decisions about the dataset there were when it began.
    """

    def __init__(
        self,
        store: "DatasetStore",
        id_: int,
        name: str,
        birth: Birth,
        manifest: Mapping[str, Any],
        note: str | None,
        decisions: Sequence[Decision] = (),
    ) -> None:
        self._store = store
        self.decisions = len(decisions)
        self._standing = standing(decisions)
        self._id = id_
        self._name = name
        self._birth = birth
        self.manifest = manifest
        self.note = note
        self.version: Version | None = None
        self.clusters: Counter[str] = Counter()

    async def add_rows(self, rows: Sequence[Row]) -> int:
        """Take a batch of rows in; one whose id came in before stays as it was. Tell how many are new.

        Raises:
            DatasetError: A row cannot be stored, or was erased with a trace.
        """
        as_decided = [carried(row, self._standing) for row in rows]
        self.clusters.update(cluster for row in as_decided if (cluster := cluster_of(row)) is not None)
        return await self._store.transact(partial(row_table.add, table="birth_rows", owner=self._id, rows=as_decided))

    async def derived_hash(self) -> str:
        """Tell the hash that a version of just these rows has."""
        return await self._store.transact(lambda db: freezing.derived_hash(db, self._id, of_birth=True).hex())

    def complete(self, db: sqlite3.Connection, *, add: bool, now: str) -> int:
        """Make the rows a version's, inside a transaction; by its id. See `version_table.open_version`."""
        manifest = {**self.manifest, "decisions": self.decisions} if self.decisions else self.manifest
        version = version_table.open_version(
            db, self._name, birth=self._birth, manifest=manifest, note=self.note, add=add, now=now
        )
        version_table.count_in(db, version, db.execute(_HAND_OVER, (version, self._id)).rowcount)
        # Only what another row stands for is nobody's now.
        end(db, self._id, "AND NOT EXISTS (SELECT 1 FROM version_rows r WHERE r.row_hash = birth_rows.row_hash)")
        return version


def begin(db: sqlite3.Connection, work: Path, reference: str, *, add: bool, now: str) -> int:
    """Begin a birth inside a transaction, by somebody who holds its lock; what killed ones left is deleted."""
    version_table.check_opening(db, reference, add=add)
    dataset = read_reference(reference).dataset
    for id_, of_dataset in db.execute("SELECT id, dataset FROM births").fetchall():
        if of_dataset == dataset or BirthLock(work, of_dataset).is_free():
            end(db, id_)
    # By chance, so that it never is that of a birth that has ended and that somebody may still end once more.
    chosen = secrets.randbits(62)
    db.execute(_BEGIN, (chosen, dataset, now))
    return chosen


def end(db: sqlite3.Connection, id_: int, nobodys: str = "") -> None:
    """End a birth inside a transaction; contents that have become nobody's go with it.

    Args:
        db: The writer's connection.
        id_: Of the birth.
        nobodys: Tells rows whose contents may have become so from others; empty to look at all.
    """
    sql = f"SELECT row_hash FROM birth_rows WHERE birth = ? {nobodys}"  # noqa: S608 - our own words
    hashes = [row[0] for row in db.execute(sql, (id_,))]
    db.execute("DELETE FROM birth_rows WHERE birth = ?", (id_,))
    db.execute("DELETE FROM births WHERE id = ?", (id_,))
    row_table.forget(db, hashes)
