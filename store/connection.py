"""SQLite connections in the hands of tasks, which may be cancelled anywhere.

aiosqlite runs a connection in a thread that hangs the exit of the process until the connection is closed, and a call
that was cancelled still runs there. So whatever is opened, begun or closed here ends in order although nobody waits for
it any more.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar, cast
from urllib.parse import quote

import aiosqlite

from store.writer_lock import WriterLock

T = TypeVar("T")

BUSY_TIMEOUT_MS = 10_000
_ITER_CHUNK_ROWS = 64
OPENING = Lock()
"""Held while SQLite opens a file, and while anybody else does so to look at it: see `store.open_files`."""


class SqliteConnection(sqlite3.Connection):
    """A connection that gives the right to write back when it is closed."""

    lock: WriterLock | None = None

    def close(self) -> None:
        """Close; a writer first brings the log into the database, so that the one file holds everything."""
        try:
            if self.lock is not None:
                self._empty_log()
            super().close()
        finally:
            if self.lock is not None:
                self.lock.release()
                self.lock = None

    def _empty_log(self) -> None:
        # Only the last connection does so by itself, and a reader may outlive us. Nothing is lost when it fails.
        with suppress(sqlite3.Error):
            self.execute("PRAGMA busy_timeout = 0")
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def connect_sqlite(path: Path, **parameters: str | int) -> SqliteConnection:
    """Open a file by its name and URI parameters such as `mode`; no statement begins a transaction by itself."""
    with OPENING:
        return _connect(path, parameters)


def _connect(path: Path, parameters: Mapping[str, str | int]) -> SqliteConnection:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{query}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_MS / 1000,
        check_same_thread=False,
        factory=SqliteConnection,
    )


async def hand_over(connector: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    """Open a connection off the event loop; when the task is cancelled, it is closed as soon as it is there."""
    # Not in aiosqlite's own thread: when its connector fails, that reports to a loop that may be closed by then.
    opening = _Opening(connector)
    try:
        await asyncio.to_thread(opening.open)
        return await aiosqlite.Connection(opening.take, _ITER_CHUNK_ROWS)
    except BaseException:
        opening.give_up()
        raise


class _Opening:
    """A connection on its way from the thread that opens it to the task that asked for it."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        self._connector = connector
        self._connection: sqlite3.Connection | None = None
        self._is_given_up = False
        self._guard = Lock()

    def open(self) -> None:
        connection = self._connector()
        with self._guard:
            if not self._is_given_up:
                self._connection = connection
                return
        connection.close()

    def take(self) -> sqlite3.Connection:
        assert self._connection is not None, "a connection is taken after it was opened"  # noqa: S101
        return self._connection

    def give_up(self) -> None:
        with self._guard:
            self._is_given_up = True
        if self._connection is not None:
            self._connection.close()


@asynccontextmanager
async def transaction(
    connection: aiosqlite.Connection, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"
) -> AsyncIterator[None]:
    """Run the body in one transaction: committed as a whole at its end, rolled back on any error.

    One task at a time may use the connection meanwhile; its statements would otherwise join this transaction.

    Args:
        connection: An open connection.
        kind: IMMEDIATE to write; DEFERRED to read everything from one state of the database.
    """
    try:
        await connection.execute(f"BEGIN {kind}")
        yield
        await connection.execute("COMMIT")
    except BaseException:
        # Shielded and always asked for, so that a cancelled task leaves no open transaction behind: a BEGIN that was
        # cancelled while it waited for the connection's thread still runs there. Outside a transaction it does nothing.
        await asyncio.shield(connection.rollback())
        raise


async def run(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` as a whole on the connection's thread, where it may use the connection like any other.

    Each statement of its own costs a way there and back, 60 to 100 µs; a batch of traces has a dozen. A task that is
    cancelled no longer waits, but `work` still comes to its end, so a transaction belongs whole into it.
    """
    # aiosqlite's own methods are made of these two; it has no public way to run a function.
    execute = cast("Callable[..., Awaitable[T]]", getattr(connection, "_execute"))  # noqa: B009
    return await execute(work, getattr(connection, "_conn"))  # noqa: B009


@contextmanager
def transaction_now(connection: sqlite3.Connection) -> Iterator[None]:
    """Be `transaction`, of kind IMMEDIATE, for work that already runs on the connection's thread."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors, such as a full disk, have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


async def close(connection: aiosqlite.Connection, turn: asyncio.Lock) -> None:
    """Close a connection when the task whose turn it is has done; when cancelled meanwhile, after its statement."""
    try:
        await turn.acquire()
    except BaseException:
        stopped = connection.stop()
        if stopped is not None:
            await stopped
        raise
    try:
        await connection.close()
    finally:
        turn.release()
