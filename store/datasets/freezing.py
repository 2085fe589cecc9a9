"""Freezing a version: its hashes, its counts, and the one statement after which it never changes.

The version hash is BLAKE2b-256 under the key `tracemill-version-1` over one line for each kept row, in the order of
part and row_id: `["train","r_1","<row hash>"]`, compact JSON, ended by a line feed; a row without part has null and
comes first. The test hash is the same under `tracemill-test-1` over the sorted learned hashes of the kept test rows, a
line each: versions with equal test hashes are measured alike.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from store import json_text
from store.datasets.version import Counts
from store.errors import DatasetError

_VERSION_KEY = b"tracemill-version-1"
_TEST_KEY = b"tracemill-test-1"
_HASH_BYTES = 32
_KEPT = "SELECT part, row_id, row_hash FROM version_rows WHERE version = ? AND state = 'kept' ORDER BY part, row_id"
_KEPT_OF_BIRTH = (
    "SELECT part, row_id, row_hash FROM birth_rows WHERE birth = ? AND state = 'kept' ORDER BY part, row_id"
)
_TEST = """
    SELECT learned_hash FROM version_rows WHERE version = ? AND state = 'kept' AND part = 'test' ORDER BY learned_hash
"""
_COUNTS = "SELECT state, part, count(*) FROM version_rows WHERE version = ? GROUP BY state, part"
_MISSING = """
    SELECT count(*) FROM version_rows r WHERE version = ?
    AND NOT EXISTS (SELECT 1 FROM row_contents c WHERE c.row_hash = r.row_hash)
"""
_FREEZE = """
    UPDATE versions SET state = 'frozen', frozen_at = :now, hash = :hash, test_hash = :test_hash, counts = :counts,
    manifest = :manifest, note = coalesce(:note, note) WHERE id = :id
"""


def version_hash(kept: Iterable[tuple[str | None, str, bytes]]) -> bytes:
    """Hash the kept rows of a version.

    Args:
        kept: Part, row_id and row hash of each, in the order of the first two.
    """
    digest = blake2b(digest_size=_HASH_BYTES, key=_VERSION_KEY)
    for part, row_id, row_hash in kept:
        digest.update(json_text.dumps([part, row_id, row_hash.hex()]) + b"\n")
    return digest.digest()


def learned_set_hash(learned: Iterable[bytes]) -> bytes | None:
    """Hash what test rows teach, from their sorted learned hashes; None without any."""
    digest, is_any = blake2b(digest_size=_HASH_BYTES, key=_TEST_KEY), False
    for hash_ in learned:
        digest.update(hash_.hex().encode() + b"\n")
        is_any = True
    return digest.digest() if is_any else None


def derived_hash(db: sqlite3.Connection, owner: int, *, of_birth: bool = False) -> bytes:
    """Derive the hash of a version, or of a birth as if it were one, from its rows."""
    return version_hash(db.execute(_KEPT_OF_BIRTH if of_birth else _KEPT, (owner,)))


def derived_test_hash(db: sqlite3.Connection, version: int) -> bytes | None:
    """Derive the test hash of a version from its rows."""
    return learned_set_hash(row[0] for row in db.execute(_TEST, (version,)))


def counted(db: sqlite3.Connection, version: int) -> Counts:
    """Count the rows of a version as they are."""
    found: dict[str, int] = {}
    for state, part, count in db.execute(_COUNTS, (version,)):
        found[state] = found.get(state, 0) + count
        if state == "kept":
            found[part or "unsplit"] = count
    return Counts(**found)


def freeze(db: sqlite3.Connection, version: int, manifest: Mapping[str, Any], note: str | None, now: str) -> None:
    """Freeze an active version, inside a transaction.

    Raises:
        DatasetError: Rows are missing, or none is kept; nothing is frozen.
    """
    counts = counted(db, version)
    (entered,) = db.execute("SELECT entered FROM versions WHERE id = ?", (version,)).fetchone()
    if entered != counts.entered:
        raise DatasetError(
            f"{entered} rows were taken in, and {counts.entered} ended as kept, dropped, failed or review. Something "
            "else than Tracemill changed work.db; discard the version and make it again."
        )
    if not counts.kept:
        raise DatasetError("no row of it is kept, so there is nothing to freeze.")
    (missing,) = db.execute(_MISSING, (version,)).fetchone()
    if missing:
        raise DatasetError(f"{missing} of its rows were erased with the traces they were made from. Discard it.")
    db.execute(
        _FREEZE,
        {
            "id": version,
            "now": now,
            "hash": derived_hash(db, version),
            "test_hash": derived_test_hash(db, version),
            "counts": json_text.dumps(counts.as_json()).decode(),
            "manifest": json_text.dumps(manifest).decode(),
            "note": note,
        },
    )
