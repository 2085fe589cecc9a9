"""Feedback: what people and programs think of a trace, of one of its messages, or of one of its replies.

Entries are only ever added. Of those that one person gave under one name to one thing, the last counts; a retraction is
an entry, too. They hang on the trace's id and not on its row, since a client may judge an answer before it is stored.
"""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from store import json_text
from store.body import Packer, unpack
from store.change import Applied, Change
from store.feedback_form import FeedbackError, FeedbackKind, Given, read_request
from store.id_list import WANTED, id_list
from store.trace import JsonText, Trace
from store.trace_reader import TraceReader
from store.trace_rows import from_blob, from_micros, some_text, to_blob, to_micros

_ALONG_TRACES = 64
_ALONG_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Feedback:
    """One entry.

    Attributes:
        id: Of the change that asked for it.
        trace_id: Of a trace that may not be stored, or not yet.
        given: What was said; `given.by` is who said it, None when nobody knows.
        at: When it was asked for, UTC.
        is_current: Whether it counts: the last word of that person under this name on this thing, and no retraction.
    """

    id: UUID
    trace_id: UUID
    given: Given
    at: datetime
    is_current: bool


class Target(NamedTuple):
    """What of a trace feedback can be about.

    Attributes:
        choices: Indexes of its replies.
        message_roles: Roles of the request's messages, None for one without; empty when the messages are not kept.
    """

    message_count: int
    choices: tuple[int, ...]
    message_roles: tuple[str | None, ...]


_COLUMNS = "f.id, f.trace_id, f.message, f.choice, f.name, f.kind, f.body, f.given_by, f.given_at, f.is_current"
# ruff: noqa: S608 - the statements are put together from constants
_INSERT = """
    INSERT INTO feedback
        (id, trace_id, message, choice, name, kind, score, body, given_by, given_at, is_current)
    VALUES
        (:id, :trace_id, :message, :choice, :name, :kind, :score, :body, :given_by, :given_at, 0)
"""
# Entries may come in another order than they were given in, from several journals.
_CHOOSE = """
    UPDATE feedback SET is_current = kind <> 'retraction' AND id = (
        SELECT o.id FROM feedback o
        WHERE o.trace_id = :trace_id AND o.name = :name AND o.given_by IS :given_by
          AND o.message IS :message AND o.choice IS :choice
        ORDER BY o.given_at DESC, o.id DESC LIMIT 1
    )
    WHERE trace_id = :trace_id AND name = :name AND given_by IS :given_by
      AND message IS :message AND choice IS :choice
"""
_OF_TRACE = f"SELECT {_COLUMNS} FROM feedback f WHERE f.trace_id = :trace_id ORDER BY f.given_at, f.id"
_ONE = f"SELECT {_COLUMNS} FROM feedback f WHERE f.id = :id"
_CURRENT = f"""{WANTED}
    SELECT {_COLUMNS} FROM wanted w CROSS JOIN feedback f ON f.trace_id = w.id
    WHERE f.is_current = 1 ORDER BY f.given_at, f.id
"""
_ERASE = f"{WANTED} DELETE FROM feedback WHERE trace_id IN (SELECT id FROM wanted)"
_TRACE = "SELECT number, message_count, request_node FROM traces WHERE id = :id"
_CHOICES = "SELECT choice_index FROM replies WHERE trace = :number ORDER BY position"
_ROLES = """
    WITH RECURSIVE path (number, parent, role, depth) AS (
        SELECT n.number, n.parent, n.role, 0 FROM nodes n WHERE n.number = :node
        UNION ALL
        SELECT n.number, n.parent, n.role, p.depth + 1 FROM path p CROSS JOIN nodes n ON n.number = p.parent
    )
    SELECT role FROM path ORDER BY depth DESC
"""


def apply_feedback(db: sqlite3.Connection, change: Change) -> Applied:
    """Add one entry; the applier of `ChangeKind.FEEDBACK`.

    Raises:
        FeedbackError: The change asks for no feedback, or for some on what the stored trace has not.
    """
    trace_id, given = read_request(change.body)
    target = find_target(db, trace_id)
    if target is not None:
        check_target(given, target)
    row: dict[str, object] = {
        "id": change.id.bytes,
        "trace_id": trace_id.bytes,
        "message": given.message,
        "choice": given.choice,
        "name": to_blob(given.name),
        "kind": given.kind.value,
        "score": given.score,
        "body": Packer().pack(given.value),
        "given_by": to_blob(given.by or change.asked_by),
        "given_at": to_micros(change.asked_at),
    }
    db.execute(_INSERT, row)
    db.execute(_CHOOSE, row)
    return Applied({"trace_id": str(trace_id), "feedback": 1, "is_trace_known": target is not None})


def find_target(db: sqlite3.Connection, trace_id: UUID) -> Target | None:
    """Tell what of a trace feedback can be about; None when the trace is not stored."""
    row = db.execute(_TRACE, {"id": trace_id.bytes}).fetchone()
    if row is None:
        return None
    number, message_count, node = row
    choices = db.execute(_CHOICES, {"number": number}).fetchall()
    roles = [] if node is None else db.execute(_ROLES, {"node": node}).fetchall()
    return Target(message_count, tuple(choice for (choice,) in choices), tuple(from_blob(role) for (role,) in roles))


def check_target(given: Given, target: Target) -> None:
    """Check that the trace has what the feedback is about.

    Raises:
        FeedbackError: It has no such message or choice, or a demonstration stands for a message of somebody else.
    """
    if given.message is not None:
        if given.message >= target.message_count:
            raise FeedbackError("message", f"the request has {target.message_count} messages, counted from 0.")
        role = target.message_roles[given.message] if target.message_roles else "assistant"
        if given.kind is FeedbackKind.DEMONSTRATION and role != "assistant":
            raise FeedbackError("message", f"a demonstration stands for an answer, and this message is of {role}.")
    if given.choice is not None and target.choices and given.choice not in target.choices:
        raise FeedbackError("choice", f"the trace has the choices {', '.join(map(str, target.choices))}.")


def feedback_of(db: sqlite3.Connection, trace_id: UUID) -> list[Feedback]:
    """Give every entry on a trace in the order in which they were given, those that no longer count too."""
    return [_entry(tuple(row)) for row in db.execute(_OF_TRACE, {"trace_id": trace_id.bytes}).fetchall()]


def find_feedback(db: sqlite3.Connection, id_: UUID) -> Feedback | None:
    """Give one entry by its own id."""
    row = db.execute(_ONE, {"id": id_.bytes}).fetchone()
    return None if row is None else _entry(tuple(row))


def current_feedback(db: sqlite3.Connection, trace_ids: Iterable[UUID]) -> dict[UUID, list[Feedback]]:
    """Give the entries that count by trace; traces without any are left out."""
    found: dict[UUID, list[Feedback]] = {}
    for row in db.execute(_CURRENT, id_list(id_.bytes for id_ in trace_ids)).fetchall():
        entry = _entry(tuple(row))
        found.setdefault(entry.trace_id, []).append(entry)
    return found


def erase(db: sqlite3.Connection, trace_ids: Collection[bytes]) -> int:
    """Delete all feedback on traces, stored or not, inside a transaction; give the number of entries.

    Args:
        db: The writer's connection.
        trace_ids: The 16 bytes of each.
    """
    db.execute(_ERASE, id_list(trace_ids))
    # The cursor's own count leaves out statements that begin with `WITH`.
    return int(db.execute("SELECT changes()").fetchone()[0])


async def along(reader: TraceReader, traces: AsyncIterator[Trace]) -> AsyncIterator[tuple[Trace, Sequence[Feedback]]]:
    """Give traces in their order, each with the feedback that counts, some dozens of them in memory."""
    held: list[Trace] = []
    held_bytes = 0
    async for trace in traces:
        held.append(trace)
        held_bytes += trace.request_bytes + trace.response_bytes
        if len(held) >= _ALONG_TRACES or held_bytes >= _ALONG_BYTES:
            for pair in await _paired(reader, held):
                yield pair
            held, held_bytes = [], 0
    for pair in await _paired(reader, held):
        yield pair


def feedback_json(entry: Feedback) -> JsonText:
    """Give every field of an entry; `value` is the very text that came."""
    plain = json_text.dumps
    given = entry.given
    fields = {
        "id": plain(str(entry.id)),
        "trace_id": plain(str(entry.trace_id)),
        "name": plain(given.name),
        "kind": plain(given.kind.value),
        "value": given.value,
        "message": plain(given.message),
        "choice": plain(given.choice),
        "by": plain(given.by),
        "at": plain(entry.at.isoformat()),
        "is_current": plain(entry.is_current),
    }
    return b"{" + b",".join(plain(name) + b":" + text for name, text in fields.items()) + b"}"


def feedback_list_json(entries: Iterable[Feedback]) -> JsonText:
    """Give entries as a JSON array."""
    return b"[" + b",".join(feedback_json(entry) for entry in entries) + b"]"


async def _paired(reader: TraceReader, traces: Sequence[Trace]) -> list[tuple[Trace, Sequence[Feedback]]]:
    if not traces:
        return []
    found = await reader.look(lambda db: current_feedback(db, [trace.id for trace in traces]))
    return [(trace, found.get(trace.id, ())) for trace in traces]


def _entry(row: tuple[Any, ...]) -> Feedback:
    id_, trace_id, message, choice, name, kind, body, given_by, given_at, is_current = row
    return Feedback(
        UUID(bytes=id_),
        UUID(bytes=trace_id),
        Given(some_text(name), FeedbackKind(kind), unpack(body), message, choice, from_blob(given_by)),
        from_micros(given_at),
        bool(is_current),
    )
