"""Rewriting a database while nothing serves: smaller, without a rest of what was deleted, and able to shrink later.

What is deleted here and there leaves its pages half empty; new rows do not go into them. Only writing all rows anew
closes them up.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from store.connection import connect_sqlite
from store.database import store_error
from store.errors import DatabaseMissingError, StoreFullError
from store.writer_lock import WriterLock


class Rewritten(NamedTuple):
    """Bytes of the file before and after."""

    before: int
    after: int


def rewrite(path: Path) -> Rewritten:
    """Write all of a database anew; takes some seconds for each GB, and twice its room meanwhile.

    Raises:
        WriterBusyError: A server is writing to it.
        StoreFullError: There is no room for a second copy.
        StoreError: SQLite says so; the file is as it was.
    """
    if not path.exists():
        raise DatabaseMissingError(f"{path}: there is no database here.", path)
    before = path.stat().st_size
    if shutil.disk_usage(path.parent).free < 2 * before:
        raise StoreFullError(
            f"{path}: rewriting it takes {2 * before} bytes of room on its disk. Make room and try again.", path
        )
    with _locked(path):
        try:
            with closing(connect_sqlite(path, mode="rw")) as db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as exc:
            raise store_error(exc, path) from exc
    return Rewritten(before, path.stat().st_size)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = WriterLock(path)
    lock.acquire_nowait()
    try:
        yield
    finally:
        lock.release()
