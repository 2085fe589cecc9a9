"""Whether versions are what their hashes say: everything that can be derived is derived again."""

import sqlite3
from contextlib import closing
from typing import Final, NamedTuple

from store.datasets import freezing, row_table, version_table
from store.datasets.version import Version
from store.schema_version import WORK, migrate

_BATCH_ROWS = 500
_NAMED: Final = 20
"""Problems of a version that are named; more are counted."""
_ERASED = """
    SELECT row_hash FROM erased_rows e WHERE EXISTS (
        SELECT 1 FROM version_rows r WHERE r.version = ? AND r.row_hash = e.row_hash
    )
"""
_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"


class VersionCheck(NamedTuple):
    """What was found of a version.

    Attributes:
        label: Of the version.
        state: Active or frozen.
        rows: How many were held against their hashes.
        erased: How many could not be, since they were erased with a trace.
        problems: How many problems there are.
        named: The first of them, as sentences.
    """

    label: str
    state: str
    rows: int
    erased: int
    problems: int
    named: list[str]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return self.problems == 0


class _Problems:
    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    def add(self, problem: str) -> None:
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(problem)


def check_version(db: sqlite3.Connection, version: Version) -> VersionCheck:
    """Derive every hash of a version again; of a frozen one its own and its counts, too."""
    problems = _Problems()
    rows, erased = _check_rows(db, version, problems)
    counts = freezing.counted(db, version.id)
    (entered,) = db.execute("SELECT entered FROM versions WHERE id = ?", (version.id,)).fetchone()
    if entered != counts.entered:
        problems.add(f"{entered} rows were taken in, and {counts.entered} are there")
    if version.is_frozen:
        if freezing.derived_hash(db, version.id).hex() != version.hash:
            problems.add("its hash is not that of its rows")
        test_hash = freezing.derived_test_hash(db, version.id)
        if (None if test_hash is None else test_hash.hex()) != version.test_hash:
            problems.add("its test hash is not that of its test rows")
        if counts != version.counts:
            problems.add("its counts are not those of its rows")
    return VersionCheck(version.label, version.state, rows, erased, problems.count, problems.named)


def check_guards(db: sqlite3.Connection) -> list[str]:
    """Name the triggers that keep frozen versions from changing and are missing or not ours."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrate(made, WORK)
        expected = dict(made.execute(_TRIGGERS).fetchall())
    found = dict(db.execute(_TRIGGERS).fetchall())
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def all_versions(db: sqlite3.Connection) -> list[Version]:
    """Give the versions of all datasets."""
    return [one for summary in version_table.summaries(db) for one in version_table.versions(db, summary.name)]


def _check_rows(db: sqlite3.Connection, version: Version, problems: _Problems) -> tuple[int, int]:
    gone = {row[0].hex() for row in db.execute(_ERASED, (version.id,))}
    rows, erased, place = 0, 0, ""
    while found := row_table.read(db, version.id, state=None, part=None, after=place, limit=_BATCH_ROWS):
        place = found[-1].row_id
        for stored in found:
            is_gone, problem = stored.row_hash in gone, row_table.full_problem(stored)
            rows += 1
            if is_gone and stored.row is None and problem is None:
                erased += 1
            elif is_gone:
                problems.add(f"row {stored.row_id!r}: it was erased, and what it held is still there")
            elif problem is not None:
                problems.add(f"row {stored.row_id!r}: {problem}")
            elif stored.row is None:
                problems.add(f"row {stored.row_id!r}: what it holds is missing")
    return rows, erased
