"""Writes of several tasks in one transaction: a flush to the disk takes as long for many rows as for one."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite

from store.connection import run, transaction_now
from store.database import store_error, write_lock
from store.errors import StoreError


class Statement(NamedTuple):
    """Rows to be written in one way."""

    sql: str
    rows: Sequence[Mapping[str, Any]]


class _Pending(NamedTuple):
    """What is to be written all or not at all, and who waits for it."""

    statements: Sequence[Statement]
    written: asyncio.Future[None]

    def end(self, error: StoreError | None = None) -> None:
        """Tell whoever waits, if anybody still does."""
        if self.written.done():
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)


class GroupCommit:
    """Writes to a database that several processes write in turn.

    Args:
        connection: An open connection.
        path: The database, for its lock and for messages.
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._pending: list[_Pending] = []
        self._writer: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Wait until what was asked for is written."""
        if self._writer is not None:
            await self._writer

    async def write(self, *statements: Statement) -> None:
        """Write rows in one transaction, to the end even when the caller is cancelled: the answer is paid for.

        What is asked for while a transaction is under way goes into the next one together, since each is flushed to
        the disk: else answers that come fast would wait in line to be kept, and be lost with the process.
        """
        pending = _Pending(statements, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_pending(), name="write work.db")
        await pending.written

    async def _write_pending(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await self._write(batch)
            except StoreError as exc:
                # Each by itself, so that what cannot be written costs nothing else.
                for pending in batch:
                    await self._write_alone(pending, exc if len(batch) == 1 else None)
            else:
                for pending in batch:
                    pending.end()

    async def _write_alone(self, pending: _Pending, error: StoreError | None) -> None:
        if error is None:
            try:
                await self._write([pending])
            except StoreError as exc:
                error = exc
        pending.end(error)

    async def _write(self, batch: Sequence[_Pending]) -> None:
        """Write in one transaction. Raises StoreError when nothing of it was written."""
        try:
            await run(self._connection, partial(_write_all, batch, self._path))
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc


def _write_all(batch: Sequence[_Pending], path: Path, db: sqlite3.Connection) -> None:
    with write_lock(path), transaction_now(db):
        for pending in batch:
            for statement in pending.statements:
                db.executemany(*statement)
