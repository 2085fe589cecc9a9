"""The self-check of one database: is it ours, of this version, whole, and what of it waits in the log."""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from store import finding
from store.finding import Finding
from store.schema_version import Schema, read_version
from store.unchanged_view import OrphanedLogError, unchanged_view

T = TypeVar("T")

MIB = 1024 * 1024

_QUICK_S = 30.0
_STEPS_BETWEEN_LOOKS = 1_000_000
_MOST_FAULTS = 10
_LARGE_LOG_BYTES = 256 * MIB


def check_database(path: Path, schema: Schema, *, is_thorough: bool = False) -> list[Finding]:
    """Check a database that need not be there.

    Args:
        path: The file.
        schema: The layout it is to have.
        is_thorough: Check indexes and references too, however long it takes.
    """
    if not path.exists():
        return [Finding(finding.DATABASE_MISSING, f"{path.name} is not there yet.", {"file": path.name})]
    found = [*_check_log(path)]
    try:
        found += view(path, lambda connection: list(_check(connection, path, schema, is_thorough=is_thorough)))
    except OrphanedLogError:
        what = f"{path.name}-wal has no index beside it; {path.name} was looked at without it."
        found.append(Finding(finding.LOG_ORPHANED, what, {"file": path.name}))
        found += view(
            path,
            lambda connection: list(_check(connection, path, schema, is_thorough=is_thorough)),
            is_log_ignored=True,
        )
    except sqlite3.Error as error:
        found.append(_fault(error, path))
    return found


def view(path: Path, look: Callable[[sqlite3.Connection], T], *, is_log_ignored: bool = False) -> T:
    """Look at a database; once more when a writer began its log meanwhile, since the file alone may mislead then.

    Raises:
        OrphanedLogError: As `unchanged_view`.
        sqlite3.Error: The database cannot be read.
    """
    log = path.with_name(path.name + "-wal")
    had_log = log.exists()
    try:
        with unchanged_view(path, is_log_ignored=is_log_ignored) as connection:
            seen = look(connection)
    except sqlite3.Error:
        if had_log or not log.exists():
            raise
    else:
        if had_log or is_log_ignored or not log.exists():
            return seen
    with unchanged_view(path) as connection:
        return look(connection)


def _check(connection: sqlite3.Connection, path: Path, schema: Schema, *, is_thorough: bool) -> Iterator[Finding]:
    # The tables first: what makes a database commits them together with its id, maybe between two questions.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = read_version(connection)
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    size = path.stat().st_size
    log = _log_state(path)
    facts = {
        "file": path.name,
        "schema_version": version,
        "bytes": size,
        "log_bytes": log.bytes,
        "log_pages_waiting": log.pages_waiting,
    }
    if application_id != schema.application_id and (application_id or version or tables):
        yield Finding(finding.DATABASE_FOREIGN, f"{path.name} is a database of another program.", facts)
        return
    if version > schema.version:
        what = f"{path.name} has schema version {version}; this program knows versions up to {schema.version}."
        yield Finding(finding.SCHEMA_NEWER, what, facts)
        return
    if version == 0:
        yield Finding(finding.DATABASE_MISSING, f"{path.name} is there and empty.", facts)
        return
    if version < schema.version:
        what = f"{path.name} has schema version {version}; this program reads version {schema.version}."
        yield Finding(finding.SCHEMA_OLDER, what, facts)
    faults, is_whole = _faults(connection, is_thorough=is_thorough)
    if faults:
        what = f"{path.name}: {faults[0]}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
        yield Finding(finding.DATABASE_DAMAGED, what, {**facts, "faults": faults})
    elif not is_whole:
        yield Finding(finding.DATABASE_UNCHECKED, f"{path.name} was not checked to its end in {_QUICK_S:g} s.", facts)
    elif version == schema.version:
        check = "integrity check" if is_thorough else "quick check"
        what = f"{path.name}: schema version {version}, {size / MIB:,.1f} MiB, {log.told()}{check} passed."
        yield Finding(finding.DATABASE, what, facts)


def _faults(connection: sqlite3.Connection, *, is_thorough: bool) -> tuple[list[str], bool]:
    """Have SQLite check its file; tell what it finds, and whether it came to the end."""
    pragma = "integrity_check" if is_thorough else "quick_check"
    deadline = time.monotonic() + _QUICK_S
    if not is_thorough:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        rows = connection.execute(f"PRAGMA {pragma}({_MOST_FAULTS})").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return [], False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    lines = [line for row in rows for line in str(row[0]).splitlines()]
    return [line for line in lines if line != "ok" and not line.startswith("*** in database")], True


class _Log(NamedTuple):
    """How much lies in a write-ahead log.

    Attributes:
        pages_waiting: Pages that no checkpoint has brought into the database; None when it cannot be told.
    """

    bytes: int
    pages_waiting: int | None

    def told(self) -> str:
        if not self.bytes:
            return ""
        waiting = "" if self.pages_waiting is None else f" ({self.pages_waiting:,} pages to be taken in)"
        return f"{self.bytes / MIB:,.1f} MiB of log{waiting}, "


def _log_state(path: Path) -> _Log:
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    size = log.stat().st_size if log.exists() else 0
    return _Log(size, _unfinished_pages(index) if size else 0)


def _check_log(path: Path) -> Iterator[Finding]:
    log = _log_state(path)
    if log.bytes > _LARGE_LOG_BYTES:
        facts = {"file": path.name, **log._asdict()}
        yield Finding(finding.LOG_LARGE, f"{path.name}: {log.told().removesuffix(', ')}.", facts)


def _unfinished_pages(index: Path) -> int | None:
    """Read from a log's index how many of its pages no checkpoint has brought into the database."""
    try:
        head = index.read_bytes()[:136]
    except OSError:
        return None
    if len(head) < 100:
        return None
    # https://www.sqlite.org/walformat.html, section 2.1: mxFrame and nBackfill, in the machine's own byte order.
    newest, done = (int.from_bytes(head[at : at + 4], sys.byteorder) for at in (16, 96))
    return max(0, newest - done)


def _fault(error: sqlite3.Error, path: Path) -> Finding:
    """Name the kind of failure that SQLite reports on its way to the first row."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    facts = {"file": path.name}
    if code == sqlite3.SQLITE_NOTADB:
        return Finding(finding.DATABASE_FOREIGN, f"{path.name} is not an SQLite database.", facts)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
        return Finding(finding.DATABASE_DAMAGED, f"{path.name}: {error}", facts)
    return Finding(finding.DATABASE_UNREADABLE, f"{path.name} cannot be opened: {error}.", facts)
