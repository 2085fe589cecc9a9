"""The right to write one database: an advisory lock on a file beside it.

SQLite before 3.51.3 can lose commits when two connections write and checkpoint at once (the WAL-reset bug), so at most
one process writes a file at a time. The lock dies with its holder, whatever kills it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from store.errors import StoreError, WriterBusyError

_RETRY_S = 0.02


class WriterLock:
    """An exclusive lock on `<database>.lock`, which holds the holder's process id for messages."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire_nowait(self) -> None:
        """Take the lock, or fail at once.

        Raises:
            WriterBusyError: Another process, or another holder in this one, has it.
            StoreError: The lock file cannot be made.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(
                f"{self.path}: cannot make the lock file ({exc.strerror}). "
                "The data directory must be a folder this user may write to.",
                self.database,
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            pid = self._read_pid()
            holder = f"process {pid}" if pid else "another process"
            raise WriterBusyError(
                f"{self.database}: {holder} is writing to it. Stop that process, or use another data directory.",
                self.database,
                pid,
            ) from exc
        self._descriptor = descriptor
        # For messages alone: on a full disk nobody can be named, and the lock is held all the same. Always as long: a
        # file whose size changes is written to the disk's journal, which takes a millisecond.
        with suppress(OSError):
            os.pwrite(descriptor, b"%-10d\n" % os.getpid(), 0)

    def acquire(self, timeout_s: float) -> None:
        """Take the lock, blocking this thread for up to `timeout_s`.

        Raises:
            WriterBusyError: It was not free in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.acquire_nowait()
            except WriterBusyError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_S)

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held. The file stays, since others may be waiting on it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_pid(self) -> int | None:
        with suppress(OSError, ValueError):
            return int(self.path.read_bytes())
        return None


@contextmanager
def write_lock(database: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Hold the right to write a database for one batch, for files that several processes write in turn.

    Blocks its thread meanwhile.

    Raises:
        WriterBusyError: The lock was not free within `timeout_s`.
    """
    lock = WriterLock(database)
    lock.acquire(timeout_s)
    try:
        yield
    finally:
        lock.release()
