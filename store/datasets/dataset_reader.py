"""Datasets in `work.db` as those see them who read: versions, rows held against their hashes, and decisions."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from store.connection import run
from store.database import store_error
from store.datasets import decision_table, row_search, row_table, version_check, version_table
from store.datasets.decision import Decision, standing
from store.datasets.row import Part, Row, RowState
from store.datasets.row_search import FoundRow
from store.datasets.version import DatasetSummary, Diff, Place, Progress, Version, read_reference
from store.datasets.version_check import VersionCheck
from store.datasets.version_table import Wanted
from store.datasets.warnings import look, warnings_of
from store.work import WorkStore

T = TypeVar("T")
BATCH_ROWS = 200
"""Rows that are read or written at a time: at 20 KB a row, 4 MB."""


class DatasetReader(WorkStore):
    """What `DatasetStore` reads; not opened by itself."""

    @property
    def folder(self) -> Path:
        """The data directory."""
        return self._path.parent

    async def datasets(self) -> list[DatasetSummary]:
        """Give all datasets by name."""
        return await self._read(version_table.summaries)

    async def versions(self, dataset: str) -> list[Version]:
        """Give the versions of a dataset by number.

        Raises:
            DatasetError: There is no such dataset.
        """
        await self.version(read_reference(dataset).dataset)
        return await self._read(partial(version_table.versions, dataset=dataset))

    async def version(self, reference: str, *, wants: Wanted = "any") -> Version:
        """Find a version: `NAME-v3`, or `NAME` for the newest of the wanted kind.

        Raises:
            DatasetError: There is none; the message tells what there is instead.
        """
        return await self._read(partial(version_table.find, reference=reference, wants=wants))

    async def require_openable(self, name: str, *, add: bool = False) -> None:
        """Make sure that a version can be opened, before anything is paid for it. Raises as `open_version`."""
        await self._read(partial(version_table.check_opening, reference=name, add=add))

    async def rows(
        self,
        version: Version,
        *,
        state: RowState | None = None,
        part: Part | None = None,
        after: str | None = None,
        limit: int | None = None,
        unsplit: bool = False,
    ) -> AsyncIterator[Row]:
        """Read rows in the order of their ids, each held against its hash; those erased since are left out.

        Args:
            version: Of which version.
            state: Only rows of that state.
            part: Only rows of that part.
            after: Begin behind this id.
            limit: At most so many.
            unsplit: Only rows that have no part.

        Raises:
            CorruptDatabaseError: A row is not what its hash says.
        """
        place, left = after or "", limit
        while left is None or left > 0:
            reading = partial(
                row_table.read,
                version=version.id,
                state=state,
                part="" if unsplit else part,
                after=place,
                limit=BATCH_ROWS if left is None else min(left, BATCH_ROWS),
            )
            found = await self._read(reading)
            if not found:
                return
            for stored in found:
                row = row_table.sound(stored, version.label)
                if row is not None:
                    yield row
                    left = None if left is None else left - 1
            place = found[-1].row_id

    async def row(self, version: Version, row_id: str) -> Row | None:
        """Read one row; None when the version has none of that id, or it was erased.

        Raises:
            CorruptDatabaseError: It is not what its hash says.
        """
        stored = await self._read(partial(row_table.read_one, version=version.id, row_id=row_id))
        return None if stored is None else row_table.sound(stored, version.label)

    async def rows_beginning(self, beginning: str, limit: int) -> list[FoundRow]:
        """Find rows in all versions by the beginning of their ids, at most so many of each version."""
        return await self._read(partial(row_search.rows_beginning, beginning=beginning, limit=limit))

    async def rows_of_trace(self, trace: str) -> list[FoundRow]:
        """Find rows in all versions by a trace they were made from, or the beginning of its id."""
        return await self._read(partial(row_search.rows_of_trace, trace=trace))

    async def sources_of(self, row_hash: str) -> list[str]:
        """Give the traces that a row was made from."""
        rows = await self._rows("SELECT trace FROM row_sources WHERE row_hash = :key", {"key": bytes.fromhex(row_hash)})
        return [row[0] for row in rows]

    async def all_versions(self) -> list[Version]:
        """Give the versions of all datasets."""
        return await self._read(version_check.all_versions)

    async def diff(self, first: Version, second: Version) -> Diff:
        """Tell how the kept rows of two versions differ."""
        return await self._read(partial(version_table.diff, first=first.id, second=second.id))

    async def places(self, version: Version) -> dict[str, Place]:
        """Give where each row of a version stands, by its id; some 300 bytes a row."""
        return await self._read(partial(version_table.places, version=version.id))

    async def erased_rows(self, version: Version, *, until: str | None = None) -> set[str]:
        """Give the ids of rows of a version whose content was erased, up to some time; None for now."""
        return await self._read(partial(version_table.erased_rows, version=version.id, until=until))

    async def progress(self, version: Version) -> Progress:
        """Tell what became of an active version since the one that it follows."""
        return await self._read(partial(version_table.progress, version=version))

    async def warnings(self, version: Version) -> list[str]:
        """Tell what speaks against learning from a version."""
        return warnings_of(version, await self._read(partial(look, version=version)))

    async def verify(self, reference: str | None = None) -> tuple[list[VersionCheck], list[str]]:
        """Derive every hash of a version, or of all, again.

        Returns:
            What was found of each version, and the triggers that should guard them and do not.

        Raises:
            DatasetError: There is no such version.
        """
        there = await self._read(version_check.all_versions) if reference is None else [await self.version(reference)]
        checks = [await self._read(partial(version_check.check_version, version=version)) for version in there]
        return checks, await self._read(version_check.check_guards)

    async def decisions(self, dataset: str) -> Mapping[str, Decision]:
        """Give the decision that stands for each row, by learned hash; what was undone counts no more."""
        return standing(await self.decision_log(dataset))

    async def decision_log(self, dataset: str) -> list[Decision]:
        """Give all decisions about a dataset in the order they were made."""
        return await self._read(partial(decision_table.read, dataset=dataset))

    async def decided_row(self, learned_hash: str) -> Mapping[str, Any] | None:
        """Give what a row held about which something was decided, also when no version has it any more."""
        return await self._read(partial(decision_table.decided_row, learned_hash=learned_hash))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await run(self._connection, work)
        except sqlite3.Error as exc:
            raise store_error(exc, self._path) from exc
