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
from store.connection import close, transaction
from store.database import TRACES, open_writer, store_error
from store.id_list import KNOWN_BLOBS, KNOWN_DEAD_LETTERS, KNOWN_NODES, KNOWN_TRACES, id_list
from store.trace import DeadLetter, JournalPosition, Trace
from store.trace_rows import Batch, PackedRows, Row, to_blob

_INSERT_BLOB = "INSERT OR IGNORE INTO blobs (id, body, body_bytes) VALUES (:id, :body, :body_bytes)"
_INSERT_NODE = """
    INSERT OR IGNORE INTO nodes (id, parent_id, stitch_key, role, body, body_bytes)
    VALUES (:id, :parent_id, :stitch_key, :role, :body, :body_bytes)
"""
_INSERT_NODE_BLOB = """
    INSERT OR IGNORE INTO node_blobs (node_id, offset, blob_id) VALUES (:node_id, :offset, :blob_id)
"""
_INSERT_TRACE = """
    INSERT OR IGNORE INTO traces (
        id, created_at, endpoint, method, path, route, upstream, status, outcome, is_streaming, is_complete,
        requested_model, served_model, request_node, message_count, has_tool_calls, tools_blob, response_format_blob,
        parameters_blob, metadata_blob, error_blob, usage, prompt_tokens, completion_tokens, ttft_ms, duration_ms,
        upstream_id, request_id, system_fingerprint, session, user, key_fingerprint, flags, request_bytes,
        response_bytes
    ) VALUES (
        :id, :created_at, :endpoint, :method, :path, :route, :upstream, :status, :outcome, :is_streaming, :is_complete,
        :requested_model, :served_model, :request_node, :message_count, :has_tool_calls, :tools_blob,
        :response_format_blob, :parameters_blob, :metadata_blob, :error_blob, :usage, :prompt_tokens,
        :completion_tokens, :ttft_ms, :duration_ms, :upstream_id, :request_id, :system_fingerprint, :session, :user,
        :key_fingerprint, :flags, :request_bytes, :response_bytes
    )
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
        async with self._turn, self._translated():
            fresh = await self._fresh(traces)
            batch = await asyncio.to_thread(_plan, fresh)
            packed = await self._pack(batch)
            async with transaction(self._connection):
                await self._insert(_INSERT_BLOB, packed.blobs.values())
                await self._insert(_INSERT_NODE, packed.nodes)
                await self._insert(_INSERT_NODE_BLOB, packed.node_blobs)
                await self._insert(_INSERT_TRACE, batch.traces)
                await self._insert(_INSERT_REPLY, batch.replies)
                await self._insert(_INSERT_TAG, batch.tags)
                await self._insert(_INSERT_DEAD_LETTER, [self._dead_letter_row(letter) for letter in dead_letters])
                await self._insert(_MOVE_POSITION, [_position_row(position) for position in positions])
        return WriteCounts(len(fresh), len(traces) - len(fresh), len(dead_letters))

    async def known(self, ids: Collection[UUID]) -> set[UUID]:
        """Tell which of these calls are settled: stored as traces, or set aside as dead letters."""
        async with self._turn, self._translated():
            letters = await self._connection.execute_fetchall(KNOWN_DEAD_LETTERS, id_list(id_.bytes for id_ in ids))
            return await self._known_traces(ids) | {UUID(bytes=row[0]) for row in letters}

    async def positions(self) -> list[JournalPosition]:
        """Tell how far each writer's journal is resolved, by the writer's name."""
        async with self._turn, self._translated():
            rows = await self._connection.execute_fetchall(
                "SELECT writer, segment, offset FROM journal_positions ORDER BY writer"
            )
        return [JournalPosition(*row) for row in rows]

    async def _fresh(self, traces: Sequence[Trace]) -> list[Trace]:
        by_id: dict[UUID, Trace] = {}
        for trace in traces:
            by_id.setdefault(trace.id, trace)
        known = await self._known_traces(by_id)
        return [trace for trace in by_id.values() if trace.id not in known]

    async def _known_traces(self, ids: Collection[UUID]) -> set[UUID]:
        rows = await self._connection.execute_fetchall(KNOWN_TRACES, id_list(id_.bytes for id_ in ids))
        return {UUID(bytes=row[0]) for row in rows}

    async def _pack(self, batch: Batch) -> PackedRows:
        """Pack only what the database has not; a long chat's history is known but for its last messages."""
        known_nodes = {
            row[0] for row in await self._connection.execute_fetchall(KNOWN_NODES, id_list(batch.links.keys()))
        }
        known_blobs = {
            row[0] for row in await self._connection.execute_fetchall(KNOWN_BLOBS, id_list(batch.blobs.keys()))
        }

        def pack() -> PackedRows:
            packed = PackedRows()
            packed.add_links((link for link in batch.links.values() if link.id not in known_nodes), self._packer)
            for name, body in batch.blobs.items():
                if name not in known_blobs:
                    packed.add_blob(name, body, self._packer)
            return packed

        return await asyncio.to_thread(pack)

    async def _insert(self, sql: str, rows: Iterable[Row]) -> None:
        await self._connection.executemany(sql, rows)

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


def _plan(traces: Sequence[Trace]) -> Batch:
    batch = Batch()
    for trace in traces:
        batch.add(trace)
    return batch


def _position_row(position: JournalPosition) -> Row:
    return {"writer": position.writer, "segment": position.segment, "offset": position.offset}
