"""The right to write a database, where the disk is in no state to help."""

import resource
from pathlib import Path

import pytest

from store.errors import WriterBusyError
from store.writer_lock import WriterLock


def test_on_a_full_disk_the_lock_is_taken_and_given_back_like_any_other(tmp_path: Path) -> None:
    """The process id could not be written, and the descriptor that held the lock was lost: ingest waited for itself."""
    database = tmp_path / "traces.db"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    first, second = WriterLock(database), WriterLock(database)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        first.acquire_nowait()
        with pytest.raises(WriterBusyError, match="another process"):
            second.acquire_nowait()
        first.release()
        second.acquire_nowait()
        second.release()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    first.acquire_nowait()
    first.release()
