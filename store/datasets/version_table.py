"""Versions in `work.db`: found by what somebody wrote for them, opened, and told apart."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from store import json_text
from store.datasets import freezing, row_table
from store.datasets.version import (
    Birth,
    DatasetSummary,
    Diff,
    Place,
    Progress,
    Version,
    VersionState,
    counts_of,
    label,
    read_reference,
)
from store.errors import DatasetError

Wanted = Literal["frozen", "active", "any"]
_SHOWN = 8
_SELECT = """
    SELECT id, dataset, number, state, birth, parent, note, manifest, hash, test_hash, counts, created_at, frozen_at,
    (SELECT count(*) FROM erased_rows e CROSS JOIN version_rows r ON r.row_hash = e.row_hash WHERE r.version = v.id)
    FROM versions v
"""
_OF_DATASET = _SELECT + "WHERE dataset = :dataset ORDER BY number"
_BY_ID = _SELECT + "WHERE id = :id"
_ALL = _SELECT + "ORDER BY dataset, number"
_INSERT = """
    INSERT INTO versions (dataset, number, state, birth, parent, note, manifest, created_at)
    VALUES (:dataset, :number, 'active', :birth, :parent, :note, :manifest, :now)
"""
_KEPT_PAIRS = """
    SELECT a.row_id, a.row_hash, a.part, b.row_hash, b.part FROM version_rows a
    LEFT JOIN version_rows b ON b.version = :b AND b.row_id = a.row_id AND b.state = 'kept'
    WHERE a.version = :a AND a.state = 'kept' ORDER BY a.row_id
"""
_CARRIED = """
    SELECT count(*) FROM version_rows a JOIN version_rows b ON b.version = :parent AND b.row_id = a.row_id
    WHERE a.version = :id AND a.state = 'kept' AND b.state = 'kept'
    AND a.part IS NOT 'unstructured' AND b.part IS NOT 'unstructured'
"""
_REVIEWED = """
    SELECT count(*) FROM version_rows a WHERE a.version = :id AND a.state = 'kept' AND a.part IS NOT 'unstructured'
    AND NOT EXISTS (
        SELECT 1 FROM version_rows b WHERE b.version = :parent AND b.row_id = a.row_id AND b.state = 'kept'
        AND b.part IS NOT 'unstructured'
    )
    AND a.row_id IN (
        SELECT row_id FROM decisions WHERE dataset = :dataset AND kind IN ('accept', 'edit') AND at >= :since
    )
"""


def versions(db: sqlite3.Connection, dataset: str) -> list[Version]:
    """Give the versions of a dataset by number; none when there is no such dataset."""
    return [_version(db, row) for row in db.execute(_OF_DATASET, {"dataset": dataset}).fetchall()]


def by_id(db: sqlite3.Connection, id_: int) -> Version:
    """Give a version by its id. Raises DatasetError when it was discarded."""
    row = db.execute(_BY_ID, {"id": id_}).fetchone()
    if row is None:
        raise DatasetError("the version was discarded meanwhile.")
    return _version(db, row)


def summaries(db: sqlite3.Connection) -> list[DatasetSummary]:
    """Give all datasets by name."""
    found: dict[str, list[Version]] = {}
    for row in db.execute(_ALL).fetchall():
        version = _version(db, row)
        found.setdefault(version.dataset, []).append(version)
    return [
        DatasetSummary(name, len(of_name), of_name[-1], _last(of_name, "frozen"), _last(of_name, "active"))
        for name, of_name in found.items()
    ]


def find(db: sqlite3.Connection, reference: str, wants: Wanted) -> Version:
    """Find what a reference stands for.

    Args:
        db: Any connection.
        reference: `NAME-v3`, or `NAME` for the newest version of the wanted kind.
        wants: What kind it has to be.

    Raises:
        DatasetError: There is none; the message tells what there is instead.
    """
    dataset, number = read_reference(reference)
    there = versions(db, dataset)
    if not there:
        raise DatasetError(f"there is no dataset {dataset!r}. {_datasets(db)}")
    if number is None:
        found = _last(there, wants)
        if found is None:
            hint = "Freeze it first" if wants == "frozen" else "Adding to it opens the next version"
            raise DatasetError(f"{dataset} has no {wants} version. {hint}; there are {_list(there)}.")
        return found
    named = [version for version in there if version.number == number]
    if not named:
        raise DatasetError(f"{dataset} has no version {number}; there are {_list(there)}.")
    if wants not in ("any", named[0].state):
        why = (
            "it is frozen and never changes; work on it goes into the next version"
            if wants == "active"
            else f"it is still active; `tracemill datasets freeze {dataset}` freezes it"
        )
        raise DatasetError(f"{named[0].label}: {why}.")
    return named[0]


def require_active(db: sqlite3.Connection, id_: int) -> Version:
    """Give a version that may change. Raises DatasetError when it is frozen or was discarded."""
    found = by_id(db, id_)
    if found.is_frozen:
        raise DatasetError(f"{found.label} is frozen and never changes; work on it goes into the next version.")
    return found


def check_opening(db: sqlite3.Connection, reference: str, *, add: bool) -> None:
    """Make sure that a version can be opened, before anything is paid for it.

    Raises:
        DatasetError: An active version is open, or the reference names another number than the next.
    """
    dataset, number = read_reference(reference)
    there = versions(db, dataset)
    active = _last(there, "active")
    if active is not None and not add:
        raise DatasetError(
            f"{active.label} is active. Freeze it (`tracemill datasets freeze {dataset}`), discard it (`tracemill "
            f"datasets discard {dataset}`), or add to it with --add."
        )
    coming = active.number if active else (there[-1].number if there else 0) + 1
    if number not in (None, coming):
        raise DatasetError(f"{reference} is asked for, and the next version of {dataset} is {label(dataset, coming)}.")


def open_version(
    db: sqlite3.Connection,
    reference: str,
    *,
    birth: Birth,
    manifest: Mapping[str, Any],
    note: str | None,
    add: bool,
    now: str,
) -> int:
    """Open a version inside a transaction, or give the active one when rows are to be added to it; by its id.

    One that is opened to add, or to curate, begins with the rows of the newest frozen version.

    Raises:
        DatasetError: As `check_opening`; or there is nothing to curate.
    """
    check_opening(db, reference, add=add)
    dataset = read_reference(reference).dataset
    there = versions(db, dataset)
    active, parent = _last(there, "active"), _last(there, "frozen")
    if active is not None:
        return active.id
    if birth is Birth.CURATE and parent is None:
        raise DatasetError(f"there is no dataset {dataset!r} to curate. {_datasets(db)}")
    values = {
        "dataset": dataset,
        "number": (there[-1].number if there else 0) + 1,
        "birth": birth,
        "parent": None if parent is None else parent.number,
        "note": note,
        "manifest": json_text.dumps(manifest).decode(),
        "now": now,
    }
    id_ = db.execute(_INSERT, values).lastrowid
    assert id_ is not None, "an insertion that worked has an id"  # noqa: S101
    if parent is not None and (add or birth is Birth.CURATE):
        count_in(db, id_, row_table.copy(db, parent.id, id_))
    return id_


def open_without_erased(db: sqlite3.Connection, version: Version, *, note: str | None, now: str) -> int:
    """Open a version that follows a frozen one and has all its rows but the erased ones, inside a transaction.

    Raises:
        DatasetError: Nothing of it was erased, it is active, or another version is.
    """
    if not version.is_frozen or not version.erased:
        raise DatasetError(f"{version.label}: no row of a frozen version was erased, so there is nothing to leave out.")
    check_opening(db, version.dataset, add=False)
    left = {name: value for name, value in version.manifest.items() if name != "warnings"}
    rebuilt = {"from": version.label, "hash": version.hash, "left_out": version.erased}
    values = {
        "dataset": version.dataset,
        "number": versions(db, version.dataset)[-1].number + 1,
        "birth": Birth.REBUILD,
        "parent": version.number,
        "note": note or f"v{version.number} without {version.erased} erased rows",
        "manifest": json_text.dumps({**left, "rebuilt": rebuilt}).decode(),
        "now": now,
    }
    id_ = db.execute(_INSERT, values).lastrowid
    assert id_ is not None, "an insertion that worked has an id"  # noqa: S101
    count_in(db, id_, row_table.copy(db, version.id, id_))
    return id_


def places(db: sqlite3.Connection, version: int) -> dict[str, Place]:
    """Give where each row of a version stands, by its id."""
    sql = "SELECT row_id, part, state, row_hash FROM version_rows WHERE version = ?"
    return {row[0]: Place(row[1], row[2], row[3].hex()) for row in db.execute(sql, (version,))}


def erased_rows(db: sqlite3.Connection, version: int, until: str | None = None) -> set[str]:
    """Give the ids of rows of a version whose content was erased, up to some time; None for now."""
    sql = (
        "SELECT r.row_id FROM erased_rows e CROSS JOIN version_rows r ON r.row_hash = e.row_hash"
        " WHERE r.version = :version AND (:until IS NULL OR e.erased_at <= :until)"
    )
    return {row[0] for row in db.execute(sql, {"version": version, "until": until})}


def count_in(db: sqlite3.Connection, version: int, rows: int) -> None:
    """Count rows that a version has taken in."""
    db.execute("UPDATE versions SET entered = entered + ? WHERE id = ?", (rows, version))


def discard(db: sqlite3.Connection, version: int) -> None:
    """Delete an active version with its rows. Raises DatasetError when it is frozen."""
    require_active(db, version)
    hashes = [row[0] for row in db.execute("SELECT row_hash FROM version_rows WHERE version = ?", (version,))]
    db.execute("DELETE FROM version_rows WHERE version = ?", (version,))
    db.execute("DELETE FROM versions WHERE id = ?", (version,))
    row_table.forget(db, hashes)


def diff(db: sqlite3.Connection, first: int, second: int) -> Diff:
    """Tell how the kept rows of two versions differ."""
    added = [row[0] for row in db.execute(_KEPT_PAIRS, {"a": second, "b": first}) if row[3] is None]
    removed, changed, moved = [], [], []
    for row_id, hash_a, part_a, hash_b, part_b in db.execute(_KEPT_PAIRS, {"a": first, "b": second}):
        if hash_b is None:
            removed.append(row_id)
            continue
        if hash_a != hash_b:
            changed.append(row_id)
        if part_a != part_b:
            moved.append(row_id)
    return Diff(added, removed, changed, moved)


def progress(db: sqlite3.Connection, version: Version) -> Progress:
    """Tell what became of an active version since the one that it follows."""
    parents = [one.id for one in versions(db, version.dataset) if one.number == version.parent]
    values = {
        "id": version.id,
        "dataset": version.dataset,
        "since": version.created_at,
        "parent": parents[0] if parents else None,
    }
    (carried,) = db.execute(_CARRIED, values).fetchone()
    (reviewed,) = db.execute(_REVIEWED, values).fetchone()
    return Progress(carried, reviewed, version.counts.rows - carried - reviewed)


def _version(db: sqlite3.Connection, row: Sequence[Any]) -> Version:
    id_, dataset, number, state, birth, parent, note, manifest, hash_, test_hash, counts, created, frozen, erased = row
    return Version(
        id=id_,
        dataset=dataset,
        number=number,
        state=VersionState(state),
        birth=Birth(birth),
        parent=parent,
        note=note,
        manifest=json_text.loads(manifest.encode()),
        hash=None if hash_ is None else hash_.hex(),
        test_hash=None if test_hash is None else test_hash.hex(),
        counts=freezing.counted(db, id_) if counts is None else counts_of(counts),
        created_at=created,
        frozen_at=frozen,
        erased=erased,
    )


def _last(there: Sequence[Version], wants: Wanted) -> Version | None:
    fitting = [version for version in there if wants in ("any", version.state)]
    return fitting[-1] if fitting else None


def _list(there: Sequence[Version]) -> str:
    shown = ", ".join(f"{version.label} ({version.state})" for version in there[-_SHOWN:])
    return shown if len(there) <= _SHOWN else f"{len(there)} versions, the last {shown}"


def _datasets(db: sqlite3.Connection) -> str:
    names = [row[0] for row in db.execute("SELECT DISTINCT dataset FROM versions ORDER BY 1 LIMIT ?", (_SHOWN + 1,))]
    if not names:
        return "There is none yet."
    return f"There are {', '.join(names[:_SHOWN])}{' and others' if len(names) > _SHOWN else ''}."
