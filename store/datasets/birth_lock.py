"""Who makes a version of a dataset right now: a lock that dies with its holder, whatever kills it."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from store.errors import DatasetError, StoreError

_FOLDER = "births"
_TRIES = 5
_RETRY_S = 0.02


class BirthLock:
    """The right to make a version of one dataset; a file `births/<dataset>.lock` beside `work.db` while it is held."""

    def __init__(self, work: Path, dataset: str) -> None:
        self.dataset = dataset
        self._path = work.with_name(_FOLDER) / f"{dataset}.lock"
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take the lock; blocks for a tenth of a second at most.

        Raises:
            DatasetError: Somebody has it.
            StoreError: The file cannot be made.
        """
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            for _ in range(_TRIES):
                with suppress(BlockingIOError):
                    self._descriptor = self._opened()
                if self._descriptor is not None:
                    return self
                # Whoever only asks whether it is held holds it for that moment.
                time.sleep(_RETRY_S)
        except OSError as exc:
            raise StoreError(f"{self._path}: cannot make the lock file ({exc.strerror}).", self._path) from exc
        raise DatasetError(f"another process is making a version of {self.dataset}. Wait for it, or use another name.")

    def is_free(self) -> bool:
        """Whether nobody holds it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> None:
        """Give it back; the file goes with it."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int | None:
        """Open and lock the file; None when it was taken away meanwhile, so that another one carries the lock."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == self._path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None
