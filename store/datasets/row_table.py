"""Rows in `work.db`: contents once for all versions, places by version. For work inside a transaction of the writer."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from store import json_text
from store.body import Packer, unpack
from store.datasets.row import Part, Row, RowEnd, RowState, learned_hash, read_canonical, row_hash
from store.errors import CorruptDatabaseError, DatasetError

Json = Any
_PLACE = "row_id, row_hash, learned_hash, part, state, stage, reason, detail"
_PLACE_VALUES = ":row_id, :row_hash, :learned_hash, :part, :state, :stage, :reason, :detail"
_CONTENT = """
    INSERT INTO row_contents (row_hash, learned_hash, body) SELECT :row_hash, :learned_hash, :body
    WHERE NOT EXISTS (SELECT 1 FROM row_contents WHERE row_hash = :row_hash)
"""
_SOURCE = "INSERT OR IGNORE INTO row_sources (row_hash, trace) VALUES (?, ?)"
_IS_ERASED = "SELECT 1 FROM erased_rows WHERE row_hash = ?"
# ruff: noqa: S608 - the statements are put together from constants
_ADD = {
    "version_rows": f"INSERT INTO version_rows (version, {_PLACE}) VALUES (:owner, {_PLACE_VALUES})"
    " ON CONFLICT (version, row_id) DO NOTHING",
    "birth_rows": f"INSERT INTO birth_rows (birth, {_PLACE}) VALUES (:owner, {_PLACE_VALUES})"
    " ON CONFLICT (birth, row_id) DO NOTHING",
}
_HASH_OF = "SELECT row_hash FROM version_rows WHERE version = ? AND row_id = ?"
_REPLACE = """
    UPDATE version_rows SET row_hash = :row_hash, learned_hash = :learned_hash, part = :part, state = :state,
    stage = :stage, reason = :reason, detail = :detail WHERE version = :owner AND row_id = :row_id
"""
_HAND_ON = "INSERT OR IGNORE INTO row_sources (row_hash, trace) SELECT ?, trace FROM row_sources WHERE row_hash = ?"
_FORGET_CONTENT = """
    DELETE FROM row_contents WHERE row_hash = :hash
    AND NOT EXISTS (SELECT 1 FROM version_rows WHERE row_hash = :hash)
    AND NOT EXISTS (SELECT 1 FROM birth_rows WHERE row_hash = :hash)
    AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.learned_hash = row_contents.learned_hash)
"""
_FORGET_SOURCES = """
    DELETE FROM row_sources WHERE row_hash = :hash
    AND NOT EXISTS (SELECT 1 FROM row_contents WHERE row_hash = :hash)
"""
_READ = """
    SELECT r.row_id, r.row_hash, r.learned_hash, r.part, r.state, r.stage, r.reason, r.detail, c.body, c.learned_hash
    FROM version_rows r LEFT JOIN row_contents c USING (row_hash)
    WHERE r.version = :version AND r.row_id > :after {where} ORDER BY r.row_id LIMIT :limit
"""
_STATE = "AND r.state = :state"
_PARTS = {None: "", "": "AND r.part IS NULL", "part": "AND r.part = :part"}


class Stored(NamedTuple):
    """A row as it was found.

    Attributes:
        row_id: Its id.
        row: None when its content is not there: it was erased, or there is a problem.
        row_hash: Hexadecimal, as is `learned_hash`.
        learned_hash: What it teaches.
        problem: Why it is not what its hashes say; None when it is.
    """

    row_id: str
    row: Row | None
    row_hash: str
    learned_hash: str
    problem: str | None = None


def add(db: sqlite3.Connection, table: str, owner: int, rows: Sequence[Row]) -> int:
    """Add rows to a version or a birth; one whose id is there already stays as it is. Tell how many were added.

    Raises:
        DatasetError: A row cannot be stored, or was erased with a trace.
    """
    written = _write_contents(db, rows)
    added = db.executemany(_ADD[table], [_place(owner, row) for row in rows]).rowcount
    if added < len(rows):
        forget(db, written)
    return added


def replace(db: sqlite3.Connection, version: int, rows: Sequence[Row]) -> None:
    """Have rows of a version hold something else, with another part and end; their sources stay theirs.

    Raises:
        DatasetError: A row is not there, cannot be stored, or was erased with a trace.
    """
    # What one of these rows replaces again is nobody's, either.
    gone = _write_contents(db, rows)
    for row in rows:
        found = db.execute(_HASH_OF, (version, row.row_id)).fetchone()
        if found is None:
            raise DatasetError(f"the version has no row {row.row_id!r}; rows are replaced by their row_id.")
        new = bytes.fromhex(row.row_hash)
        if found[0] != new:
            db.execute(_HAND_ON, (new, found[0]))
            gone.append(found[0])
    db.executemany(_REPLACE, [_place(version, row) for row in rows])
    forget(db, gone)


def set_ends(db: sqlite3.Connection, version: int, ends: Mapping[str, RowEnd]) -> None:
    """Give rows of a version another end. Raises DatasetError when one is not there."""
    sql = (
        "UPDATE version_rows SET state = :state, stage = :stage, reason = :reason, detail = :detail"
        " WHERE version = :version AND row_id = :row_id"
    )
    _update(db, sql, [{"version": version, "row_id": row_id, **_end(end)} for row_id, end in ends.items()])


def set_parts(db: sqlite3.Connection, version: int, parts: Mapping[str, Part | None]) -> None:
    """Put rows of a version into another part. Raises DatasetError when one is not there."""
    sql = "UPDATE version_rows SET part = :part WHERE version = :version AND row_id = :row_id"
    _update(db, sql, [{"version": version, "row_id": row_id, "part": part} for row_id, part in parts.items()])


def _update(db: sqlite3.Connection, sql: str, values: Sequence[Mapping[str, Any]]) -> None:
    for value in values:
        if db.execute(sql, value).rowcount == 0:
            raise DatasetError(f"the version has no row {value['row_id']!r}.")


def copy(db: sqlite3.Connection, source: int, target: int) -> int:
    """Give a version all rows of another, their ends included; those that were erased since stay away."""
    return db.execute(
        f"INSERT INTO version_rows (version, {_PLACE}) SELECT :target, {_PLACE} FROM version_rows r"
        " WHERE version = :source AND NOT EXISTS (SELECT 1 FROM erased_rows e WHERE e.row_hash = r.row_hash)",
        {"source": source, "target": target},
    ).rowcount


def forget(db: sqlite3.Connection, hashes: Iterable[bytes]) -> None:
    """Delete contents that no version, no birth and no decision needs any more."""
    values = [{"hash": hash_} for hash_ in hashes]
    db.executemany(_FORGET_CONTENT, values)
    db.executemany(_FORGET_SOURCES, values)


def read(
    db: sqlite3.Connection, version: int, *, state: RowState | None, part: Part | str | None, after: str, limit: int
) -> list[Stored]:
    """Read rows of a version by id, each held against its hashes.

    Args:
        db: Any connection.
        version: Id of the version.
        state: Only rows of that state.
        part: Only rows of that part; None for any, an empty text for those of none.
        after: The id before the first.
        limit: At most so many.
    """
    where = " ".join([_STATE if state else "", _PARTS["part" if part else part]])
    values = {"version": version, "state": state, "part": part, "after": after, "limit": limit}
    return [_stored(found) for found in db.execute(_READ.format(where=where), values)]


def read_one(db: sqlite3.Connection, version: int, row_id: str) -> Stored | None:
    """Read one row of a version."""
    sql = _READ.format(where="").replace("r.row_id >", "r.row_id =")
    found = db.execute(sql, {"version": version, "after": row_id, "limit": 1}).fetchone()
    return None if found is None else _stored(found)


def sound(stored: Stored, label: str) -> Row | None:
    """Give the row; None for one that was erased.

    Raises:
        CorruptDatabaseError: It is not what its hashes say.
    """
    if stored.problem is not None:
        raise CorruptDatabaseError(
            f"{label}, row {stored.row_id!r}: {stored.problem}. `tracemill datasets verify` tells which versions are "
            "damaged; restore a backup of work.db."
        )
    return stored.row


def _write_contents(db: sqlite3.Connection, rows: Sequence[Row]) -> list[bytes]:
    packer = Packer()
    values, sources = [], []
    for row in rows:
        hash_ = bytes.fromhex(row.row_hash)
        if db.execute(_IS_ERASED, (hash_,)).fetchone() is not None:
            raise DatasetError(f"row {row.row_id!r} was erased with a trace that it was made from. Leave it out.")
        values.append(
            {"row_hash": hash_, "learned_hash": bytes.fromhex(row.learned_hash), "body": packer.pack(row.text)}
        )
        sources += [(hash_, trace) for trace in sorted(row.trace_ids)]
    db.executemany(_CONTENT, values)
    db.executemany(_SOURCE, sources)
    return [value["row_hash"] for value in values]


def _place(owner: int, row: Row) -> dict[str, Any]:
    return {
        "owner": owner,
        "row_id": row.row_id,
        "row_hash": bytes.fromhex(row.row_hash),
        "learned_hash": bytes.fromhex(row.learned_hash),
        "part": row.part,
        **_end(row.end),
    }


def _end(end: RowEnd) -> dict[str, Any]:
    if not end.stage or not end.reason:
        raise DatasetError(f"a row ends as {end.state} without a stage or a reason.")
    detail = json_text.dumps(end.detail).decode() if end.detail else None
    return {"state": end.state, "stage": end.stage, "reason": end.reason, "detail": detail}


def _stored(found: Sequence[Any]) -> Stored:
    row_id, hash_, learned, part, state, stage, reason, detail, body, content_learned = found
    row, problem = None, None
    if body is not None:
        try:
            text = unpack(body)
        except ValueError as exc:
            text, problem = b"", str(exc)
        if problem is None and row_hash(text) != hash_.hex():
            problem = "what it holds is not what its hash says"
        if problem is None and content_learned != learned:
            problem = "two places tell different hashes of what it teaches"
        if problem is None:
            end = RowEnd(RowState(state), stage, reason, {} if detail is None else json_text.loads(detail.encode()))
            row = Row(read_canonical(text), None if part is None else Part(part), end)
    return Stored(row_id, row, hash_.hex(), learned.hex(), problem)


def full_problem(stored: Stored) -> str | None:
    """Hold a row against all that is derived from it, not its content alone; None when all is right."""
    if stored.row is None:
        return stored.problem
    if stored.row.content.get("row_id") != stored.row_id:
        return "it holds another row_id"
    if learned_hash(stored.row.content) != stored.learned_hash:
        return "what it teaches is not what its learned_hash says"
    return None
