"""Datasets in `work.db`: versions that are opened, filled and frozen, their rows, and what people decided about them.

A version is made by a *birth*, whose rows become the version's all at once when its block ends; one that fails or is
killed leaves nothing behind:

    async with store.birth("invoices", birth=Birth.UPLOAD, manifest={...}) as born:
        async for batch in batches:
            await born.add_rows(batch)
    version = born.version

`add=True` adds to the active version, or opens one that begins with the rows of the newest frozen version;
`freeze=True` freezes in the same transaction. An active version is worked on by `replace_rows`, `set_ends`, `set_parts`
and `add_rows`, each call one transaction.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiosqlite

from store import json_text
from store.connection import run, transaction_now
from store.database import store_error, write_lock
from store.datasets import birth as births
from store.datasets import decision_table, freezing, row_table, version_table
from store.datasets.birth_lock import BirthLock
from store.datasets.dataset_reader import DatasetReader
from store.datasets.decision import Decision
from store.datasets.row import Part, Row, RowEnd
from store.datasets.version import Birth, Version, read_reference
from store.datasets.warnings import Looked, is_curated, look, warnings_of
from store.erasing.remains import clean_work
from store.errors import DatasetError

T = TypeVar("T")
_PATIENCE_S = 5.0


class DatasetStore(DatasetReader):
    """`work.db` as those see it who make, curate and read datasets.

    Usage:
        async with await DatasetStore.open(data_dir / "work.db") as store: ...
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().__aexit__(exc_type, exc, tb)

    async def open_version(
        self, name: str, *, birth: Birth, manifest: Mapping[str, Any], note: str | None = None, add: bool = False
    ) -> Version:
        """Open the next version of a dataset, or give the active one when rows are to be added to it.

        Whoever makes a version of new rows uses `birth`, which leaves no half of one.

        Args:
            name: Of the dataset; `NAME-v3` insists that the version has that number.
            birth: How it comes to be; one that is curated begins with the rows of the newest frozen version.
            manifest: What makes it.
            note: A few words that lists show.
            add: Take the active version, or begin with the rows of the newest frozen one.

        Raises:
            DatasetError: A version is active and `add` is not given, or the number is another.
        """

        def open_(db: sqlite3.Connection) -> Version:
            id_ = version_table.open_version(db, name, birth=birth, manifest=manifest, note=note, add=add, now=_now())
            return version_table.by_id(db, id_)

        return await self.transact(open_)

    @asynccontextmanager
    async def birth(
        self,
        name: str,
        *,
        birth: Birth,
        manifest: Mapping[str, Any],
        note: str | None = None,
        add: bool = False,
        freeze: bool = False,
    ) -> AsyncIterator[births.DatasetBirth]:
        """Make a version of the rows that the block adds: whole when the block ends, or not at all.

        Args:
            name: As in `open_version`, and so are the other arguments but the last.
            birth: How it comes to be.
            manifest: What makes it; `born.manifest` replaces it.
            note: A few words that lists show.
            add: Add to the active version, or to the rows of the newest frozen one.
            freeze: Freeze it at once.

        Raises:
            DatasetError: As `open_version`, before the block runs; another process is making a version of the dataset;
                a version that is to be frozen has no kept row.
        """
        lock = await asyncio.to_thread(BirthLock(self._path, read_reference(name).dataset).acquire)
        try:
            id_ = await self.transact(partial(births.begin, work=self._path, reference=name, add=add, now=_now()))
            decisions = await self.decision_log(read_reference(name).dataset)
            born = births.DatasetBirth(self, id_, name, birth, manifest, note, decisions)
            try:
                yield born
                completed = await self.transact(partial(self._complete, born, add=add, freeze=freeze))
            except BaseException:
                await self.transact(partial(births.end, id_=id_))
                raise
            born.version = completed
        finally:
            lock.release()

    def _complete(self, born: births.DatasetBirth, db: sqlite3.Connection, *, add: bool, freeze: bool) -> Version:
        id_ = born.complete(db, add=add, now=_now())
        if freeze:
            version = version_table.by_id(db, id_)
            made = Looked(born.clusters, is_curated(version.manifest, version.birth))
            manifest = {**version.manifest, "warnings": warnings_of(version, look(db, version) if add else made)}
            freezing.freeze(db, id_, manifest, None, _now())
        return version_table.by_id(db, id_)

    async def add_rows(self, version: Version, rows: Sequence[Row]) -> int:
        """Add rows to an active version; one whose id is there stays as it is. Tell how many were added.

        Raises:
            DatasetError: The version is frozen; a row cannot be stored, or was erased with a trace.
        """

        def add(db: sqlite3.Connection) -> int:
            version_table.require_active(db, version.id)
            added = row_table.add(db, "version_rows", version.id, rows)
            version_table.count_in(db, version.id, added)
            return added

        return await self.transact(add)

    async def replace_rows(self, version: Version, rows: Sequence[Row]) -> None:
        """Have rows of an active version hold something else, by their ids; they keep the traces they came from.

        Raises:
            DatasetError: The version is frozen, or a row is not there; none is replaced.
        """
        await self._change(version, partial(row_table.replace, version=version.id, rows=rows))

    async def set_ends(self, version: Version, ends: Mapping[str, RowEnd]) -> None:
        """Give rows of an active version another end, by their ids. Raises as `replace_rows`."""
        await self._change(version, partial(row_table.set_ends, version=version.id, ends=ends))

    async def set_parts(self, version: Version, parts: Mapping[str, Part | None]) -> None:
        """Put rows of an active version into another part, by their ids. Raises as `replace_rows`."""
        await self._change(version, partial(row_table.set_parts, version=version.id, parts=parts))

    async def set_manifest(self, version: Version, manifest: Mapping[str, Any]) -> None:
        """Replace what is said to have made an active version. Raises DatasetError when it is frozen."""

        def write(db: sqlite3.Connection) -> None:
            text = json_text.dumps(manifest).decode()
            db.execute("UPDATE versions SET manifest = ? WHERE id = ?", (text, version.id))

        await self._change(version, write)

    async def _change(self, version: Version, work: Callable[[sqlite3.Connection], None]) -> None:
        def change(db: sqlite3.Connection) -> None:
            version_table.require_active(db, version.id)
            work(db)

        await self.transact(change)

    async def freeze(self, version: Version, *, note: str | None = None) -> Version:
        """Freeze a version: from here on it never changes. One that is frozen stays as it is, and is given back.

        The manifest takes up what there is to warn of.

        Raises:
            DatasetError: No row is kept, rows are missing, or a frozen version was to get another note.
        """
        # Before the transaction, since it takes a while and others may want to write meanwhile.
        looked = await self._read(partial(look, version=version))

        def freeze_(db: sqlite3.Connection) -> Version:
            found = version_table.by_id(db, version.id)
            if not found.is_frozen:
                decisions = len(decision_table.read(db, found.dataset))
                manifest = {**found.manifest, "warnings": warnings_of(found, looked)}
                # Those that hold for it: a rebuild leaves out what is decided from here on.
                manifest |= {"decisions_at_freeze": decisions} if decisions else {}
                freezing.freeze(db, found.id, manifest, note, _now())
            elif note not in (None, found.note):
                raise DatasetError(f"{found.label} is frozen, its note too; it stays {found.note!r}.")
            return version_table.by_id(db, version.id)

        return await self.transact(freeze_)

    async def discard(self, version: Version, *, patience_s: float = _PATIENCE_S) -> bool:
        """Delete an active version with its rows, and overwrite what SQLite left of them in its pages.

        Returns:
            Whether that was overwritten: others may read or write for longer than `patience_s`. It then stays until the
            next discarding, erasure or `tracemill vacuum`.

        Raises:
            DatasetError: It is frozen.
        """
        await self.transact(partial(version_table.discard, version=version.id))
        return await asyncio.to_thread(clean_work, self._path, patience_s)

    async def freeze_without_erased(self, version: Version, *, note: str | None = None) -> Version:
        """Freeze the next version: a frozen one without its rows that were erased, which it follows.

        Raises:
            DatasetError: Nothing of it was erased, or a version is active.
        """

        def make(db: sqlite3.Connection) -> Version:
            opened = version_table.by_id(
                db,
                version_table.open_without_erased(db, version_table.by_id(db, version.id), note=note, now=_now()),
            )
            manifest = {**opened.manifest, "warnings": warnings_of(opened, look(db, opened))}
            freezing.freeze(db, opened.id, manifest, None, _now())
            return version_table.by_id(db, opened.id)

        return await self.transact(make)

    async def note_decision(self, decision: Decision) -> Decision:
        """Note what a person decided; give it back with its time.

        Raises:
            DatasetError: There is no such dataset, or nothing to undo.
        """
        return await self.transact(partial(decision_table.add, decision=decision, now=_now()))

    async def apply_decisions(self, version: Version, decisions: Sequence[Decision], rows: Sequence[Row]) -> None:
        """Note decisions and have rows of an active version hold what follows from them, all or nothing.

        Raises:
            DatasetError: As `note_decision` and `replace_rows`.
        """
        now = _now()

        def apply(db: sqlite3.Connection) -> None:
            for decision in decisions:
                decision_table.add(db, decision, now)
            row_table.replace(db, version.id, rows)

        await self._change(version, apply)

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work on the connection in one transaction, to the end even when the caller is cancelled."""
        task = asyncio.create_task(self._in_turn(work), name="write work.db")
        self._tasks.add(task)
        task.add_done_callback(self._has_ended)
        return await asyncio.shield(task)

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Asked for, so that nobody is told of it once more when the caller was cancelled.
            task.exception()

    async def _in_turn(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def write(db: sqlite3.Connection) -> T:
            with write_lock(self._path), transaction_now(db):
                return work(db)

        try:
            return await run(self._connection, write)
        except sqlite3.IntegrityError as exc:
            raise DatasetError(f"{self._path}: {exc}.") from exc
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
