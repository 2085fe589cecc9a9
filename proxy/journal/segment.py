"""One file of a journal after the other, as its writer sees them."""

import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from proxy.journal.format import SEGMENT_MAGIC

_log = logging.getLogger("tracemill.journal")


class Segment:
    """The segment that is being written; after any failure it is left alone and the next one begun.

    A failed `fdatasync` may have thrown pages away and says so only once (PostgreSQL's lesson of 2018), and a short
    write leaves a torn entry: neither file is written to again. Only the writer thread opens and closes; the sync
    thread works on a duplicate of the descriptor.
    """

    def __init__(self, folder: Path, mark: bytes) -> None:
        """Begin nothing yet; the first file is number 1 of the folder."""
        self._folder = folder
        self._mark = mark
        self._number = 0
        self._fd = -1
        self._is_dirty = False
        self._guard = threading.Lock()
        self.size = 0
        self.is_broken = False

    @property
    def is_open(self) -> bool:
        """Whether there is a file to append to."""
        return self._fd >= 0

    def open_next(self) -> None:
        """Begin the next file. Raises OSError when it cannot be made."""
        path = self._folder / f"{self._number + 1:08d}.seg"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._number += 1
        try:
            head = SEGMENT_MAGIC + self._mark
            if os.write(fd, head) != len(head):
                raise OSError("short write at the head of a segment")
        except OSError:
            os.close(fd)
            # A full disk is tried five times a second: the names must not pile up on it.
            with suppress(OSError):
                path.unlink()
                self._number -= 1
            raise
        self.size = len(head)
        self.is_broken = False
        with self._guard:
            self._fd = fd

    def append(self, entries: list[bytes]) -> int:
        """Write entries with one system call; return how many are down whole. Raises OSError when none is."""
        data = b"".join(entries)
        written = os.write(self._fd, data)
        self._is_dirty = True
        self.size += written
        # A file whose name is gone takes bytes as ever, and nobody will read them.
        if os.fstat(self._fd).st_nlink == 0:
            raise FileNotFoundError(f"segment {self._number} was deleted while it was written")
        if written == len(data):
            return len(entries)
        whole = end = 0
        for entry in entries:
            end += len(entry)
            if end > written:
                break
            whole += 1
        self.is_broken = True
        if whole == 0:
            raise OSError(f"short write: {written} of {len(data)} bytes")
        return whole

    def sync(self) -> None:
        """Flush to the disk what was appended since the last time."""
        # Without the guard, close() could come between the look and the dup, and a stranger's file be synced.
        with self._guard:
            if self._fd < 0 or not self._is_dirty:
                return
            self._is_dirty = False
            fd = os.dup(self._fd)
        try:
            os.fdatasync(fd)
        except OSError as error:
            _log.warning("the journal's segment could not be flushed to disk (%s); a new one is begun", error)
            self.is_broken = True
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the file; does nothing when there is none."""
        with self._guard:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
