"""Copying a database while its writer writes, and checking the copy.

The copy is made page by page from one snapshot: a read transaction that is held from the first page to the last. So the
writer is never waited for and never waits, and no commit of it makes the copy begin again; what it costs is that the
write-ahead log cannot be emptied meanwhile, and grows by what is written. The source is only read: it need not be of
today's schema, so that a copy can be made before a migration.
"""

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from store.connection import SqliteConnection, connect_sqlite
from store.database import Schema, open_reader_now, store_error
from store.errors import CorruptDatabaseError, OlderSchemaError, StoreError
from store.schema_version import read_version

_STEP_PAGES = 1024
"""Between two looks at whether to go on: 4 MiB, some 5 ms."""
_TABLES = """
    SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name
"""

Progress = Callable[[int, int], None]
"""Told after each step: pages that are copied, pages in all. What it raises ends the copying."""


class CopiedDatabase(NamedTuple):
    """What a copy holds.

    Attributes:
        schema_version: Of the source, and so of the copy.
        rows: Rows of each table, in the snapshot.
        log_bytes: What the source's write-ahead log came to when the copy was made.
    """

    schema_version: int
    rows: Mapping[str, int]
    log_bytes: int


def copy_database(source: Path, target: Path, schema: Schema, progress: Progress) -> CopiedDatabase:
    """Copy a database into a file that is not there yet, and check the copy.

    Args:
        source: The database; a writer may be writing it.
        target: Made with mode 0600; it is one file without a log, on the disk when this returns.
        schema: The layout of the source.
        progress: Told how far it is.

    Raises:
        NewerSchemaError: A later version wrote the source.
        NotOurDatabaseError: The source is something else.
        DatabaseMissingError: There is no source.
        CorruptDatabaseError: The copy is not whole, which the source is not either.
        StoreFullError: No room for the copy.
        StoreError: Anything else SQLite says.
    """
    try:
        with closing(_open(source, schema)) as connection:
            connection.execute("BEGIN")
            version, rows = read_version(connection), count_rows(connection)
            _copy(connection, target, progress)
            log = source.with_name(source.name + "-wal")
            copied = CopiedDatabase(version, rows, log.stat().st_size if log.exists() else 0)
    except sqlite3.Error as exc:
        raise store_error(exc, source) from exc
    check_copy(target, copied.schema_version, copied.rows)
    return copied


def check_copy(path: Path, schema_version: int, rows: Mapping[str, int]) -> None:
    """Check that a copy is whole and holds what it should; not a byte beside it is changed.

    Args:
        path: The copy, which nobody may be writing.
        schema_version: What it has to have.
        rows: How many rows each table has to have.

    Raises:
        CorruptDatabaseError: It is damaged, or holds something else.
    """
    try:
        with closing(connect_sqlite(path, mode="ro", immutable=1)) as connection:
            faults = [row[0] for row in connection.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
            found_version, found = read_version(connection), count_rows(connection)
    except sqlite3.Error as exc:
        raise CorruptDatabaseError(f"{path}: the copy cannot be read ({exc}).", path) from exc
    if faults:
        raise CorruptDatabaseError(f"{path}: the copy is damaged: {faults[0]}.", path)
    if found_version != schema_version:
        raise CorruptDatabaseError(f"{path}: schema version {found_version} instead of {schema_version}.", path)
    for table in {*rows, *found}:
        if rows.get(table) != found.get(table):
            raise CorruptDatabaseError(
                f"{path}: {found.get(table, 0)} rows in {table} instead of {rows.get(table, 0)}.", path
            )


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of every table."""
    names = [row[0] for row in connection.execute(_TABLES)]
    return {
        name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - the file's own names
        for name in names
    }


def size_on_disk(path: Path) -> int:
    """Give the bytes that a copy of a database may take: the file and what waits in its log."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _open(source: Path, schema: Schema) -> SqliteConnection:
    try:
        return open_reader_now(source, schema)
    except OlderSchemaError:
        return connect_sqlite(source, mode="ro")


def _copy(connection: sqlite3.Connection, target: Path, progress: Progress) -> None:
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise StoreError(f"{target}: cannot be made ({exc.strerror}).", target) from exc
    try:
        with closing(connect_sqlite(target, mode="rw")) as copy:
            # The copy is of use only as a whole, and is brought to the disk as a whole.
            copy.execute("PRAGMA synchronous = OFF")
            connection.backup(
                copy, pages=_STEP_PAGES, progress=lambda _status, left, total: progress(total - left, total)
            )
    except sqlite3.Error as exc:
        raise store_error(exc, target) from exc
    for name in (target, target.parent):
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
