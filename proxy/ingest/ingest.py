"""Ingest: the one process that turns the journal into traces, and the only writer of `traces.db`.

It reads every writer's folder along, makes a trace of each call that ended, and stores traces and reading positions in
one transaction, so that nothing is lost and nothing stored twice, whenever it is killed. Changes that others ask for
(`store.change`) are applied in that transaction, too. A call that it cannot make sense of becomes a dead letter. The
journal waits on disk while the database cannot be written. Between two rounds it does a step of each chore.
"""

import asyncio
import gc
import logging
import math
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import UUID

from proxy.ingest.derive import derive
from proxy.ingest.feedback_redaction import redact_feedback
from proxy.ingest.imports import read_imports
from proxy.ingest.kept_bytes import may_be_kept
from proxy.ingest.upkeep import Upkeep
from proxy.journal.call_entries import call_entries
from proxy.journal.folder import used_bytes
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.metrics.folder import metrics_folder
from proxy.metrics.ingest_metrics import IngestMetrics
from proxy.metrics.teller import Teller
from proxy.redaction.redactor import Redactor
from store.change import Change, ChangeKind
from store.chore import Chore
from store.data_files import TRACES_FILE
from store.errors import StoreError, UnstorableTraceError, WriterBusyError
from store.fresh_messages import FreshMessages
from store.raw_calls import RawCalls
from store.trace import DeadLetter, JournalPosition, Trace
from store.trace_code import encode_traces
from store.traces import TraceWriter, WriteCounts

_log = logging.getLogger("tracemill.ingest")

_BATCH_CALLS = 500
"""Four times as many cost 2 % less each, for a commit takes some milliseconds, and 50 MB that are never given back."""
_BATCH_BYTES = 16 * 1024 * 1024
_IDLE_S = 0.1
"""Pause when there is nothing to read; an answered call is to be found within a second (`docs/contract.md`, C5)."""
_GATHER_S = 0.25
"""Pause after a round that found something, so that calls come together: a commit costs as much as ten traces."""
_TROUBLE_S = 1.0
_OBJECTS_A_COLLECTION = 100_000


async def run_ingest(
    data_dir: Path,
    stop: asyncio.Event,
    *,
    max_decoded_bytes: int,
    redactor: Redactor | None = None,
    chores: Sequence[Chore] = (),
    raw_calls: RawCalls | None = None,
    fresh: FreshMessages | None = None,
) -> None:
    """Read journals and write traces until `stop` is set and everything written by then is stored.

    With a redactor, traces are redacted before they are stored, dead letters keep their reason without the bytes, and
    no raw calls are kept. What is stored is given to `fresh`, for a chore that reads every message.

    A second instance on the same folder waits its turn; it takes over when the first one is gone. After trouble with
    database or files it begins again from the stored positions: nothing is lost by that, and nothing stored twice.
    """
    metrics = IngestMetrics()
    journals = data_dir / JOURNAL_FOLDER
    with closing(Teller(metrics_folder(), "ingest", metrics.counts)), _rare_collections():
        while not stop.is_set():
            try:
                async with await TraceWriter.open(data_dir / TRACES_FILE, raw_calls=raw_calls, fresh=fresh) as writer:
                    ingest = Ingest(
                        journals,
                        writer,
                        metrics,
                        max_decoded_bytes=max_decoded_bytes,
                        redactor=redactor,
                        raw_calls=raw_calls,
                    )
                    await ingest.run(stop, Upkeep(writer, chores))
            except WriterBusyError:
                _log.debug("another process stores the traces of this data directory; waiting for it to end")
            except (StoreError, OSError) as error:
                metrics.failed()
                _log.warning("traces cannot be stored (%s); the journal keeps them, trying again", error)
            await _pause(stop, _TROUBLE_S)


async def ingest_once(
    data_dir: Path,
    *,
    max_decoded_bytes: int,
    redactor: Redactor | None = None,
    chores: Sequence[Chore] = (),
    raw_calls: RawCalls | None = None,
    fresh: FreshMessages | None = None,
) -> None:
    """Take in all that the journals hold, for commands that want a change applied while nothing serves.

    Chores are done until nothing of them is left to do.

    Raises:
        WriterBusyError: A serving process has the store, and does it by itself.
        StoreError: The database cannot be written.
    """
    stop = asyncio.Event()
    stop.set()
    async with await TraceWriter.open(data_dir / TRACES_FILE, raw_calls=raw_calls, fresh=fresh) as writer:
        ingest = Ingest(
            data_dir / JOURNAL_FOLDER,
            writer,
            IngestMetrics(),
            max_decoded_bytes=max_decoded_bytes,
            redactor=redactor,
            raw_calls=raw_calls,
        )
        await ingest.run(stop)
        await Upkeep(writer, chores).work(math.inf, has_news=True)


class Ingest:
    """One round after the other over all writers' folders; a transaction takes in what several writers wrote."""

    def __init__(
        self,
        journals: Path,
        writer: TraceWriter,
        metrics: IngestMetrics,
        *,
        max_decoded_bytes: int,
        redactor: Redactor | None = None,
        raw_calls: RawCalls | None = None,
    ) -> None:
        """Begin where the stored positions say."""
        self._metrics = metrics
        self._journals = journals
        self._writer = writer
        self._max_decoded_bytes = max_decoded_bytes
        self._redactor = redactor
        self._raw_calls = raw_calls if redactor is None and raw_calls and raw_calls.retention.keeps_any else None
        self._redactions: Counter[str] = Counter()
        self._readers: dict[str, JournalReader] = {}
        self._stored: dict[str, JournalPosition] = {}
        self._may_repeat = True

    async def run(self, stop: asyncio.Event, upkeep: Upkeep | None = None) -> None:
        """Go on until `stop` is set and a whole round found nothing new."""
        self._stored = {position.writer: position for position in await self._writer.positions()}
        while True:
            is_last_round = stop.is_set()
            has_found = await self._round()
            if is_last_round and not has_found:
                return
            pause_s = _GATHER_S if has_found else _IDLE_S
            if upkeep is not None:
                pause_s -= await upkeep.work(pause_s, has_news=has_found)
            await _pause(stop, pause_s)

    async def _round(self) -> bool:
        """Take in what every writer has written since; tell whether there was anything."""
        found = False
        finished: list[JournalReader] = []
        batch = _Batch()
        readers = self._find_readers()
        self._may_repeat = any(reader.may_repeat for reader in readers)
        self._metrics.behind(_unread_bytes(readers))
        for reader in readers:
            if not reader.folder.exists():
                _log.error("%s was deleted; what had not been read of it is lost", reader.folder)
                del self._readers[reader.folder.name]
                continue
            is_alive = reader.is_writer_alive()
            for taken in reader.read() if is_alive else reader.finish():
                found = True
                batch.add(taken)
                if batch.is_full:
                    await self._store(batch)
                    batch = _Batch()
            if not is_alive:
                finished.append(reader)
        # The watermark may have moved, or damage been found, without a call that ended.
        await self._store(batch)
        for reader in finished:
            shutil.rmtree(reader.folder)
            del self._readers[reader.folder.name]
        self._metrics.behind(_unread_bytes(self._readers.values()))
        return found

    def _find_readers(self) -> list[JournalReader]:
        if self._journals.is_dir():
            for folder in sorted(self._journals.iterdir()):
                name = folder.name
                if name not in self._readers and not name.startswith(".") and folder.is_dir():
                    self._readers[name] = JournalReader(folder, self._stored.get(name))
        return list(self._readers.values())

    async def _store(self, batch: "_Batch") -> None:
        """Store a batch with the positions behind it. Raises StoreError when the database cannot take it now."""
        calls = batch.calls
        positions = [reader.position for reader in self._readers.values()]
        moved = [position for position in positions if self._stored.get(position.writer) != position]
        letters = [letter for reader in self._readers.values() for letter in reader.take_dead_letters()]
        if not calls and not batch.changes and not batch.imports and not letters and not moved:
            return
        began = time.monotonic()
        if calls:
            self._metrics.batch_read(min(map(_ended_at, calls)))
        if self._may_repeat:
            calls, letters = await self._without_known(calls, letters)
        traces: list[Trace] = []
        raw: dict[UUID, bytes] = {}
        self._redactions.clear()
        for call in calls:
            derived = self._derive(call)
            if isinstance(derived, Trace):
                traces.append(derived)
                if self._raw_calls is not None and may_be_kept(derived):
                    raw[call.trace_id] = call_entries(call)
            else:
                letters.append(derived)
        imported, unread = read_imports(batch.imports, self._redact)
        letters += unread
        changes = batch.changes
        if self._redactor is not None:
            changes = [redact_feedback(change, self._redactor) for change in changes]
        write = partial(self._writer.write, positions=moved, changes=changes)
        if self._raw_calls is not None:
            self._raw_calls.offer(raw)
        letters = await self._write(write, [*traces, *imported], letters, [*imported, *calls])
        if self._raw_calls is not None:
            self._raw_calls.offer({})
            self._metrics.raw_calls_lost(self._raw_calls.take_lost())
        for position in moved:
            self._stored[position.writer] = position
            self._readers[position.writer].delete_read_segments(position)
        self._metrics.redacted(self._redactions)
        self._metrics.batch_stored(calls=len(batch.calls), seconds=time.monotonic() - began)
        for letter in letters:
            self._metrics.letter_stored(letter)

    async def _without_known(
        self, calls: list[RawCall], letters: list[DeadLetter]
    ) -> tuple[list[RawCall], list[DeadLetter]]:
        """Leave out what was stored before."""
        ids = {call.trace_id for call in calls} | {letter.trace_id for letter in letters if letter.trace_id}
        known = await self._writer.known(ids)
        return (
            [call for call in calls if call.trace_id not in known],
            [letter for letter in letters if letter.trace_id not in known],
        )

    async def _write(
        self, write: "_Write", traces: list[Trace], letters: list[DeadLetter], sources: Sequence[RawCall | Trace]
    ) -> list[DeadLetter]:
        """Write a batch and return its dead letters; a trace that can never be stored becomes one."""
        while True:
            try:
                letters = [self._without_raw(letter) for letter in letters]
                counts = await write(traces, letters)
            except UnstorableTraceError as error:
                _log.error("call %s cannot be stored (%s); it is kept as a dead letter", error.trace_id, error)
                traces = [trace for trace in traces if trace.id != error.trace_id]
                body = next(_bytes_of(source) for source in reversed(sources) if _id_of(source) == error.trace_id)
                letters = [*letters, DeadLetter("unstorable", str(error), body, error.trace_id)]
            else:
                self._metrics.traces_stored(counts.traces)
                self._metrics.forgotten(counts.forgotten)
                return letters

    def _without_raw(self, letter: DeadLetter) -> DeadLetter:
        """Leave out the bytes of a call where calls are redacted: what cannot be read cannot be redacted."""
        return letter if self._redactor is None or letter.reason == "gap" else replace(letter, body=b"")

    def _redact(self, trace: Trace) -> Trace:
        if self._redactor is None:
            return trace
        redacted = self._redactor.redact(trace)
        self._redactions.update(redacted.counts)
        return redacted.trace

    def _derive(self, call: RawCall) -> Trace | DeadLetter:
        try:
            return self._redact(derive(call, max_decoded_bytes=self._max_decoded_bytes))
        except Exception as error:  # noqa: BLE001 - one call that nobody foresaw must not stop all that come after it
            # Where and of what kind, never the exception's text: that may quote the call.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"{type(error).__name__} in {frame.name} at {Path(frame.filename).name}:{frame.lineno}"
            _log.error("call %s could not be understood (%s); it is kept as a dead letter", call.trace_id, detail)
            return DeadLetter("derive_failed", detail, call_entries(call), call.trace_id)


class _Batch:
    """The calls, imports and other changes of one transaction."""

    def __init__(self) -> None:
        self.calls: list[RawCall] = []
        self.imports: list[Change] = []
        self.changes: list[Change] = []
        self._bytes = 0

    def add(self, taken: RawCall | Change) -> None:
        if isinstance(taken, Change):
            (self.imports if taken.kind is ChangeKind.TRACES else self.changes).append(taken)
            self._bytes += len(taken.body)
        else:
            self.calls.append(taken)
            self._bytes += len(taken.request_body) + len(taken.response_body)

    @property
    def is_full(self) -> bool:
        return len(self.calls) + len(self.imports) + len(self.changes) >= _BATCH_CALLS or self._bytes >= _BATCH_BYTES


class _Write(Protocol):
    """Writes traces and dead letters, together with all else of their batch."""

    async def __call__(self, traces: Sequence[Trace], dead_letters: Sequence[DeadLetter], /) -> WriteCounts: ...


def _id_of(source: RawCall | Trace) -> UUID:
    return source.id if isinstance(source, Trace) else source.trace_id


def _bytes_of(source: RawCall | Trace) -> bytes:
    return encode_traces([source]) if isinstance(source, Trace) else call_entries(source)


def _ended_at(call: RawCall) -> float:
    return call.started_at.timestamp() + (call.duration_ms or 0) / 1000


def _unread_bytes(readers: Iterable[JournalReader]) -> int:
    return sum(used_bytes(reader.folder, *reader.place) for reader in readers)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cycles of garbage once in several batches; ingest makes objects by the thousand and hardly ever a cycle.

    The collector would walk over a batch's traces dozens of times while it grows: 5 % of all work.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_OBJECTS_A_COLLECTION, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
