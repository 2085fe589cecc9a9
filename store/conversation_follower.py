"""Conversations, stitched as traces come in: what `store.conversation` says of all calls at once, kept up to date.

The rules are those of `docs/conversations.md`. What makes them cheap:

- What is stored of a call is the *point* that it goes on from, and never its parent: of the calls that made one point
  the times choose, when somebody asks. So the ten-thousandth call to give the same answer changes nothing.
- A call looks for its parent once, from the last reply in its request backwards, and nearly always finds it at the
  first one. Replies beyond that, which no call has made yet, are written down; who makes one late finds who waits.
- When two conversations turn out to be one, the smaller one takes the other's number: a call changes its number at
  most as often as its conversation can double.
- When a conversation may have come apart, because a call was erased or a window became ambiguous, its calls are taken
  out and stitched again, shortest first, in bounded steps (`settle`).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from store import conversation_statements as sql
from store.conversation_call import Call, call_of, load_calls
from store.conversation_placing import Placing
from store.conversation_windows import Changes, add_windows, remove_windows, settle_windows
from store.follower import StoredTrace
from store.id_list import id_list, number_list
from store.truncated_history import SaidBefore

_REMEMBERED = 20_000
_STEP_CALLS = 200
_STEPS_AT_ONCE = 5
"""A conversation that is taken apart is stitched again in the same transaction, up to so many steps."""


class Conversations:
    """The follower that keeps the tables `conversation_...`.

    Attributes:
        renamings: How often the number of a conversation has become another or been given up.
    """

    def __init__(self) -> None:
        self.renamings = 0
        self._said = SaidBefore()
        self._made: dict[bytes, int] = {}
        self._made_before: dict[bytes, int] = {}

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Stitch a batch."""
        said = self._said
        calls = [call for stored in traces if (call := call_of(stored, said)) is not None]
        if calls and self._take(db, calls):
            self._settle_now(db)

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Let go of traces; what went on from them is stitched again, as if they had never been."""
        self.forget()
        calls = load_calls(db, numbers, self._said)
        db.execute(sql.DELETE_UNSETTLED, number_list(numbers))
        db.executemany(sql.DELETE_TRACE, [(number,) for number in numbers])
        for call in calls:
            db.executemany(sql.DELETE_REPLY, call.reply_rows())
            db.executemany(sql.DELETE_WAIT, [(point, call.number) for point, _ in call.points()])
        orphans = {orphan for call in calls for orphan in _orphans(db, call)}
        changes = settle_windows(db, remove_windows(db, calls, self._said), self._said)
        self._apply(db, changes)
        self._take_apart(db, orphans)
        db.executemany(sql.DELETE_SESSION, [(call.session,) for call in calls if call.session is not None])
        self._settle_now(db)

    def remove_content(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Let go of traces whose messages go: what is left is part of no conversation but that of its session."""
        calls = [call for call in load_calls(db, numbers, self._said) if call.session is not None]
        self.remove(db, numbers)
        if calls:
            self._take(db, [call.without_content() for call in calls])

    def forget(self) -> None:
        """Drop what is remembered."""
        self._made, self._made_before = {}, {}

    def settle(self, db: sqlite3.Connection, most: int = _STEP_CALLS) -> int:
        """Stitch some of the calls that wait for it, the shortest first, inside a transaction; tell how many."""
        rows = [tuple(row) for row in db.execute(sql.UNSETTLED, {"most": most}).fetchall()]
        db.executemany(sql.SETTLED, rows)
        calls = load_calls(db, [trace for _, trace in rows], self._said)
        if calls:
            self._take(db, calls)
        return len(rows)

    def _settle_now(self, db: sqlite3.Connection) -> None:
        for _ in range(_STEPS_AT_ONCE):
            if self.settle(db) < _STEP_CALLS:
                break

    def _take(self, db: sqlite3.Connection, calls: list[Call]) -> bool:
        """Stitch calls that have no place yet; tell whether a conversation was taken apart."""
        placing = Placing(db, calls, self._find)
        placing.write(db)
        self._keep(placing.made)
        late = _adopt_waiting(db, placing.makers)
        for one, other in late.joined:
            self._join(db, one, other)
        sought = add_windows(db, calls, placing.roots, late.adopted, self._said)
        changes = settle_windows(db, sought, self._said) if sought else Changes()
        self._apply(db, changes)
        self._take_apart(db, late.apart)
        return bool(late.apart or changes.apart)

    def _apply(self, db: sqlite3.Connection, changes: Changes) -> None:
        for one, other in changes.joined:
            self._join(db, one, other)
        self._take_apart(db, changes.apart)

    def _find(self, point: bytes) -> int | None:
        found = self._made.get(point)
        return found if found is not None else self._made_before.get(point)

    def _keep(self, made: dict[bytes, int]) -> None:
        if len(self._made) >= _REMEMBERED:
            self._made_before, self._made = self._made, {}
        self._made.update(made)

    def _join(self, db: sqlite3.Connection, one: int, other: int) -> None:
        """Make one conversation of two, each named by the number of a call in it."""
        found = [_conversation_of(db, trace) for trace in (one, other)]
        if None in found or found[0] == found[1]:
            return
        # Counted side by side, so that the larger one is never counted to its end.
        most = 16
        while (sizes := [_count(db, conversation, most) for conversation in found]) == [most, most]:
            most *= 4
        old, new = found if sizes[0] <= sizes[1] else reversed(found)
        db.execute(sql.RENAME, {"old": old, "new": new})
        self.renamings += 1
        self.forget()

    def _take_apart(self, db: sqlite3.Connection, traces: Iterable[int]) -> None:
        """Let the conversations of these calls be stitched again."""
        for trace in traces:
            conversation = {"conversation": _conversation_of(db, trace)}
            db.execute(sql.TAKE_APART, conversation)
            db.execute(sql.DELETE_CONVERSATION, conversation)
            self.renamings += 1
            self.forget()


def _conversation_of(db: sqlite3.Connection, trace: int) -> int | None:
    row = db.execute(sql.CONVERSATION_OF, (trace,)).fetchone()
    return None if row is None else row[0]


def _count(db: sqlite3.Connection, conversation: int | None, most: int) -> int:
    counted: int = db.execute(sql.COUNT, {"conversation": conversation, "most": most}).fetchone()[0]
    return counted


def _orphans(db: sqlite3.Connection, call: Call) -> list[int]:
    """Give a call that goes on from each point that nobody makes any more."""
    rows = [db.execute(sql.ORPHAN, {"point": point}).fetchone() for point in call.replies]
    return [row[0] for row in rows if row is not None]


class _Late(NamedTuple):
    """What became of calls that waited.

    Attributes:
        joined: Pairs of traces that are in one conversation now.
        apart: Calls that had been joined by a window, and need it no more.
        adopted: All calls that have a parent now and had none.
    """

    joined: list[tuple[int, int]]
    apart: set[int]
    adopted: list[int]


def _adopt_waiting(db: sqlite3.Connection, makers: Mapping[bytes, int]) -> _Late:
    """Let the calls that waited for these points go on from them."""
    late = _Late([], set(), [])
    if not makers or not db.execute(sql.IS_ANYBODY_WAITING).fetchone()[0]:
        return late
    best: dict[int, tuple[int, bytes, bytes | None, int | None]] = {}
    rows = db.execute(sql.WAITING, id_list(makers)).fetchall()
    for point, trace, place, is_stitched, continues, old_place in rows:
        if is_stitched and place > (old_place or 0) and (trace not in best or place > best[trace][0]):
            best[trace] = (place, point, continues, old_place)
    db.executemany(sql.DELETE_WAITS, [(point,) for point in {row[0] for row in rows}])
    db.executemany(sql.CONTINUE, [(point, place, trace) for trace, (place, point, _, _) in best.items()])
    for trace, (_, point, continues, old_place) in best.items():
        if continues is not None and old_place is None:
            late.apart.add(trace)
        if old_place is None:
            late.adopted.append(trace)
            late.joined.append((trace, makers[point]))
    return late
