"""Opening the store's SQLite files: checked before a byte is written, one writer each, any number of readers."""

import logging
import os
import shutil
import sqlite3
import time
from pathlib import Path

import aiosqlite

from store.connection import (
    BUSY_TIMEOUT_MS,
    OPENING,
    SqliteConnection,
    connect_sqlite,
    hand_over,
    transaction,
)
from store.errors import (
    CorruptDatabaseError,
    DatabaseMissingError,
    NetworkFileSystemError,
    NewerSchemaError,
    NotOurDatabaseError,
    OlderSchemaError,
    StoreError,
    StoreFullError,
)
from store.file_system import network_file_system
from store.open_files import is_open_here
from store.schema_version import TRACES, WORK, Schema, migrate, read_version
from store.writer_lock import WriterLock, write_lock

__all__ = [
    "TRACES",
    "WORK",
    "Schema",
    "open_reader",
    "open_reader_now",
    "open_writer",
    "store_error",
    "transaction",
    "write_lock",
]

_log = logging.getLogger("tracemill.store")

_OPEN_LOCK_TIMEOUT_S = 10.0
_REWRITTEN_UP_TO = {"traces": 1}
"""The last version of which a migration writes all rows anew; later ones add to what is there."""
_ROOM_TO_REWRITE = 2.0
"""Free room, in sizes of the file, that it may take; with 1,000,000 traces it was 1.7, for the log and the new rows."""
_ROOM_TO_ADD = 0.5
_MIGRATION_CACHE_KIB = 128 * 1024
"""Ids are hashes, looked up all over their index: with SQLite's usual 2 MB nearly each look-up reads a page."""
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100


async def open_writer(path: Path, schema: Schema, *, keep_lock: bool = True) -> aiosqlite.Connection:
    """Open a database to write, making or migrating it first; transactions are begun by `transaction`.

    Args:
        path: The file; its folder is made too (0700), the file with mode 0600.
        schema: Which layout the file has.
        keep_lock: Hold the right to write until the connection is closed. False for files that several processes
            write in turn: each batch then stands under `write_lock(path)`.

    Raises:
        WriterBusyError: Another process is writing.
        NewerSchemaError: A later version wrote the file.
        NotOurDatabaseError: The file belongs to something else.
        NetworkFileSystemError: The folder is on another machine.
        StoreError: The file or its folder cannot be made or read.
    """
    return await hand_over(lambda: _open_writer(path, schema, keep_lock=keep_lock))


async def open_reader(path: Path, schema: Schema) -> aiosqlite.Connection:
    """Open a database that is only read; it sees what is committed, also while a writer writes.

    Raises:
        DatabaseMissingError: There is no such file, or a writer has only just begun it.
        OlderSchemaError: A writer has to migrate the file first.
        NewerSchemaError: A later version wrote the file.
        NotOurDatabaseError: The file belongs to something else.
    """
    return await hand_over(lambda: open_reader_now(path, schema))


def store_error(exc: sqlite3.Error, path: Path) -> StoreError:
    """Translate SQLite's error into one of ours that names the file and the remedy."""
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"{path}: disk or quota is full. Make room and try again; nothing was lost.", path)
    if code == sqlite3.SQLITE_CORRUPT:
        return CorruptDatabaseError(
            f"{path}: the database is damaged ({exc}). Stop every writer, keep a copy, and restore a backup.", path
        )
    if code == sqlite3.SQLITE_NOTADB:
        return _not_ours(path, "it is not an SQLite database")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreError(
            f"{path}: cannot be opened ({exc}). This user must be able to read the file and to write in its folder, "
            "where SQLite keeps a log.",
            path,
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(f"{path}: still locked after {BUSY_TIMEOUT_MS // 1000} s. Is another program using it?", path)
    return StoreError(f"{path}: {exc}", path)


def _open_writer(path: Path, schema: Schema, *, keep_lock: bool) -> SqliteConnection:
    _make_folder(path)
    _check_file_system(path)
    _check_header(path, schema)
    lock = WriterLock(path)
    if keep_lock:
        lock.acquire_nowait()
    else:
        lock.acquire(_OPEN_LOCK_TIMEOUT_S)
    try:
        _make_file(path)
        connection = connect_sqlite(path, mode="rw")
        try:
            version = _check_database(connection, path, schema)
            # Room that is freed can be given back to the disk in small steps. Of effect on a new file alone; an older
            # one has to be rewritten for it (`tracemill vacuum`).
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if version in (0, schema.version):
                migrate(connection, schema)
            else:
                _migrate_old(connection, path, schema, version)
            begin_log(connection, path)
            # A commit is on disk when it returns: a teacher's answer stands nowhere else, and a journal segment is
            # deleted once its calls are committed. Writers commit in batches, so it costs one flush a batch.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # What is deleted is overwritten, and so are the copies that SQLite leaves behind when it moves rows.
            connection.execute("PRAGMA secure_delete = ON")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as exc:
        lock.release()
        raise store_error(exc, path) from exc
    except BaseException:
        lock.release()
        raise
    if keep_lock:
        connection.lock = lock
    else:
        lock.release()
    return connection


def _migrate_old(connection: sqlite3.Connection, path: Path, schema: Schema, version: int) -> None:
    """Migrate a database that holds something; say so, since a server says nothing else meanwhile.

    Raises:
        StoreFullError: There is no room for it; nothing was begun.
    """
    room = _ROOM_TO_REWRITE if version <= _REWRITTEN_UP_TO.get(schema.name, 0) else _ROOM_TO_ADD
    needed, free = int(path.stat().st_size * room), shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreFullError(
            f"{path} has schema version {version} and is to be migrated to {schema.version}. That may take "
            f"{needed / 2**20:,.0f} MiB of the disk for a while, and {free / 2**20:,.0f} MiB are free. Make room and "
            "start again; the file is unchanged.",
            path,
        )
    _log.warning(
        "%s is migrated from schema version %d to %d; at 1,000 MB that takes some minutes, and may be interrupted",
        path,
        version,
        schema.version,
    )
    began = time.monotonic()
    (usual,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute(f"PRAGMA cache_size = -{_MIGRATION_CACHE_KIB}")
    migrate(connection, schema)
    connection.execute(f"PRAGMA cache_size = {usual}")
    _log.warning("%s was migrated in %.1f s", path, time.monotonic() - began)


def open_reader_now(path: Path, schema: Schema) -> SqliteConnection:
    """Be `open_reader` for a thread of its own."""
    if not path.exists():
        raise _missing(path)
    _check_header(path, schema)
    try:
        connection = connect_sqlite(path, **_reading(path))
        try:
            connection.execute("PRAGMA query_only = ON")
            _check_readable(_check_database(connection, path, schema), path, schema)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as exc:
        raise store_error(exc, path) from exc
    return connection


def _reading(path: Path) -> dict[str, str | int]:
    """Give the parameters to read a file with.

    In a folder nobody may write to, SQLite cannot make the files that go with a log. Where there is no log, nobody is
    writing either, and the file is read as it stands.
    """
    is_at_rest = (
        not os.access(path.parent, os.W_OK, effective_ids=True) and not path.with_name(path.name + "-wal").exists()
    )
    return {"mode": "ro", "immutable": int(is_at_rest)}


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(
            f"{path.parent}: cannot make the data directory ({exc.strerror}). Choose a folder this user may write to.",
            path,
        ) from exc


def _check_file_system(path: Path) -> None:
    kind = network_file_system(path.parent)
    if kind is not None:
        raise NetworkFileSystemError(
            f"{path.parent} is on a network file system ({kind}), where SQLite's write-ahead log loses data. Use a "
            "data directory on a disk of this machine, one for each machine; exports merge by trace id.",
            path,
            kind,
        )


def begin_log(connection: sqlite3.Connection, path: Path) -> None:
    """Have the file written through a write-ahead log. Raises StoreError where the file system cannot carry one."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path}: the file system cannot carry SQLite's write-ahead log (its mode stays {mode!r}). Use a data "
            "directory on a disk of this machine.",
            path,
        )


def _make_file(path: Path) -> None:
    """Make the file ourselves, since SQLite would make it as open as the umask allows."""
    try:
        with OPENING:
            if not is_open_here(path):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise StoreError(f"{path}: cannot be opened for writing ({exc.strerror}).", path) from exc


def _check_header(path: Path, schema: Schema) -> None:
    """Refuse a file that is not ours or too new by its first bytes alone, before SQLite touches it."""
    try:
        # One that is open here was looked at when it was opened.
        with OPENING:
            if is_open_here(path):
                return
            with path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StoreError(f"{path}: cannot be read ({exc.strerror}).", path) from exc
    if not header:
        return
    if not header.startswith(_MAGIC):
        raise _not_ours(path, "it is not an SQLite database")
    # Offsets of https://www.sqlite.org/fileformat2.html, section 1.3.
    version, application_id = (int.from_bytes(header[at : at + 4], "big", signed=True) for at in (60, 68))
    _check_versions(path, schema, application_id, version)


def _check_database(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """Check again through SQLite, which also sees what stands in the write-ahead log only; tell the version."""
    # From one state of the file: a writer that makes it between two questions would make it look like nobody's.
    connection.execute("BEGIN")
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
        version = read_version(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    _check_versions(path, schema, application_id, version)
    if application_id == 0 and (tables or version):
        raise _not_ours(path, "it is a database of another program")
    return version


def _check_versions(path: Path, schema: Schema, application_id: int, version: int) -> None:
    if application_id not in (0, schema.application_id):
        raise _not_ours(path, f"its application id is {application_id:#x} instead of {schema.application_id:#x}")
    if application_id == schema.application_id and version > schema.version:
        raise NewerSchemaError(
            f"{path} has schema version {version}; this program knows versions up to {schema.version}. "
            "A later Tracemill wrote it: upgrade this one, or use another data directory. The file is unchanged.",
            path,
            version,
            schema.version,
        )


def _check_readable(found: int, path: Path, schema: Schema) -> None:
    if found == 0:
        raise _missing(path)
    if found < schema.version:
        raise OlderSchemaError(
            f"{path} has schema version {found}; this program reads version {schema.version}. "
            "Start `tracemill serve` on this data directory once: it migrates the file.",
            path,
            found,
            schema.version,
        )


def _not_ours(path: Path, why: str) -> NotOurDatabaseError:
    return NotOurDatabaseError(
        f"{path}: {why}. Tracemill leaves it untouched; move it away or use another data directory.", path
    )


def _missing(path: Path) -> DatabaseMissingError:
    return DatabaseMissingError(
        f"{path}: there is no database yet. Is this the data directory `tracemill serve` was started with?", path
    )
