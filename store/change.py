"""Changes: what is asked of the store from outside the calls, such as feedback or a deletion.

`traces.db` has one writer. Whoever else wants something changed writes a change into a journal of its own, which is on
the disk before it is promised; the writer applies it once, in the transaction that moves the journal's position. The
table `changes` says what was asked, by whom, when it was done and what came of it: it is the audit log, too.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from store.trace_rows import from_micros, some_text, to_blob, to_micros


class ChangeKind(StrEnum):
    """What can be asked. A closed list."""

    FEEDBACK = "feedback"
    """Somebody's opinion of a trace or of one of its messages."""
    ERASE = "erase"
    """Traces, and everything made of them, are to go."""
    TRACES = "traces"
    """Traces that were recorded elsewhere. Known by the traces' own ids, they leave no row in the audit log."""
    IMPORT = "import"
    """A note for the audit log: an import, and what came of it."""
    EXPORT = "export"
    """A note for the audit log: contents left the store."""
    DATASET = "dataset"
    """A note for the audit log: a version of a dataset was frozen, discarded or decided about."""
    JOB = "job"
    """A note for the audit log: a job was deleted with all that lay in its folder."""
    CONVERSATIONS = "conversations"
    """All calls are to be stitched to conversations again."""
    REINGEST = "reingest"
    """Traces are to be derived again from their raw calls."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change as it is asked for.

    Attributes:
        id: UUIDv7, made by whoever asks; a change is applied once, however often it is read.
        asked_at: UTC.
        asked_by: Who asked, as far as that is known: the name of a token, a user of the machine; never a secret.
        body: What is asked; its form depends on the kind. Encoded by whoever asks.
    """

    id: UUID
    kind: ChangeKind
    asked_at: datetime
    asked_by: str | None = None
    body: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a change.

    Attributes:
        result: Counts and ids as JSON values, never content: it stays in the audit log.
        is_finished: False where chores have steps left to do; they set `finished_at` by `finish_change`.
        has_erased: Rows that a writer may remember are gone.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    is_finished: bool = True
    has_erased: bool = False


class Applier(Protocol):
    """Applies the changes of one kind."""

    def __call__(self, db: sqlite3.Connection, change: Change) -> Applied:
        """Apply a change inside the writer's transaction.

        Raises:
            ValueError: The body asks for nothing that can be done; that is the change's result, told by its message.
        """


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """A row of `changes`.

    Attributes:
        number: Counts up in the order in which changes were applied.
        finished_at: None while steps are left to do.
    """

    number: int
    id: UUID
    kind: str
    asked_at: datetime
    asked_by: str | None
    applied_at: datetime
    finished_at: datetime | None
    result: Mapping[str, Any]


_COLUMNS = "number, id, kind, asked_at, asked_by, applied_at, finished_at, result"
_INSERT = """
    INSERT INTO changes (id, kind, asked_at, asked_by, applied_at, finished_at, result)
    VALUES (:id, :kind, :asked_at, :asked_by, :applied_at, :finished_at, :result)
"""
_FINISH = "UPDATE changes SET finished_at = :finished_at, result = :result WHERE id = :id"
_FIND = f"SELECT {_COLUMNS} FROM changes WHERE id = :id"  # noqa: S608 - put together from constants
_LIST = f"""
    SELECT {_COLUMNS} FROM changes WHERE (:kind IS NULL OR kind = :kind) AND number < :before
    ORDER BY number DESC LIMIT :limit
"""  # noqa: S608 - put together from constants


def apply_change(db: sqlite3.Connection, change: Change, applier: Applier | None, now: datetime) -> Applied | None:
    """Apply a change inside the writer's transaction and note it; None when that was done before.

    A change that cannot be done changes nothing but the audit log, where `error` in its result says why.
    """
    if find_change(db, change.id) is not None:
        return None
    db.execute("SAVEPOINT change")
    try:
        applied = Applied(json.loads(change.body)) if applier is None else applier(db, change)
    except ValueError as error:
        db.execute("ROLLBACK TO change")
        applied = Applied({"error": str(error)})
    db.execute("RELEASE change")
    db.execute(
        _INSERT,
        {
            "id": change.id.bytes,
            "kind": change.kind.value,
            "asked_at": to_micros(change.asked_at),
            "asked_by": to_blob(change.asked_by),
            "applied_at": to_micros(now),
            "finished_at": to_micros(now) if applied.is_finished else None,
            "result": json.dumps(applied.result).encode(),
        },
    )
    return applied


def finish_change(db: sqlite3.Connection, id_: UUID, result: Mapping[str, Any], now: datetime) -> None:
    """Note, inside a transaction, that the last step of a change is done."""
    db.execute(_FINISH, {"id": id_.bytes, "result": json.dumps(result).encode(), "finished_at": to_micros(now)})


def find_change(db: sqlite3.Connection, id_: UUID) -> ChangeRecord | None:
    """Give what became of a change; None when it has not been applied yet."""
    row = db.execute(_FIND, {"id": id_.bytes}).fetchone()
    return None if row is None else _record(tuple(row))


def list_changes(
    db: sqlite3.Connection, kind: ChangeKind | None = None, *, before: int | None = None, limit: int = 50
) -> list[ChangeRecord]:
    """List changes, the last applied first; `before` is the number of the last one of the page before."""
    wanted = {"kind": kind and kind.value, "before": 2**62 if before is None else before, "limit": limit}
    return [_record(tuple(row)) for row in db.execute(_LIST, wanted).fetchall()]


def _record(row: tuple[Any, ...]) -> ChangeRecord:
    number, id_, kind, asked_at, asked_by, applied_at, finished_at, result = row
    return ChangeRecord(
        number,
        UUID(bytes=id_),
        kind,
        from_micros(asked_at),
        None if asked_by is None else some_text(asked_by),
        from_micros(applied_at),
        None if finished_at is None else from_micros(finished_at),
        json.loads(result),
    )
