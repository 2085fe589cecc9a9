"""Writing traces: whole batches, each one transaction together with the journal positions it came from."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

import aiosqlite

from store.body import Packer
from store.connection import close, run, transaction_now
from store.database import TRACES, open_writer, store_error
from store.id_list import KNOWN_BLOBS, KNOWN_DEAD_LETTERS, KNOWN_NODES, KNOWN_TRACES, id_list
from store.trace import DeadLetter, JournalPosition, Trace
from store.trace_rows import INSERT_TRACE, Batch, PackedRows, Row, to_blob
from store.tree import HashedMessages

_INSERT_BLOB = "INSERT OR IGNORE INTO blobs (id, body, body_bytes) VALUES (:id, :body, :body_bytes)"
_INSERT_NODE = """
    INSERT OR IGNORE INTO nodes (id, parent_id, stitch_key, role, body, body_bytes)
    VALUES (:id, :parent_id, :stitch_key, :role, :body, :body_bytes)
"""
_INSERT_NODE_BLOB = """
    INSERT OR IGNORE INTO node_blobs (node_id, offset, blob_id) VALUES (:node_id, :offset, :blob_id)
"""
_INSERT_REPLY = """
    INSERT OR IGNORE INTO replies (trace_id, position, choice_index, node_id, finish_reason, logprobs_blob)
    VALUES (:trace_id, :position, :choice_index, :node_id, :finish_reason, :logprobs_blob)
"""
_INSERT_TAG = """
    INSERT OR IGNORE INTO tags (trace_id, name, position, value) VALUES (:trace_id, :name, :position, :value)
"""
_INSERT_DEAD_LETTER = """
    INSERT INTO dead_letters (trace_id, reason, detail, body, body_bytes)
    VALUES (:trace_id, :reason, :detail, :body, :body_bytes)
"""
_MOVE_POSITION = """
    INSERT INTO journal_positions (writer, segment, offset) VALUES (:writer, :segment, :offset)
    ON CONFLICT (writer) DO UPDATE SET segment = excluded.segment, offset = excluded.offset
"""


class WriteCounts(NamedTuple):
    """What one batch came to.

    Attributes:
        traces: Traces written.
        duplicates: Traces left out because their id was there already, in the database or earlier in the batch.
        dead_letters: Dead letters written.
    """

    traces: int
    duplicates: int
    dead_letters: int


class TraceWriter:
    """The one writer of a `traces.db`; batches of several tasks wait for each other."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._packer = Packer()
        self._hashed = HashedMessages()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open, make or migrate the database, and hold the right to write it until `close`.

        Raises:
            StoreError: As `store.database.open_writer`.
        """
        return cls(await open_writer(path, TRACES), path)

    async def close(self) -> None:
        """Close the database; a batch under way is finished first."""
        await close(self._connection, self._turn)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def write(
        self,
        traces: Sequence[Trace] = (),
        dead_letters: Sequence[DeadLetter] = (),
        positions: Iterable[JournalPosition] = (),
    ) -> WriteCounts:
        """Write a batch as one transaction: all of it, or on any error nothing.

        A trace whose id is known is left out, so a batch may be written again after a crash.

        Raises:
            UnstorableTraceError: One trace can never be stored; set it aside and write the rest again.
            StoreFullError: No room; write the same batch again later.
            StoreError: Anything else SQLite says.
        """
        letters = list(dead_letters)
        async with self._turn, self._translated():
            return await run(self._connection, lambda db: self._write(db, traces, letters, positions))

    async def known(self, ids: Collection[UUID]) -> set[UUID]:
        """Tell which of these calls are settled: stored as traces, or set aside as dead letters."""
        wanted = id_list(id_.bytes for id_ in ids)
        async with self._turn, self._translated():
            rows = await run(
                self._connection,
                lambda db: (
                    db.execute(KNOWN_TRACES, wanted).fetchall() + db.execute(KNOWN_DEAD_LETTERS, wanted).fetchall()
                ),
            )
        return {UUID(bytes=row[0]) for row in rows}

    async def positions(self) -> list[JournalPosition]:
        """Tell how far each writer's journal is resolved, by the writer's name."""
        async with self._turn, self._translated():
            rows = await self._connection.execute_fetchall(
                "SELECT writer, segment, offset FROM journal_positions ORDER BY writer"
            )
        return [JournalPosition(*row) for row in rows]

    def _write(
        self,
        db: sqlite3.Connection,
        traces: Sequence[Trace],
        dead_letters: Sequence[DeadLetter],
        positions: Iterable[JournalPosition],
    ) -> WriteCounts:
        fresh = _fresh(db, traces)
        batch = Batch(hashed=self._hashed)
        for trace in fresh:
            batch.add(trace)
        packed = self._pack(db, batch)
        with transaction_now(db):
            db.executemany(_INSERT_BLOB, packed.blobs.values())
            db.executemany(_INSERT_NODE, packed.nodes)
            db.executemany(_INSERT_NODE_BLOB, packed.node_blobs)
            db.executemany(INSERT_TRACE, batch.traces)
            db.executemany(_INSERT_REPLY, batch.replies)
            db.executemany(_INSERT_TAG, batch.tags)
            db.executemany(_INSERT_DEAD_LETTER, [self._dead_letter_row(letter) for letter in dead_letters])
            db.executemany(_MOVE_POSITION, [_position_row(position) for position in positions])
        return WriteCounts(len(fresh), len(traces) - len(fresh), len(dead_letters))

    def _pack(self, db: sqlite3.Connection, batch: Batch) -> PackedRows:
        """Pack only what the database has not; a long chat's history is known but for its last messages."""
        known_nodes = {row[0] for row in db.execute(KNOWN_NODES, id_list(batch.links))}
        known_blobs = {row[0] for row in db.execute(KNOWN_BLOBS, id_list(batch.blobs))}
        packed = PackedRows()
        packed.add_links((link for link in batch.links.values() if link.id not in known_nodes), self._packer)
        for name, body in batch.blobs.items():
            if name not in known_blobs:
                packed.add_blob(name, body, self._packer)
        return packed

    def _dead_letter_row(self, letter: DeadLetter) -> Row:
        return {
            "trace_id": letter.trace_id.bytes if letter.trace_id else None,
            "reason": letter.reason,
            "detail": to_blob(letter.detail),
            "body": self._packer.pack(letter.body),
            "body_bytes": len(letter.body),
        }

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise store_error(exc, self.path) from exc


def _fresh(db: sqlite3.Connection, traces: Sequence[Trace]) -> list[Trace]:
    by_id: dict[bytes, Trace] = {}
    for trace in traces:
        by_id.setdefault(trace.id.bytes, trace)
    for (known,) in db.execute(KNOWN_TRACES, id_list(by_id)).fetchall():
        del by_id[known]
    return list(by_id.values())


def _position_row(position: JournalPosition) -> Row:
    return {"writer": position.writer, "segment": position.segment, "offset": position.offset}
