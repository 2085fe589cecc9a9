"""What must not be stored again: traces that somebody had erased, and calls of erased sessions and users.

A call that was in flight or in a journal while its user was erased comes in afterwards, and an erased trace may stand
in a file that is imported. Both are left out and counted. Of a session or user a hash is kept under a key drawn by
chance, with the moment up to which calls are left out: who is erased may come back. The key lies beside the hashes, so
whoever holds the database can try names; nobody can read them.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from store.id_list import WANTED, id_list
from store.trace import DeadLetter, Trace
from store.trace_rows import to_micros

_HASH_BYTES = 20
_KEY = "SELECT key FROM forgotten_key"
_MAKE_KEY = "INSERT INTO forgotten_key (key) VALUES (randomblob(32))"
_NAMES = "SELECT hash, until, change FROM forgotten_names"
_ANY_TRACES = "SELECT EXISTS (SELECT 1 FROM forgotten_traces)"
# ruff: noqa: S608 - the statement is put together from constants
_KNOWN = WANTED + "SELECT f.id FROM wanted w CROSS JOIN forgotten_traces f ON f.id = w.id"
_CHANGES = WANTED + "SELECT f.id, f.change FROM wanted w CROSS JOIN forgotten_traces f ON f.id = w.id"
_FORGET_NAME = """
    INSERT INTO forgotten_names (hash, until, change) VALUES (:hash, :until, :change)
    ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until), change = excluded.change
"""
_FORGET_TRACE = "INSERT OR IGNORE INTO forgotten_traces (id, change) VALUES (?, ?)"


def forget_traces(db: sqlite3.Connection, ids: Iterable[UUID], change: int) -> None:
    """Keep traces from being stored, those that are not there yet included, inside a transaction."""
    db.executemany(_FORGET_TRACE, [(each.bytes, change) for each in ids])


def forget_name(db: sqlite3.Connection, kind: str, name: str, until: datetime, change: int) -> None:
    """Keep calls of a session or user that began by `until` from being stored, inside a transaction.

    Args:
        db: The writer's connection.
        kind: `session` or `user`.
        name: As the client named it.
        until: UTC.
        change: Number of the change that asks for it.
    """
    if db.execute(_KEY).fetchone() is None:
        db.execute(_MAKE_KEY)
    hashed = _hash(db.execute(_KEY).fetchone()[0], kind, name)
    db.execute(_FORGET_NAME, {"hash": hashed, "until": to_micros(until), "change": change})


def known_forgotten(db: sqlite3.Connection, ids: Iterable[UUID]) -> set[UUID]:
    """Tell which of these traces were erased."""
    return {UUID(bytes=row[0]) for row in db.execute(_KNOWN, id_list(each.bytes for each in ids))}


def forgotten_changes(db: sqlite3.Connection, ids: Iterable[UUID]) -> dict[UUID, int]:
    """Tell which of these traces were erased, each with the number of the change that asked for it."""
    return {UUID(bytes=row[0]): row[1] for row in db.execute(_CHANGES, id_list(each.bytes for each in ids))}


class LeftOut(NamedTuple):
    """Traces of a batch that must not be stored.

    Attributes:
        ids: Of all of them.
        named: Rows for those that are left out by their session or user, to be written with the batch (`note`).
    """

    ids: frozenset[UUID] = frozenset()
    named: tuple[tuple[bytes, int], ...] = ()


NOBODY = LeftOut()


class Forgotten:
    """What a writer holds every batch against; next to nothing while nothing was ever erased."""

    def __init__(self) -> None:
        """Look into the database at the first batch."""
        self._is_known = False
        self._has_traces = False
        self._key = b""
        self._names: dict[bytes, tuple[int, int]] = {}

    def forget(self) -> None:
        """Look into the database again: something was erased."""
        self._is_known = False

    def among(self, db: sqlite3.Connection, traces: Sequence[Trace]) -> LeftOut:
        """Tell which of these traces, none of them stored, must not be stored."""
        if not self._is_known:
            self._read(db)
        if not traces or not (self._has_traces or self._names):
            return NOBODY
        found = known_forgotten(db, [trace.id for trace in traces]) if self._has_traces else set()
        named: dict[UUID, int] = {}
        if self._names:
            for trace in traces:
                if trace.id not in found and (change := self._change_of(trace)) is not None:
                    named[trace.id] = change
        return LeftOut(frozenset(found | named.keys()), tuple((id_.bytes, change) for id_, change in named.items()))

    def note(self, db: sqlite3.Connection, left_out: LeftOut) -> None:
        """Remember by their ids what was left out by name, inside the batch's transaction: it may come again."""
        if left_out.named:
            db.executemany(_FORGET_TRACE, left_out.named)
            self._is_known = False

    def letters_left(self, db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        """Leave the dead letters of erased traces out; to be asked after `among`."""
        if not letters or not self._has_traces:
            return letters
        gone = known_forgotten(db, [letter.trace_id for letter in letters if letter.trace_id])
        return [letter for letter in letters if letter.trace_id not in gone]

    def _read(self, db: sqlite3.Connection) -> None:
        key = db.execute(_KEY).fetchone()
        self._key = b"" if key is None else key[0]
        self._names = {row[0]: (row[1], row[2]) for row in db.execute(_NAMES)}
        self._has_traces = bool(db.execute(_ANY_TRACES).fetchone()[0])
        self._is_known = True

    def _change_of(self, trace: Trace) -> int | None:
        for kind, name in (("session", trace.session), ("user", trace.user)):
            if name is not None:
                until, change = self._names.get(_hash(self._key, kind, name), (None, 0))
                if until is not None and to_micros(trace.created_at) <= until:
                    return change
        return None


def _hash(key: bytes, kind: str, name: str) -> bytes:
    text = f"{kind}\n{name}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=_HASH_BYTES, key=key).digest()
