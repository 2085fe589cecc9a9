"""The journal: where a data worker writes what crosses it, before the client has its last byte.

One worker writes one folder, `journal/<writer>/`, of numbered segments. Appending is a `write(2)` into the page cache,
which survives the death of any of our processes; a second thread flushes to the disk every 200 ms, so that a power
failure costs at most that. Nobody else ever writes here; ingest reads along and deletes segments it has done with.

The event loop never waits for the disk: it hands entries to the writer thread and, where the contract wants an entry to
be down before a byte goes out, waits for it at most `_PATIENCE_S`. A disk that is stuck, full or gone holds each answer
for that long once; from then on nobody waits until it has caught up. What waits in memory meanwhile is bounded: callers
ask `has_room` before they hand a body over and shed it, counted, when there is none (`proxy.calls.exchange`).
"""

import asyncio
import fcntl
import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple
from uuid import UUID

from proxy.journal.format import MARK_SIZE, EntryKind, encode
from proxy.journal.segment import Segment

JOURNAL_FOLDER = "journal"

_log = logging.getLogger("tracemill.journal")

SEGMENT_BYTES = 16 * 1024 * 1024
_BATCH_BYTES = 4 * 1024 * 1024
_PATIENCE_S = 0.1
"""Longest that an answer waits for the journal (`docs/contract.md`, C8)."""
_RETRY_S = 0.2
_SYNC_INTERVAL_S = 0.2
_CLOSE_PATIENCE_S = 5.0


class _Pending(NamedTuple):
    entry: bytes
    written: asyncio.Future[None] | None
    handed_over_at: float


class Journal:
    """The journal of one writer. Open it on the event loop's thread; close it exactly once."""

    def __init__(
        self,
        root: Path,
        *,
        max_pending_bytes: int,
        max_disk_bytes: int,
    ) -> None:
        """Create the writer's folder and start the threads.

        Args:
            root: The data directory's `journal` folder.
            max_pending_bytes: What may wait in memory for the disk.
            max_disk_bytes: What may lie on the disk waiting for ingest.
        """
        self.mark = secrets.token_bytes(MARK_SIZE)
        self._root = root
        self._folder, self._lock = _make_folder(root)
        self._max_pending_bytes = max_pending_bytes
        self._max_disk_bytes = max_disk_bytes
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        # Each counter has one writing thread, so their difference needs no lock.
        self._handed_over_bytes = 0
        self._written_bytes = 0
        self._waiting_since = 0.0
        self._segment = Segment(self._folder, self.mark)
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_forever, name="journal-writer", daemon=True)
        self._syncer = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)
        self._writer.start()
        self._syncer.start()

    def has_room(self, size: int) -> bool:
        """Tell whether a body of this size may still wait in memory; the caller sheds it otherwise."""
        return self.pending_bytes + size <= self._max_pending_bytes

    def append_nowait(
        self, kind: EntryKind, trace_id: UUID, meta: dict[str, Any] | None = None, body: bytes = b""
    ) -> None:
        """Hand an entry to the writer thread."""
        self._hand_over(encode(self.mark, kind, trace_id, meta, body), None)

    async def append(
        self, kind: EntryKind, trace_id: UUID, meta: dict[str, Any] | None = None, body: bytes = b""
    ) -> None:
        """Hand an entry over and wait until it is written, but never longer than the contract allows."""
        written = self._loop.create_future()
        self._hand_over(encode(self.mark, kind, trace_id, meta, body), written)
        if self.is_stuck:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await written

    @property
    def is_stuck(self) -> bool:
        """Whether the writer thread has been at one batch for longer than anybody should wait."""
        since = self._waiting_since
        return since > 0 and time.monotonic() - since > _PATIENCE_S

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait in memory for the disk."""
        return self._handed_over_bytes - self._written_bytes

    def close(self) -> None:
        """Write what is waiting, within a bound, and give the folder up to ingest."""
        self._queue.put(None)
        self._writer.join(_CLOSE_PATIENCE_S)
        self._closing.set()
        self._syncer.join(_CLOSE_PATIENCE_S)
        if self._writer.is_alive():
            _log.error("the journal could not be written to the end; %d bytes are lost", self.pending_bytes)
        os.close(self._lock)

    def _hand_over(self, entry: bytes, written: asyncio.Future[None] | None) -> None:
        self._handed_over_bytes += len(entry)
        self._queue.put(_Pending(entry, written, time.monotonic()))

    # The writer thread.

    def _write_forever(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._waiting_since = batch[0].handed_over_at
            self._write_batch(batch)
            self._waiting_since = 0.0
        self._segment.close()

    def _next_batch(self) -> list[_Pending] | None:
        """Return everything that waits, up to a bound; None when the journal is to be closed."""
        first = self._queue.get()
        if first is None:
            return None
        batch, size = [first], len(first.entry)
        while size < _BATCH_BYTES and not self._queue.empty():
            pending = self._queue.get()
            if pending is None:
                self._queue.put(None)
                break
            batch.append(pending)
            size += len(pending.entry)
        return batch

    def _write_batch(self, batch: list[_Pending]) -> None:
        """Append the batch, in as many tries as it takes; after a failure go on in a new segment."""
        failures = 0
        while batch:
            try:
                if self._segment.is_broken or self._segment.size >= SEGMENT_BYTES:
                    self._segment.close()
                if not self._segment.is_open:
                    self._find_folder()
                    self._check_room()
                    self._segment.open_next()
                done = self._segment.append([pending.entry for pending in batch])
            except OSError as error:
                self._segment.close()
                failures += 1
                if failures == 1:
                    continue  # a new segment may be all it needs
                if failures == 2:
                    _log.warning("the journal cannot be written (%s); calls go on, the journal tries again", error)
                if self._closing.wait(_RETRY_S):
                    return
                continue
            self._settle(batch[:done])
            batch = batch[done:]
        if failures > 1:
            _log.warning("the journal is being written again")

    def _settle(self, batch: list[_Pending]) -> None:
        self._written_bytes += sum(len(pending.entry) for pending in batch)
        waiting = [pending.written for pending in batch if pending.written is not None]
        if waiting:
            # The loop is gone only when its worker is ending; nobody waits for these futures then.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, waiting)

    def _find_folder(self) -> None:
        """Begin a folder anew when somebody has deleted ours."""
        if self._folder.exists():
            return
        _log.error("%s was deleted; the journal goes on in a new folder", self._folder)
        folder, lock = _make_folder(self._root)
        os.close(self._lock)
        self._folder, self._lock = folder, lock
        self._segment = Segment(self._folder, self.mark)

    def _check_room(self) -> None:
        used = sum(path.stat().st_size for path in self._folder.glob("*.seg"))
        if used >= self._max_disk_bytes:
            raise OSError(f"the journal holds {used} bytes that ingest has not taken; max_journal_bytes is reached")

    # The sync thread.

    def _sync_forever(self) -> None:
        while not self._closing.wait(_SYNC_INTERVAL_S):
            self._segment.sync()


def _make_folder(root: Path) -> tuple[Path, int]:
    """Create the writer's folder with its lock already held, so that nobody ever sees it unlocked and alive.

    Returns:
        The folder and the descriptor of the lock, which the kernel drops when this process ends, however it ends.
    """
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = root / f".{name}"
    hidden.mkdir(mode=0o700)
    lock = os.open(hidden / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder = root / name
    hidden.rename(folder)
    return folder, lock


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
