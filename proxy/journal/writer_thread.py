"""The two threads behind a journal: one writes, one flushes. Nothing in here touches the event loop."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from proxy.journal.batch import Batch
from proxy.journal.disk import Disk
from proxy.journal.folder import WriterFolder, make_folder, used_bytes
from proxy.journal.rolling import is_asked, is_done
from proxy.journal.segment import Segment

_log = logging.getLogger("tracemill.journal")

SEGMENT_BYTES = 16 * 1024 * 1024
_WRITE_BYTES = 4 * 1024 * 1024
"""About as much as one system call is given: a slow disk is to be noticed between two of them."""
_RETRY_S = 0.2
_SYNC_INTERVAL_S = 0.2


class JournalThreads:
    """Takes batches, writes them in their order, in as many tries as it takes, and reports each when it is down.

    Attributes:
        written_bytes: Bytes of entries that are down.
        entries_written: Entries that are down.
        batches_written: System calls that took them.
        disk_bytes: Bytes of the segments, counted when one is begun, and what was written since.
        sync_failures: Flushes that the disk refused.
    """

    def __init__(
        self,
        root: Path,
        mark: bytes,
        *,
        max_disk_bytes: int,
        waits_for_sync: bool,
        report: Callable[[list[Batch]], None],
        disk: Disk,
    ) -> None:
        """Start.

        Args:
            root: The data directory's `journal` folder.
            mark: The writer's mark.
            max_disk_bytes: What may lie on the disk waiting for ingest.
            waits_for_sync: Report a batch when it is on the disk; else when it is in the page cache.
            report: Called on one of the threads.
            disk: The system calls to write with.
        """
        self._root = root
        self._disk = disk
        self._max_disk_bytes = max_disk_bytes
        self._waits_for_sync = waits_for_sync
        self._report = report
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._folder: WriterFolder | None = None
        self._segment = Segment(mark, disk)
        # Each of these has one writing thread.
        self.written_bytes = 0
        self.entries_written = 0
        self.batches_written = 0
        self.disk_bytes = 0
        self.sync_failures = 0
        self._write_since = 0.0
        self._sync_since = 0.0
        self._cannot_write = False
        self._cannot_sync = False
        self._is_roll_wanted = False
        self._next_look = 0.0
        self._unsynced: list[Batch] = []
        self._unsynced_guard = threading.Lock()
        self._sync_wanted = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_forever, name="journal-writer", daemon=True)
        self._syncer = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)
        self._writer.start()
        self._syncer.start()

    def take(self, batch: Batch) -> None:
        """Take a batch; never waits."""
        self._queue.put(batch)

    @property
    def waiting_since(self) -> float:
        """Since when the oldest unreported batch waits, by the monotonic clock; 0.0 when none does."""
        # Asked at every append.
        write, sync = self._write_since, self._sync_since
        return min(write, sync) if write and sync else write or sync

    @property
    def is_failing(self) -> bool:
        """Whether the last try to write or to flush failed."""
        return self._cannot_write or self._cannot_sync

    def close(self, patience_s: float) -> bool:
        """Write and flush what is waiting and give the folder up; tell whether everything was written in time."""
        self._queue.put(None)
        self._writer.join(patience_s)
        self._closing.set()
        self._sync_wanted.set()
        self._syncer.join(patience_s)
        is_done = not self._writer.is_alive()
        if self._folder is not None:
            os.close(self._folder.lock)
        return is_done and not self._cannot_write

    # The writer thread.

    def _write_forever(self) -> None:
        while (batches := self._next_batches()) is not None:
            self._write_since = batches[0].handed_over_at
            if not self._write(batches):
                break
            if self._waits_for_sync:
                self._leave_to_sync(batches)
            else:
                self._report(batches)
            self._write_since = 0.0
        self._segment.close()

    def _next_batches(self) -> list[Batch] | None:
        """Return all that waits, up to a bound; None when the journal is to be closed."""
        first = self._queue.get()
        if first is None:
            return None
        batches, size = [first], 0
        while size < _WRITE_BYTES and not self._queue.empty():
            batch = self._queue.get()
            if batch is None:
                self._queue.put(None)
                break
            batches.append(batch)
            size += sum(map(len, batch.entries))
        return batches

    def _write(self, batches: list[Batch]) -> bool:
        """Append the entries, in as many tries as it takes; False when the journal is closed before."""
        entries = batches[0].entries if len(batches) == 1 else [entry for batch in batches for entry in batch.entries]
        failures = 0
        begun = False
        while entries or not begun:
            try:
                self._begin_segment()
                begun = True
                done = self._segment.append(_first(entries, _WRITE_BYTES)) if entries else 0
            except OSError as error:
                self._segment.close()
                failures += 1
                if failures == 1:
                    continue  # a new segment may be all it needs
                if failures == 2:
                    _log.warning("the journal cannot be written (%s); calls go on, the journal tries again", error)
                    self._cannot_write = True
                if self._closing.wait(_RETRY_S):
                    return False
                continue
            size = sum(map(len, entries[:done]))
            self.written_bytes += size
            self.disk_bytes += size
            self.entries_written += done
            self.batches_written += 1
            entries = entries[done:]
        if self._cannot_write:
            self._cannot_write = False
            _log.warning("the journal is being written again")
        return True

    def _begin_segment(self) -> None:
        if self._segment.is_broken or self._segment.size >= SEGMENT_BYTES or self._is_roll_wanted:
            self._segment.close()
        if self._segment.is_open:
            return
        self._find_folder()
        self._segment.open_next()
        if self._is_roll_wanted and self._folder is not None:
            is_done(self._folder.path)
            self._is_roll_wanted = False

    def _find_folder(self) -> None:
        """See that there is a folder, and room in it; begin it anew when somebody has deleted ours."""
        if self._folder is not None and not self._folder.path.exists():
            _log.error("%s was deleted; the journal goes on in a new folder", self._folder.path)
            os.close(self._folder.lock)
            self._folder = None
        if self._folder is None:
            self._folder = make_folder(self._root, self._disk)
            self._segment.use_folder(self._folder.path)
        self.disk_bytes = used_bytes(self._folder.path)
        if self.disk_bytes >= self._max_disk_bytes:
            raise OSError(
                f"the journal holds {self.disk_bytes} bytes that ingest has not taken; max_journal_bytes is reached"
            )

    # The sync thread.

    def _leave_to_sync(self, batches: list[Batch]) -> None:
        with self._unsynced_guard:
            self._unsynced += batches
            self._sync_since = self._unsynced[0].handed_over_at
        self._sync_wanted.set()

    def _sync_forever(self) -> None:
        while True:
            if not self._closing.is_set():
                self._sync_wanted.wait(_SYNC_INTERVAL_S)
            self._sync_wanted.clear()
            is_last = self._closing.is_set()
            self._sync()
            if is_last:
                return
            self._look_for_request()
            if self._cannot_sync:
                # Nothing but a flush that works shows that the next one will, and no call may come to ask for one.
                self._queue.put(_probe())
                self._closing.wait(_RETRY_S)

    def _look_for_request(self) -> None:
        """See whether a new file is wanted (`proxy.journal.rolling`), though no call may come to begin one."""
        now = time.monotonic()
        if now < self._next_look or self._folder is None or self._is_roll_wanted:
            return
        self._next_look = now + _SYNC_INTERVAL_S
        if is_asked(self._folder.path):
            self._is_roll_wanted = True
            self._queue.put(_probe())

    def _sync(self) -> None:
        """Flush, and report what waited for it: also when it failed, for no second try can make that good."""
        with self._unsynced_guard:
            batches, self._unsynced = self._unsynced, []
        try:
            self._segment.sync()
        except OSError as error:
            self.sync_failures += 1
            if not self._cannot_sync:
                _log.warning("the journal could not be flushed to disk (%s); a new segment is begun", error)
            self._cannot_sync = True
        else:
            if self._cannot_sync:
                _log.warning("the journal is being flushed again")
            self._cannot_sync = False
        with self._unsynced_guard:
            self._sync_since = self._unsynced[0].handed_over_at if self._unsynced else 0.0
        self._report(batches)


def _probe() -> Batch:
    probe = Batch()
    probe.handed_over_at = time.monotonic()
    return probe


def _first(entries: list[bytes], limit: int) -> list[bytes]:
    """Return entries from the beginning, at least one, until they fill one system call."""
    size = 0
    for number, entry in enumerate(entries):
        size += len(entry)
        if size >= limit:
            return entries[: number + 1]
    return entries
