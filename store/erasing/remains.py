"""Cleaning the pages of the databases of what SQLite left in them when it moved rows (`store.erasing.page_room`).

What was erased may have been moved at any time before, so every page of a file is looked at, in steps, from the last
one to the first. Before each step the log is brought in and cut: the file is then all there is, and holding the right
to write keeps it so, whoever else has the database open. In `traces.db` calls are stored between two steps, and a page
that was cleaned may be written again from one that was not; each such page stands in the log, so it is cleaned once
more. So after every step all pages from where it has come to up to the last one are clean, and after the last step all.

Pages are remembered by connections as they were. That of the writer of `traces.db` forgets them; `work.db` is written
by others, and changes at the end, so that they do.
"""

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from store.connection import SqliteConnection, connect_sqlite
from store.data_files import WORK_FILE
from store.erasing.database_file import DatabaseFile, Log
from store.errors import WriterBusyError
from store.writer_lock import WriterLock

CLEAN_S = 0.01
"""Of a step of some 25 ms: what it cleans in that time takes the disk about as long again."""
_RETRY_S = 0.05
_LOG_PAGES = 64_000
"""The log is brought in by itself when it has so many, 250 MB: what stood in it cannot be told from then on."""


class Remains:
    """Cleans both databases, one after the other, whenever it is asked to."""

    def __init__(self, data_dir: Path, step_s: float = CLEAN_S) -> None:
        """Touch nothing yet; a step takes so long."""
        self._step_s = step_s
        self._data_dir = data_dir
        self._traces: Lap | None = None
        self._work: WorkLap | None = None

    def step(self, db: sqlite3.Connection) -> bool | None:
        """Clean some pages; tell whether all of both are clean, or give None while somebody is in the way.

        Args:
            db: The writer's connection to `traces.db`, outside a transaction.
        """
        if self._traces is None:
            self._work = self._work or WorkLap(self._data_dir / WORK_FILE, self._step_s)
            is_clean = self._work.step()
            if is_clean:
                self._work, self._traces = (
                    None,
                    Lap(Path(db.execute("PRAGMA database_list").fetchone()[2]), self._step_s),
                )
            return is_clean if is_clean is None else False
        is_clean = self._traces.step(db)
        if is_clean:
            self._traces = None
        return is_clean


class Lap:
    """One going over of all pages of `traces.db`."""

    def __init__(self, path: Path, step_s: float = CLEAN_S) -> None:
        """Begin at the end."""
        self._step_s = step_s
        self._path = path
        self._log = Log(path)
        self._salts = b""
        self._place: int | None = None
        self._usual_log_pages: int | None = None

    def step(self, db: sqlite3.Connection) -> bool | None:
        """Clean some pages; tell whether all are clean, or give None while somebody reads what stands in the log.

        Args:
            db: The writer's connection, outside a transaction.
        """
        if self._usual_log_pages is None:
            (self._usual_log_pages,) = db.execute("PRAGMA wal_autocheckpoint").fetchone()
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        if self._log.salts() != self._salts:
            self._place = None  # some of what was written meanwhile is not in the log any more
        written = set() if self._place is None else self._log.pages()
        if not cut_log(db):
            return None
        db.execute("PRAGMA shrink_memory")
        (usual_flush,) = db.execute("PRAGMA synchronous").fetchone()
        # What changes nothing needs not be on the disk when it is committed.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        try:
            if not self._log.is_empty:
                db.execute("ROLLBACK")
                return None
            self._clean(written)
            # The log begins anew, and can be told from a later one.
            _change_nothing(db)
            db.execute("COMMIT")
        except BaseException:
            self._place = None
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        finally:
            db.execute(f"PRAGMA synchronous = {usual_flush}")
        self._salts = self._log.salts()
        if self._place == 0:
            db.execute(f"PRAGMA wal_autocheckpoint = {self._usual_log_pages}")
        return self._place == 0

    def _clean(self, written: set[int]) -> None:
        deadline = time.monotonic() + self._step_s
        file = DatabaseFile(self._path)
        file.clean(written)
        self._place = file.clean_down(file.pages if self._place is None else self._place, deadline)
        if self._place == 0:
            file.sync()


class WorkLap:
    """One going over of all pages of `work.db`; nobody else writes to it from the first step to the last."""

    def __init__(self, path: Path, step_s: float = CLEAN_S) -> None:
        """Touch nothing yet."""
        self._step_s = step_s
        self._path = path
        self._lock = WriterLock(path)
        self._db: SqliteConnection | None = None
        self._place = 0

    def step(self) -> bool | None:
        """Clean some pages; tell whether all are clean, or give None while somebody else writes or reads the file."""
        if not self._path.exists():
            return True
        try:
            if self._db is None and not self._begin():
                return None
            assert self._db is not None, "it has begun"  # noqa: S101
            file = DatabaseFile(self._path)
            self._place = file.clean_down(self._place, time.monotonic() + self._step_s)
            # Each step by itself: all of a large file at the end takes the disk hundreds of milliseconds.
            file.sync()
            if self._place:
                return False
            # A change, so that whoever remembers pages as they were reads them again before he writes.
            _change_nothing(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            self.end()
            raise
        self.end()
        return True

    def end(self) -> None:
        """Let others write again; what was cleaned stays so."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        self._lock.release()

    def _begin(self) -> bool:
        try:
            self._lock.acquire_nowait()
        except WriterBusyError:
            return False
        db = self._db = connect_sqlite(self._path, mode="rw")
        try:
            db.execute("PRAGMA busy_timeout = 0")
            if cut_log(db):
                db.execute("BEGIN IMMEDIATE")
                if Log(self._path).is_empty:
                    self._place = DatabaseFile(self._path).pages
                    return True
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        self.end()
        return False


def clean_work(path: Path, patience_s: float) -> bool:
    """Clean all pages of `work.db` at once; False where somebody was in the way for that long. Blocks its thread."""
    lap = WorkLap(path)
    deadline = time.monotonic() + patience_s
    while not (is_clean := lap.step()):
        if is_clean is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
    return True


def _change_nothing(db: sqlite3.Connection) -> None:
    """Have the first page written, which holds no row of anybody, inside a transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version:d}")


def cut_log(db: sqlite3.Connection) -> bool:
    """Bring the log into the database and cut it to nothing; False while a reader still needs it. Waits for nobody."""
    patience = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute("PRAGMA busy_timeout = 0")
    try:
        return bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")
