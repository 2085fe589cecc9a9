"""Ingest: the one process that turns the journal into traces, and the only writer of `traces.db`.

It reads every writer's folder along, makes a trace of each call that ended, and stores traces and reading positions in
one transaction, so that nothing is lost and nothing stored twice, whenever it is killed. A call that it cannot make
sense of becomes a dead letter. The journal waits on disk while the database cannot be written.
"""

import asyncio
import logging
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from proxy.ingest.derive import derive
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader, call_entries
from proxy.journal.writer import JOURNAL_FOLDER
from store.errors import StoreError, UnstorableTraceError, WriterBusyError
from store.trace import DeadLetter, JournalPosition, Trace
from store.traces import TraceWriter

_log = logging.getLogger("tracemill.ingest")

TRACES_FILE = "traces.db"
_BATCH_CALLS = 500
_BATCH_BYTES = 16 * 1024 * 1024
_IDLE_S = 0.1
"""Pause when there is nothing to read; an answered call is to be found within a second (`docs/contract.md`, C5)."""
_TROUBLE_S = 1.0


async def run_ingest(data_dir: Path, stop: asyncio.Event, *, max_decoded_bytes: int) -> None:
    """Read journals and write traces until `stop` is set and everything written by then is stored.

    A second instance on the same folder waits its turn; it takes over when the first one is gone. After trouble with
    database or files it begins again from the stored positions: nothing is lost by that, and nothing stored twice.
    """
    while not stop.is_set():
        try:
            async with await TraceWriter.open(data_dir / TRACES_FILE) as writer:
                await Ingest(data_dir / JOURNAL_FOLDER, writer, max_decoded_bytes=max_decoded_bytes).run(stop)
        except WriterBusyError:
            _log.debug("another process stores the traces of this data directory; waiting for it to end")
        except (StoreError, OSError) as error:
            _log.warning("traces cannot be stored (%s); the journal keeps them, trying again", error)
        await _pause(stop, _TROUBLE_S)


@dataclass(slots=True)
class IngestStatus:
    """What ingest has done since it began, for whoever watches it.

    Attributes:
        batches: Transactions.
        calls: Calls resolved: stored as traces, known before, or set aside.
        last_batch_calls: Calls of the last transaction.
        last_batch_s: How long it took to make their traces and to store them.
    """

    batches: int = 0
    calls: int = 0
    last_batch_calls: int = 0
    last_batch_s: float = 0.0


class Ingest:
    """One round after the other over all writers' folders; a transaction takes in what several writers wrote."""

    def __init__(self, journals: Path, writer: TraceWriter, *, max_decoded_bytes: int) -> None:
        """Begin where the stored positions say."""
        self.status = IngestStatus()
        self._journals = journals
        self._writer = writer
        self._max_decoded_bytes = max_decoded_bytes
        self._readers: dict[str, JournalReader] = {}
        self._stored: dict[str, JournalPosition] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop` is set and a whole round found nothing new."""
        self._stored = {position.writer: position for position in await self._writer.positions()}
        while True:
            is_last_round = stop.is_set()
            if not await self._round() and is_last_round:
                return
            # Also after a round that found something: calls that come meanwhile share a transaction.
            await _pause(stop, _IDLE_S)

    async def _round(self) -> bool:
        """Take in what every writer has written since; tell whether there was anything."""
        resolved = self.status.calls
        finished: list[JournalReader] = []
        batch = _Batch()
        for reader in self._find_readers():
            if not reader.folder.exists():
                _log.error("%s was deleted; what had not been read of it is lost", reader.folder)
                del self._readers[reader.folder.name]
                continue
            is_alive = reader.is_writer_alive()
            for call in reader.read() if is_alive else reader.finish():
                batch.add(call)
                if batch.is_full:
                    await self._store(batch.calls)
                    batch = _Batch()
            if not is_alive:
                finished.append(reader)
        # The watermark may have moved, or damage been found, without a call that ended.
        await self._store(batch.calls)
        for reader in finished:
            shutil.rmtree(reader.folder)
            del self._readers[reader.folder.name]
        return self.status.calls > resolved

    def _find_readers(self) -> list[JournalReader]:
        if self._journals.is_dir():
            for folder in sorted(self._journals.iterdir()):
                name = folder.name
                if name not in self._readers and not name.startswith(".") and folder.is_dir():
                    self._readers[name] = JournalReader(folder, self._stored.get(name))
        return list(self._readers.values())

    async def _store(self, calls: list[RawCall]) -> None:
        """Store a batch with the positions behind it. Raises StoreError when the database cannot take it now."""
        positions = [reader.position for reader in self._readers.values()]
        moved = [position for position in positions if self._stored.get(position.writer) != position]
        letters = [letter for reader in self._readers.values() for letter in reader.take_dead_letters()]
        if not calls and not letters and not moved:
            return
        began = time.monotonic()
        ids = {call.trace_id for call in calls} | {letter.trace_id for letter in letters if letter.trace_id}
        known = await self._writer.known(ids)
        letters = [letter for letter in letters if letter.trace_id not in known]
        traces: list[Trace] = []
        for call in calls:
            if call.trace_id in known:
                continue
            derived = self._derive(call)
            if isinstance(derived, Trace):
                traces.append(derived)
            else:
                letters.append(derived)
        await self._write(traces, letters, moved, {call.trace_id: call for call in calls})
        for position in moved:
            self._stored[position.writer] = position
            self._readers[position.writer].delete_read_segments(position)
        self._count(len(calls), time.monotonic() - began)

    def _count(self, calls: int, seconds: float) -> None:
        self.status.batches += 1
        self.status.calls += calls
        self.status.last_batch_calls, self.status.last_batch_s = calls, seconds

    async def _write(
        self,
        traces: list[Trace],
        letters: list[DeadLetter],
        positions: list[JournalPosition],
        calls: dict[UUID, RawCall],
    ) -> None:
        """Write a batch; a trace that can never be stored becomes a dead letter."""
        while True:
            try:
                await self._writer.write(traces, letters, positions)
            except UnstorableTraceError as error:
                _log.error("call %s cannot be stored (%s); it is kept as a dead letter", error.trace_id, error)
                traces = [trace for trace in traces if trace.id != error.trace_id]
                body = call_entries(calls[error.trace_id])
                letters = [*letters, DeadLetter("unstorable", str(error), body, error.trace_id)]
            else:
                return

    def _derive(self, call: RawCall) -> Trace | DeadLetter:
        try:
            return derive(call, max_decoded_bytes=self._max_decoded_bytes)
        except Exception as error:  # noqa: BLE001 - one call that nobody foresaw must not stop all that come after it
            # Where and of what kind, never the exception's text: that may quote the call.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"{type(error).__name__} in {frame.name} at {Path(frame.filename).name}:{frame.lineno}"
            _log.error("call %s could not be understood (%s); it is kept as a dead letter", call.trace_id, detail)
            return DeadLetter("derive_failed", detail, call_entries(call), call.trace_id)


class _Batch:
    """The calls of one transaction."""

    def __init__(self) -> None:
        self.calls: list[RawCall] = []
        self._bytes = 0

    def add(self, call: RawCall) -> None:
        self.calls.append(call)
        self._bytes += len(call.request_body) + len(call.response_body)

    @property
    def is_full(self) -> bool:
        return len(self.calls) >= _BATCH_CALLS or self._bytes >= _BATCH_BYTES


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
