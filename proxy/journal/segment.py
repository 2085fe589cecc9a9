"""One file of a journal after the other, as its writer sees them."""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from proxy.journal.disk import Disk
from proxy.journal.format import SEGMENT_MAGIC

_WRITEV_BYTES = 256 * 1024
"""From here on the kernel gathers the entries itself: joining them would hold the interpreter's lock for the copy."""
_WRITEV_MAX = 1024
"""IOV_MAX of Linux."""


class Segment:
    """The segment that is being written; after any failure it is left alone and the next one begun.

    A failed `fdatasync` may have thrown pages away and says so only once (PostgreSQL's lesson of 2018), and a short
    write leaves a torn entry: neither file is written to again. Only the writer thread opens, appends and closes; the
    sync thread works on duplicates of the descriptors.
    """

    def __init__(self, mark: bytes, disk: Disk) -> None:
        """Begin nothing yet; a folder must be given before the first file."""
        self._mark = mark
        self._disk = disk
        self._folder = Path()
        self._number = 0
        self._fd = -1
        self._guard = threading.Lock()
        # What the sync thread has to see to; changed under the guard.
        self._is_dirty = False
        self._is_new = False
        self._retired: list[int] = []
        self.size = 0
        self.is_broken = False

    @property
    def is_open(self) -> bool:
        """Whether there is a file to append to."""
        return self._fd >= 0

    def use_folder(self, folder: Path) -> None:
        """Go on in an empty folder: the next file is its number 1."""
        self.close()
        self._folder = folder
        self._number = 0

    def open_next(self) -> None:
        """Begin the next file. Raises OSError when it cannot be made."""
        path = self._folder / f"{self._number + 1:08d}.seg"
        fd = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._number += 1
        try:
            head = SEGMENT_MAGIC + self._mark
            if self._disk.write(fd, head) != len(head):
                raise OSError("short write at the head of a segment")
        except OSError:
            os.close(fd)
            # A full disk is tried five times a second: the names must not pile up on it.
            with suppress(OSError):
                self._disk.unlink(path)
                self._number -= 1
            raise
        with self._guard:
            self.size = len(head)
            self.is_broken = False
            self._fd = fd
            self._is_dirty = self._is_new = True

    def append(self, entries: Sequence[bytes]) -> int:
        """Write entries with one system call; return how many are down whole. Raises OSError when none is."""
        entries = entries[:_WRITEV_MAX]
        size = sum(map(len, entries))
        with self._guard:
            self._is_dirty = True
        written = (
            self._disk.writev(self._fd, entries)
            if size > _WRITEV_BYTES
            else self._disk.write(self._fd, b"".join(entries))
        )
        self.size += written
        if self._is_deleted():
            raise FileNotFoundError(f"segment {self._number} was deleted while it was written")
        if written == size:
            return len(entries)
        whole = end = 0
        for entry in entries:
            end += len(entry)
            if end > written:
                break
            whole += 1
        self.is_broken = True
        if whole == 0:
            raise OSError(f"short write: {written} of {size} bytes")
        return whole

    def sync(self) -> None:
        """Flush to the disk all that was appended before this call; the writer never waits for it.

        Raises:
            OSError: It could not be flushed, and whether it is on the disk nobody knows. The file is not used again.
        """
        # Without the guard, close() could come between the look and the dup, and a stranger's file be synced.
        with self._guard:
            pending, self._retired = self._retired, []
            if self._fd >= 0 and self._is_dirty:
                pending.append(os.dup(self._fd))
            is_new = self._is_new
            self._is_dirty = self._is_new = False
        failure: OSError | None = None
        for fd in pending:
            try:
                self._disk.fdatasync(fd)
            except OSError as error:
                failure = error
            finally:
                os.close(fd)
        if is_new and failure is None:
            failure = self._sync_name()
        if failure is not None:
            self.is_broken = True
            raise failure

    def close(self) -> None:
        """Let go of the file, and leave what is not flushed yet to the sync thread; does nothing without a file."""
        with self._guard:
            if self._fd < 0:
                return
            if self._is_dirty:
                self._retired.append(self._fd)
            else:
                os.close(self._fd)
            self._fd = -1
            self._is_dirty = False

    def _is_deleted(self) -> bool:
        """Whether nobody will read what is written: a file whose name is gone takes bytes as ever."""
        try:
            return self._disk.fstat(self._fd).st_nlink == 0
        except OSError:
            # What was written is written: to write it again would double the parts of a body.
            return False

    def _sync_name(self) -> OSError | None:
        """Flush the folder that names the file: a file without a name is as lost as one without bytes."""
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # deleted by somebody; the next append finds that out and begins anew
        except OSError as error:
            return error
        try:
            self._disk.fsync(folder)
        except OSError as error:
            return error
        finally:
            os.close(folder)
        return None
