"""Writing traces: whole batches, each one transaction together with the journal positions it came from."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

import aiosqlite

from store.body import Packer
from store.change import Applied, Applier, Change, ChangeKind, apply_change
from store.chore import Chore, Step
from store.connection import close, run, transaction_now
from store.database import TRACES, open_writer, store_error
from store.errors import StoreError
from store.filter_functions import add_functions
from store.follower import Follower
from store.forgotten import Forgotten
from store.fresh_messages import FreshMessages
from store.id_list import KNOWN_BLOBS, KNOWN_DEAD_LETTERS, KNOWN_NODES, KNOWN_TRACES, id_list
from store.raw_calls import RawCalls
from store.row_numbers import RowNumbers
from store.trace import DeadLetter, JournalPosition, Trace
from store.trace_batch import Batch
from store.trace_insertion import LAST_BLOB, LAST_NODE, Insertion
from store.trace_rows import to_blob
from store.tree import HashedMessages
from store.upkeep import make_appliers, make_followers

_LAST_TRACE = "SELECT coalesce(max(number), 0) FROM traces"
_INSERT_DEAD_LETTER = """
    INSERT INTO dead_letters (trace_id, reason, detail, body, body_bytes)
    VALUES (:trace_id, :reason, :detail, :body, :body_bytes)
"""
_MOVE_POSITION = """
    INSERT INTO journal_positions (writer, segment, offset) VALUES (:writer, :segment, :offset)
    ON CONFLICT (writer) DO UPDATE SET segment = excluded.segment, offset = excluded.offset
"""
# Ids are hashes: a batch of 500 calls changes some 1,000 pages all over the largest index. In a log of 32 MB most are
# changed several times before they are written to the database once (10 % of all work at 150,000 traces), and 16 MB of
# memory hold the index of half a million messages.
_TUNING = ("PRAGMA wal_autocheckpoint = 8000", "PRAGMA cache_size = -16000")


_NO_APPLIERS: Mapping[ChangeKind, Applier] = {}


class WriteCounts(NamedTuple):
    """What one batch came to.

    Attributes:
        traces: Traces written.
        duplicates: Traces left out because their id was there already, in the database or earlier in the batch.
        dead_letters: Dead letters written.
        forgotten: Traces and dead letters left out because they were erased, or their session or user was.
    """

    traces: int
    duplicates: int
    dead_letters: int
    forgotten: int = 0


class TraceWriter:
    """The one writer of a `traces.db`; batches of several tasks wait for each other."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        path: Path,
        followers: Sequence[Follower] = (),
        appliers: Mapping[ChangeKind, Applier] = _NO_APPLIERS,
        fresh: FreshMessages | None = None,
    ) -> None:
        self.path = path
        self._place = _place_of(path)
        self._fresh = fresh
        self._connection = connection
        self._followers = followers
        self._appliers = appliers
        self._packer = Packer()
        self._hashed = HashedMessages()
        self._nodes = RowNumbers(KNOWN_NODES, LAST_NODE)
        self._blobs = RowNumbers(KNOWN_BLOBS, LAST_BLOB)
        self._forgotten = Forgotten()
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, *, raw_calls: RawCalls | None = None, fresh: FreshMessages | None = None) -> Self:
        """Open, make or migrate the database, and hold the right to write it until `close`.

        All derived tables are kept, and all kinds of changes applied (`store.upkeep`).

        Args:
            path: The file.
            raw_calls: Keeps what traces are made of; without them none are kept, and those that are there are erased
                with their traces all the same.
            fresh: Is given the messages that are stored, for a chore that reads each of them.

        Raises:
            StoreError: As `store.database.open_writer`.
        """
        connection = await open_writer(path, TRACES)
        try:
            for pragma in _TUNING:
                await connection.execute(pragma)
            await run(connection, add_functions)  # an erasure selects by filter, too
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        raw_calls = raw_calls or RawCalls(path.parent)
        raw_calls.forget()
        followers = make_followers(raw_calls)
        if fresh is not None:
            fresh.forget()
        return cls(connection, path, followers, make_appliers(raw_calls, followers), fresh)

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
        changes: Sequence[Change] = (),
    ) -> WriteCounts:
        """Write a batch as one transaction: all of it, or on any error nothing.

        A trace or change whose id is known is left out, so a batch may be written again after a crash. Changes are
        applied in their order, after all traces.

        Raises:
            UnstorableTraceError: One trace can never be stored; set it aside and write the rest again.
            StoreFullError: No room; write the same batch again later.
            StoreError: Anything else SQLite says, or the file is not the one that was opened any more: write all that
                is still at hand again, to a writer that is opened anew.
        """
        letters = list(dead_letters)
        async with self._turn, self._translated():
            return await run(self._connection, lambda db: self._write(db, traces, letters, positions, changes))

    async def perform(self, chore: Chore) -> Step:
        """Do one step of a chore, between two batches.

        Raises:
            StoreError: SQLite says so; what the step had begun is rolled back.
        """
        async with self._turn, self._translated():
            return await run(self._connection, lambda db: self._perform(db, chore))

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
        changes: Sequence[Change],
    ) -> WriteCounts:
        fresh = _fresh(db, traces)
        duplicates = len(traces) - len(fresh)
        left_out = self._forgotten.among(db, fresh)
        if left_out.ids:
            fresh = [trace for trace in fresh if trace.id not in left_out.ids]
        letters = self._forgotten.letters_left(db, dead_letters)
        batch = Batch(self._hashed)
        for trace in fresh:
            batch.add(trace)
        numbers = count(db.execute(_LAST_TRACE).fetchone()[0] + 1)
        insertion = Insertion(db, batch, islice(numbers, len(fresh)), self._packer, self._nodes, self._blobs)
        with self._transaction(db):
            insertion.insert(db)
            db.executemany(_INSERT_DEAD_LETTER, [self._dead_letter_row(letter) for letter in letters])
            self._forgotten.note(db, left_out)
            db.executemany(_MOVE_POSITION, [_position_row(position) for position in positions])
            stored = insertion.stored()
            for follower in self._followers:
                follower.add(db, stored)
            applied = [self._apply(db, change) for change in changes]
        self._check_place()
        self._nodes.keep(insertion.nodes)
        self._blobs.keep(insertion.blobs)
        if self._fresh is not None:
            self._fresh.keep(insertion.new_messages())
        if any(each.has_erased for each in applied if each):
            self._forget()
        forgotten = len(left_out.ids) + len(dead_letters) - len(letters)
        return WriteCounts(len(fresh), duplicates, len(letters), forgotten)

    def _check_place(self) -> None:
        """Raise StoreError when the file has lost its name: SQLite would go on writing it, and nobody find it."""
        if _place_of(self.path) != self._place:
            raise StoreError(
                f"{self.path}: was deleted, moved or replaced while the server wrote it, and is begun anew. Stop the "
                "server before its files are touched, and restart it now, so that the admin side sees the new file.",
                self.path,
            )

    def _apply(self, db: sqlite3.Connection, change: Change) -> Applied | None:
        return apply_change(db, change, self._appliers.get(change.kind), datetime.now(UTC))

    def _perform(self, db: sqlite3.Connection, chore: Chore) -> Step:
        try:
            step = chore.step(db)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._forget()
            raise
        if step.is_resting:
            self._hashed = HashedMessages()
        if step.has_erased or step.is_resting:
            self._forget()
        return step

    def _forget(self) -> None:
        self._nodes.forget()
        self._blobs.forget()
        self._forgotten.forget()
        if self._fresh is not None:
            self._fresh.forget()
        for follower in self._followers:
            follower.forget()

    @contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        try:
            with transaction_now(db):
                yield
        except BaseException:
            for follower in self._followers:
                follower.forget()
            raise

    def _dead_letter_row(self, letter: DeadLetter) -> dict[str, object]:
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


def _place_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _fresh(db: sqlite3.Connection, traces: Sequence[Trace]) -> list[Trace]:
    by_id: dict[bytes, Trace] = {}
    for trace in traces:
        by_id.setdefault(trace.id.bytes, trace)
    for (known,) in db.execute(KNOWN_TRACES, id_list(by_id)).fetchall():
        del by_id[known]
    return list(by_id.values())


def _position_row(position: JournalPosition) -> dict[str, object]:
    return {"writer": position.writer, "segment": position.segment, "offset": position.offset}
