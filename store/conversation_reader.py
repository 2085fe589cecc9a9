"""Reading conversations: which there are, the one with the newest call first, and one with all of its calls."""

# ruff: noqa: S608 - put together from constants and from filters, whose values are parameters.
import json
import sqlite3
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from uuid import UUID

from store.conversation_expressions import IS_LEAF, PARENT
from store.conversation_lookup import conversation_of_id, id_of_conversation
from store.conversation_settling import is_unsettled
from store.conversation_summary import ConversationPage, ConversationSummary, Member, WholeConversation
from store.errors import CursorError
from store.filter import EVERYTHING, Filter
from store.filter_condition import Condition
from store.filter_scan import Scan
from store.trace import Outcome
from store.trace_order import Order, Place, from_cursor, to_cursor
from store.trace_rows import from_blob, from_micros

_PAGE_S = 0.25
_MOST_COUNTED = 10_000
"""Of a conversation with more calls only so many are added up, the newest ones."""
_MOST_LEAVES = 500
_COST_UNITS = 10**12
"""In the table `costs`, to a dollar."""
_CURSOR = struct.Struct(">qq")


_IS_NEWEST = """
    EXISTS (
        SELECT 1 FROM conversation_traces s WHERE s.trace = t.number AND NOT EXISTS (
            SELECT 1 FROM conversation_traces n {traces}
            WHERE n.conversation = s.conversation AND n.created_at >= s.created_at
                AND (n.created_at > s.created_at OR n.trace > s.trace) AND ({where})
        )
    )
"""
_CONVERSATIONS_OF = """
    SELECT s.trace, s.conversation FROM json_each(:numbers) w CROSS JOIN conversation_traces s ON s.trace = w.value
"""
_MEMBERS = """
    FROM (SELECT * FROM conversation_traces WHERE conversation = :conversation ORDER BY created_at DESC LIMIT :most) s
    CROSS JOIN traces t ON t.number = s.trace
"""
_SUMMARY = f"""
    SELECT count(*), max(s.turn), max(s.continues IS NOT NULL AND s.place IS NULL), sum(t.prompt_tokens),
           sum(t.completion_tokens), json_group_array(DISTINCT hex(t.requested_model)),
           max(t.requested_model IS NULL), max(t.session), max(s.created_at), sum(c.cost)
    {_MEMBERS} LEFT JOIN costs c ON c.trace = s.trace
"""
_OUTCOMES = f"SELECT t.outcome, count(*) {_MEMBERS} GROUP BY t.outcome ORDER BY t.outcome"
_FIRST_AT = "SELECT min(created_at) FROM conversation_traces WHERE conversation = :conversation"
_LEAVES = f"SELECT count(*) {_MEMBERS} WHERE {IS_LEAF}"
_PAGE = f"""
    SELECT t.id, s.created_at, (SELECT p.id FROM traces p WHERE p.number = m.parent),
           (SELECT k.choice FROM conversation_replies k
            WHERE k.point = s.continues AND k.trace = m.parent
                AND k.created_at = (SELECT p.created_at FROM traces p WHERE p.number = m.parent)),
           s.continues IS NOT NULL AND s.place IS NULL, s.turn, {IS_LEAF},
           EXISTS (SELECT 1 FROM conversation_replies k
                   WHERE k.point >= s.request AND k.point < CAST(s.request || x'FFFFFFFFFFFFFFFFFF' AS BLOB)
                       AND k.trace <> s.trace AND length(s.request) > 0),
           EXISTS (SELECT 1 FROM conversation_traces o WHERE o.continues = s.continues AND o.request <> s.request),
           t.outcome, t.is_complete, t.requested_model, t.message_count, t.prompt_tokens, t.completion_tokens,
           s.trace
    FROM (SELECT s.trace, {PARENT} AS parent FROM conversation_traces s
          WHERE s.conversation = :conversation AND s.created_at >= :at AND (s.created_at > :at OR s.trace > :trace)
          ORDER BY s.created_at, s.trace LIMIT :most) m
    CROSS JOIN conversation_traces s ON s.trace = m.trace CROSS JOIN traces t ON t.number = m.trace
    ORDER BY s.created_at, s.trace
"""


def list_conversations(
    db: sqlite3.Connection, where: Filter | None = None, cursor: str | None = None, limit: int = 50
) -> ConversationPage:
    """List conversations with a call that a filter selects, the one with the newest such call first.

    As many as are found within a moment; pages neither repeat nor skip one while no call comes to it.

    Raises:
        CursorError: The cursor was not made by an earlier page.
    """
    place: Place | None = Order.NEWEST.start if cursor is None else from_cursor(Order.NEWEST, cursor)
    assert place is not None  # noqa: S101
    selection = where or EVERYTHING
    scan = Scan(db, _newest_of_each(selection))
    rows, end = scan.look(place, limit + 1, seconds=_PAGE_S)
    if len(rows) > limit:
        rows = rows[:limit]
        end = Order.NEWEST.place_of(rows[-1])
    numbers = [row["number"] for row in rows]
    of_trace = dict(tuple(row) for row in db.execute(_CONVERSATIONS_OF, {"numbers": json.dumps(numbers)}).fetchall())
    found = list(dict.fromkeys(of_trace[number] for number in numbers))
    if selection.searches:
        newest = {of_trace[number]: number for number in reversed(numbers)}
        found = [each for each in found if _newest_match(db, selection, each) == newest[each]]
    next_cursor = None if end is None else to_cursor(Order.NEWEST, end)
    return ConversationPage([_summary(db, each) for each in found], next_cursor, not is_unsettled(db))


def show_conversation(
    db: sqlite3.Connection, id_: str, cursor: str | None = None, limit: int = 500
) -> WholeConversation | None:
    """Give one conversation with its calls; None when no call has a conversation of this id.

    Raises:
        CursorError: The cursor was not made by an earlier page.
    """
    try:
        conversation = conversation_of_id(db, bytes.fromhex(id_)) if len(id_) == 40 else None
    except ValueError:
        return None
    if conversation is None:
        return None
    at, trace = (-(2**63), -1) if cursor is None else _from_cursor(cursor)
    wanted = {"conversation": conversation, "at": at, "trace": trace, "most": limit + 1}
    rows = [tuple(row) for row in db.execute(_PAGE, wanted).fetchall()]
    next_cursor = None
    if len(rows) > limit:
        rows = rows[:limit]
        next_cursor = urlsafe_b64encode(_CURSOR.pack(rows[-1][1], rows[-1][-1])).decode()
    members = [_member(row) for row in rows]
    return WholeConversation(_summary(db, conversation), members, next_cursor, not is_unsettled(db))


def _newest_of_each(selection: Filter) -> Filter:
    """Select of each conversation the newest of the calls that are selected."""
    if selection is EVERYTHING or selection.searches:
        # Texts are searched window by window, and the newest of all is asked for afterwards.
        newest = Condition(
            "EXISTS (SELECT 1 FROM conversation_traces s WHERE s.trace = t.number)"
            if selection.searches
            else _IS_NEWEST.format(traces="", where="1")
        )
    else:
        joined = "CROSS JOIN traces t ON t.number = n.trace"
        newest = Condition(_IS_NEWEST.format(traces=joined, where=selection.sql))
    return Filter(
        f"{selection.sql} AND {newest.sql}",
        selection.parameters,
        selection.expression,
        (*selection.conditions, newest),
        selection.searches,
    )


def _newest_match(db: sqlite3.Connection, selection: Filter, conversation: int) -> int | None:
    numbers = f"SELECT trace AS number FROM conversation_traces WHERE conversation = {conversation:d}"
    inside = Condition(f"t.number IN ({numbers})", numbers=numbers)
    within = Filter(
        f"{inside.sql} AND {selection.sql}",
        selection.parameters,
        selection.expression,
        (inside, *selection.conditions),
        selection.searches,
    )
    rows = Scan(db, within).look(Order.NEWEST.start, 1).rows
    return rows[0]["number"] if rows else None


def _summary(db: sqlite3.Connection, conversation: int) -> ConversationSummary:
    wanted = {"conversation": conversation, "most": _MOST_COUNTED}
    calls, turns, is_truncated, prompt, completion, models, no_model, session, last_at, cost = db.execute(
        _SUMMARY, wanted
    ).fetchone()
    names = sorted(from_blob(bytes.fromhex(name)) or "" for name in json.loads(models) if name)
    return ConversationSummary(
        id=id_of_conversation(db, conversation).hex(),
        session=from_blob(session),
        first_at=from_micros(db.execute(_FIRST_AT, wanted).fetchone()[0]),
        last_at=from_micros(last_at),
        calls=calls,
        turns=turns,
        leaves=db.execute(_LEAVES, wanted).fetchone()[0] if calls <= _MOST_LEAVES else None,
        is_truncated=bool(is_truncated),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost_usd=None if cost is None else cost / _COST_UNITS,
        models=(*names, None) if no_model else tuple(names),
        outcomes=dict(tuple(row) for row in db.execute(_OUTCOMES, wanted).fetchall()),
        is_whole=calls < _MOST_COUNTED,
    )


def _member(row: tuple[Any, ...]) -> Member:
    id_, created_at, parent, choice, is_truncated, turn, is_leaf, is_regenerated, is_edited = row[:9]
    outcome, is_complete, model, message_count, prompt_tokens, completion_tokens = row[9:15]
    return Member(
        UUID(bytes=id_),
        from_micros(created_at),
        None if parent is None else UUID(bytes=parent),
        choice,
        bool(is_truncated),
        turn,
        bool(is_leaf),
        bool(is_regenerated),
        bool(is_edited),
        Outcome(outcome),
        bool(is_complete),
        from_blob(model),
        message_count,
        prompt_tokens,
        completion_tokens,
    )


def _from_cursor(cursor: str) -> tuple[int, int]:
    try:
        at, trace = _CURSOR.unpack(urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, struct.error) as exc:
        raise CursorError(
            f"cursor {cursor[:80]!r} was not made by a page of a conversation; leave it out to begin at its first call"
        ) from exc
    return at, trace
