"""A batch of traces with all rows made, to be inserted in somebody's transaction."""

import sqlite3
from collections.abc import Iterable

from store.body import Packer
from store.follower import StoredTrace
from store.row_numbers import Numbered, RowNumbers
from store.trace import JsonText
from store.trace_batch import Batch, PackedRows
from store.trace_rows import INSERT_TRACE, UPDATE_TRACE

LAST_NODE = "SELECT coalesce(max(number), 0) FROM nodes"
LAST_BLOB = "SELECT coalesce(max(number), 0) FROM blobs"
# By place, as `store.trace_batch` makes the rows: names would cost more than the insertion.
_INSERT_BLOB = "INSERT INTO blobs (number, id, body_bytes, body) VALUES (?, ?, ?, ?)"
_INSERT_NODE = "INSERT INTO nodes (number, id, parent, stitch_key, role, body_bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_NODE_BLOB = "INSERT INTO node_blobs (node, offset, blob) VALUES (?, ?, ?)"
_INSERT_USAGE = "INSERT INTO usages (trace, body) VALUES (?, ?)"
_INSERT_REPLY = """
    INSERT INTO replies (trace, position, choice_index, node, finish_reason, logprobs_blob) VALUES (?, ?, ?, ?, ?, ?)
"""
_INSERT_TAG = "INSERT INTO tags (trace, name, position, value) VALUES (?, ?, ?, ?)"
_ADD_TOTALS = """
    UPDATE totals SET nodes = nodes + :nodes, blobs = blobs + :blobs, body_bytes = body_bytes + :body_bytes
"""
_DELETE_PARTS = (
    "DELETE FROM usages WHERE trace = ?",
    "DELETE FROM replies WHERE trace = ?",
    "DELETE FROM tags WHERE trace = ?",
)


class Insertion:
    """The rows of a batch, of which nodes and blobs that the database has are left out."""

    def __init__(
        self,
        db: sqlite3.Connection,
        batch: Batch,
        numbers: Iterable[int],
        packer: Packer,
        nodes: RowNumbers,
        blobs: RowNumbers,
    ) -> None:
        """Make the rows; nothing is written yet, and nobody else may write before `insert` or `replace`.

        Args:
            db: The writer's connection.
            batch: The traces.
            numbers: Of their rows, in the batch's order.
            packer: Packs what is new.
            nodes: Numbers of the rows of `nodes`.
            blobs: Numbers of the rows of `blobs`.

        Raises:
            UnstorableTraceError: A value of a trace fits no column.
        """
        self._batch = batch
        self._numbers = list(numbers)
        self.nodes: Numbered = nodes.number(db, batch.links)
        self._packed = PackedRows(packer)
        self._packed.add_links([batch.links[id_] for id_ in self.nodes.new], self.nodes.all)
        self._bodies = {**self._packed.blobs, **batch.blobs}
        self.blobs: Numbered = blobs.number(db, self._bodies)
        self._rows = batch.rows(self._numbers, self.nodes.all, self.blobs.all)
        self._packer = packer

    def insert(self, db: sqlite3.Connection) -> None:
        """Insert all rows."""
        self._insert_bodies(db)
        db.executemany(INSERT_TRACE, self._rows.traces)
        self._insert_parts(db)

    def replace(self, db: sqlite3.Connection) -> None:
        """Put the traces into the place of those that have their numbers; what only those hold is not deleted here."""
        self._insert_bodies(db)
        db.executemany(UPDATE_TRACE, [[*row[1:], row[0]] for row in self._rows.traces])
        for statement in _DELETE_PARTS:
            db.executemany(statement, [(number,) for number in self._numbers])
        self._insert_parts(db)

    def stored(self) -> list[StoredTrace]:
        """Give the traces as followers take them."""
        return self._batch.stored(self._numbers)

    def new_messages(self) -> list[tuple[int, JsonText]]:
        """Give the messages that the database had not, with the numbers of their nodes, in the order of these."""
        links = self._batch.links
        return [(number, links[id_].message) for id_, number in self.nodes.new.items()]

    def _insert_bodies(self, db: sqlite3.Connection) -> None:
        pack, bodies, blobs = self._packer.pack, self._bodies, self.blobs
        rows = [(number, id_, len(bodies[id_]), pack(bodies[id_])) for id_, number in blobs.new.items()]
        db.executemany(_INSERT_BLOB, rows)
        db.executemany(_INSERT_NODE, self._packed.nodes)
        db.executemany(_INSERT_NODE_BLOB, [(node, at, blobs.all[id_]) for node, at, id_ in self._packed.node_blobs])
        totals = {
            "nodes": len(self.nodes.new),
            "blobs": len(blobs.new),
            "body_bytes": self._packed.body_bytes + sum([len(bodies[id_]) for id_ in blobs.new]),
        }
        db.execute(_ADD_TOTALS, totals)

    def _insert_parts(self, db: sqlite3.Connection) -> None:
        db.executemany(_INSERT_USAGE, self._rows.usages)
        db.executemany(_INSERT_REPLY, self._rows.replies)
        db.executemany(_INSERT_TAG, self._rows.tags)
