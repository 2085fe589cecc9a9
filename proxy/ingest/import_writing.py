"""Imported traces on their way into the journal: each once, and never far ahead of ingest.

What is in the store already, or was written a moment ago, is counted as a duplicate and not written. What was written
is looked for again behind ingest, so that the account is of what is stored, not of what was asked for. A run that is
killed leaves a journal that ingest takes in; the same run again then writes what is missing.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from proxy.errors import ImportStalledError
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.writer import JOURNAL_FOLDER
from store.change import Change, ChangeKind, find_change
from store.data_files import TRACES_FILE
from store.errors import DatabaseMissingError, OlderSchemaError, WriterBusyError
from store.forgotten import known_forgotten
from store.id_list import KNOWN_DEAD_LETTERS, KNOWN_TRACES, id_list
from store.trace import Trace
from store.trace_code import encode_traces
from store.traces import TraceReader
from store.uuid7 import uuid7

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""What may wait in the journal. Ingest deletes whole segments, so some 16 MiB more may lie there."""
_CHANGE_TRACES: Final = 200
_CHANGE_BYTES: Final = 1024 * 1024
"""A change is one entry and one `fsync`."""
_LOOK_S: Final = 0.05
PATIENCE_S: Final = 600.0
"""For ingest to get on: a disk that is full, say."""


@dataclass
class WriteCounts:
    """What became of traces that were read.

    Attributes:
        stored: In the store now, and not before.
        duplicates: There before, or more than once in what was read.
        left_out: Not in the store, though asked for: somebody had them erased, or no column can hold them.
    """

    stored: int = 0
    duplicates: int = 0
    left_out: int = 0


class _Written(NamedTuple):
    """A change that was written, until it is known to be applied."""

    ids: frozenset[bytes]
    size: int


class ImportWriting:
    """Writes traces as changes. Use as an asynchronous context manager, on an event loop that serves nobody else.

    Attributes:
        counts: What became of the traces, as far as it is known; whole when `finish` has returned.
        is_written: Whether everything is in the journal: it will be stored, whatever happens now.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        asked_by: str | None,
        take_in: Callable[[Path], Awaitable[None]] | None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        patience_s: float = PATIENCE_S,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin.

        Args:
            data_dir: The data directory.
            asked_by: Who asks, for the audit log.
            take_in: Stores all that the journals hold when nobody else does, and raises `WriterBusyError` when somebody
                does; None where there is always somebody.
            max_waiting_bytes: What may lie in the journal.
            patience_s: How long ingest may take in nothing before that is an error.
            is_stopped: Asked while ingest is waited for; true makes the wait an error at once.
        """
        self.counts = WriteCounts()
        self.is_written = False
        self._data_dir = data_dir
        self._asked_by = asked_by
        self._take_in = take_in
        self._max_waiting_bytes = max_waiting_bytes
        self._patience_s = patience_s
        self._is_stopped = is_stopped
        self._writer = ChangeWriter(data_dir / JOURNAL_FOLDER)
        self._reader: TraceReader | None = None
        self._held: dict[bytes, Trace] = {}
        self._held_bytes = 0
        self._written: deque[_Written] = deque()
        self._written_ids: set[bytes] = set()
        self._waiting_bytes = 0

    async def __aenter__(self) -> Self:
        # What stands in the way of storing anything is said before anything is read.
        await self._have_taken_in()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if self._reader is not None:
            await self._reader.close()
        if kind is None:
            # Ingest removes what a writer gave up: nothing that was imported is to stand in the journal as well.
            await self._have_taken_in()

    async def add(self, trace: Trace) -> None:
        """Take one trace; it is written together with others.

        Raises:
            OSError: The journal cannot be written.
            StoreError: The store cannot be read, or written where nothing serves.
            ImportStalledError: Ingest gets no further.
        """
        if trace.id.bytes in self._held:
            self.counts.duplicates += 1
            return
        self._held[trace.id.bytes] = trace
        self._held_bytes += sum(map(len, trace.messages)) + sum(len(reply.message) for reply in trace.replies)
        if len(self._held) >= _CHANGE_TRACES or self._held_bytes >= _CHANGE_BYTES:
            await self._write()

    async def finish(self, report: Callable[[WriteCounts], Mapping[str, Any]]) -> None:
        """Write the rest, wait until all of it is stored, and note the import in the audit log.

        Args:
            report: Makes what goes into the audit log: counts and names, never content.

        Raises:
            OSError: As `add`.
            StoreError: As `add`.
            ImportStalledError: As `add`; `is_written` tells that nothing is missing in the journal.
        """
        await self._write()
        self.is_written = True
        await self._wait_until(self._is_settled)
        note = self._change(ChangeKind.IMPORT, json.dumps(report(self.counts)).encode())
        self._writer.write(note)
        await self._wait_until(lambda: self._is_applied(note.id))

    async def _write(self) -> None:
        if not self._held:
            return
        known = self._held.keys() & (await self._look(KNOWN_TRACES, self._held) | self._written_ids)
        left_out = await self._left_out(self._held.keys() - known)
        fresh = [trace for id_, trace in self._held.items() if id_ not in known and id_ not in left_out]
        self.counts.duplicates += len(known)
        self.counts.left_out += len(left_out)
        self._held, self._held_bytes = {}, 0
        if not fresh:
            return
        change = self._change(ChangeKind.TRACES, encode_traces(fresh))
        self._writer.write(change)
        written = _Written(frozenset(trace.id.bytes for trace in fresh), len(change.body))
        self._written.append(written)
        self._written_ids |= written.ids
        self._waiting_bytes += written.size
        if self._waiting_bytes > self._max_waiting_bytes:
            await self._wait_until(self._has_room)

    async def _settle(self) -> None:
        """Account for what ingest has done with, the oldest first: it is stored, set aside, or was erased before."""
        while self._written:
            written = self._written[0]
            stored = await self._look(KNOWN_TRACES, written.ids)
            # None of them was left out before, so those that are now tell as much.
            if not stored and not await self._left_out(written.ids):
                return
            self.counts.stored += len(stored)
            self.counts.left_out += len(written.ids) - len(stored)
            self._written.popleft()
            self._written_ids -= written.ids
            self._waiting_bytes -= written.size

    async def _left_out(self, ids: Collection[bytes]) -> set[bytes]:
        """Tell which of these traces will not be stored: they were erased, or set aside as dead letters."""
        reader = await self._open()
        if reader is None or not ids:
            return set()
        erased = await reader.look(lambda db: known_forgotten(db, [UUID(bytes=id_) for id_ in ids]))
        return {id_.bytes for id_ in erased} | await self._look(KNOWN_DEAD_LETTERS, ids)

    async def _wait_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        waiting_bytes, since = -1, 0.0
        while not await condition():
            if self._waiting_bytes != waiting_bytes:
                waiting_bytes, since = self._waiting_bytes, time.monotonic()
            elif time.monotonic() - since > self._patience_s or self._is_stopped():
                raise ImportStalledError(self._data_dir / JOURNAL_FOLDER, self._patience_s)
            if not await self._have_taken_in():
                await asyncio.sleep(_LOOK_S)

    async def _has_room(self) -> bool:
        await self._settle()
        return self._waiting_bytes <= self._max_waiting_bytes // 2

    async def _is_settled(self) -> bool:
        await self._settle()
        return not self._written

    async def _have_taken_in(self) -> bool:
        """Store what waits, where nobody else does; tell whether that was so."""
        if self._take_in is None:
            return False
        with suppress(WriterBusyError):
            await self._take_in(self._data_dir)
            return True
        return False

    async def _look(self, statement: str, ids: Collection[bytes]) -> set[bytes]:
        reader = await self._open()
        if reader is None or not ids:
            return set()
        wanted = id_list(ids)
        return await reader.look(lambda db: {row[0] for row in db.execute(statement, wanted).fetchall()})

    async def _is_applied(self, id_: UUID) -> bool:
        reader = await self._open()
        return reader is not None and await reader.look(lambda db: find_change(db, id_)) is not None

    async def _open(self) -> TraceReader | None:
        """Give the reader; None while a database is not there yet, or not migrated yet: it is about to be."""
        if self._reader is None:
            with suppress(DatabaseMissingError, OlderSchemaError):
                self._reader = await TraceReader.open(self._data_dir / TRACES_FILE)
        return self._reader

    def _change(self, kind: ChangeKind, body: bytes) -> Change:
        return Change(uuid7(), kind, datetime.now(UTC), self._asked_by, body)


def import_report(files: Sequence[Mapping[str, Any]], counts: WriteCounts | None) -> dict[str, Any]:
    """Put the report of an import together: `records == stored + duplicates + left_out + joined + rejected`.

    Args:
        files: The counts of each file.
        counts: What became of the traces; None when nothing was to be written.
    """

    def total(name: str) -> int:
        return sum(each[name] for each in files)

    rejected: dict[str, int] = {}
    for each in files:
        for reason, count in each["rejected"].items():
            rejected[reason] = rejected.get(reason, 0) + count
    written = None if counts is None else counts
    return {
        "lines": total("lines"),
        "records": total("records"),
        "traces": total("traces"),
        "stored": None if written is None else written.stored,
        "duplicates": None if written is None else written.duplicates,
        "left_out": None if written is None else written.left_out,
        "joined": total("joined"),
        "rejected": sum(rejected.values()),
        "reasons": dict(sorted(rejected.items())),
        "files": list(files),
    }
