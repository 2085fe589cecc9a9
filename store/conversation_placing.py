"""Places for new calls: what each goes on from, and in which conversation it is."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any

from store import conversation_statements as sql
from store.conversation_call import Call
from store.id_list import id_list


class Placing:
    """A batch of calls with their places.

    Attributes:
        made: The conversation of each point that the batch makes.
        makers: A call of the batch that makes it.
        roots: Calls of no session that go on from no reply by their whole history.
    """

    def __init__(self, db: sqlite3.Connection, calls: Sequence[Call], find: Callable[[bytes], int | None]) -> None:
        """Find the places.

        Args:
            db: Inside a transaction.
            calls: The shortest first, since a parent's request is shorter than its child's.
            find: Gives the conversation of a point that is remembered.
        """
        self.made: dict[bytes, int] = {}
        self.makers: dict[bytes, int] = {}
        self.roots: list[Call] = []
        self._find = find
        self._given: int = db.execute(sql.LAST_GIVEN).fetchone()[0]
        self._first_given = self._given
        self._known = self._look_up_points(db, calls)
        self._requests = self._look_up_requests(db, calls)
        self._sessions = _look_up(db, sql.KNOWN_SESSIONS, {call.session for call in calls if call.session is not None})
        self._new_sessions: list[tuple[bytes, int]] = []
        self._traces: list[tuple[Any, ...]] = []
        self._replies: list[tuple[Any, ...]] = []
        self._waits: list[tuple[bytes, int, int]] = []
        for call in calls:
            self._place(call)

    def write(self, db: sqlite3.Connection) -> None:
        """Insert the rows."""
        db.executemany(sql.INSERT_TRACE, self._traces)
        db.executemany(sql.INSERT_REPLY, self._replies)
        if self._waits:
            db.executemany(sql.INSERT_WAIT, self._waits)
        if self._new_sessions:
            db.executemany(sql.INSERT_SESSION, self._new_sessions)
        if self._given != self._first_given:
            db.execute(sql.GIVE, {"given": self._given})

    def _look_up_points(self, db: sqlite3.Connection, calls: Sequence[Call]) -> dict[bytes, int]:
        fresh = {point for call in calls for point in call.replies}
        asked: dict[bytes, None] = {}
        for call in calls:
            for point, _ in call.points():
                if point in fresh or self._find(point) is not None:
                    break
                asked[point] = None
        return _look_up(db, sql.MADE_POINTS, asked)

    def _look_up_requests(self, db: sqlite3.Connection, calls: Sequence[Call]) -> dict[bytes, int]:
        """Look only for those that may be roots: what holds a reply that somebody made has its place by that."""
        roots = {call.request for call in calls if call.session is None and self._parent(call) is None}
        return _look_up(db, sql.KNOWN_REQUESTS, roots)

    def _parent(self, call: Call) -> tuple[bytes, int, int] | None:
        """Give the point that a call goes on from, its place, and its conversation."""
        for point, place in call.points():
            conversation = self.made.get(point)
            if conversation is None:
                conversation = self._find(point)
            if conversation is None:
                conversation = self._known.get(point)
            if conversation is not None:
                return point, place, conversation
        return None

    def _place(self, call: Call) -> None:
        parent = self._parent(call)
        continues, place, conversation = (None, None, None) if parent is None else parent
        if call.session is not None:
            conversation = self._session(call.session)
        elif conversation is None:
            self.roots.append(call)
            conversation = self._requests.get(call.request)
            if conversation is None:
                conversation = self._requests[call.request] = self._give()
        for point, at in call.points():
            if point == continues:
                break
            self._waits.append((point, call.number, at))
        for point in call.replies:
            self.made[point] = conversation
            self.makers[point] = call.number
        self._traces.append((call.number, conversation, call.created_at, call.turn, call.request, continues, place))
        self._replies += call.reply_rows()

    def _session(self, session: bytes) -> int:
        conversation = self._sessions.get(session)
        if conversation is None:
            conversation = self._sessions[session] = self._give()
            self._new_sessions.append((session, conversation))
        return conversation

    def _give(self) -> int:
        self._given += 1
        return self._given


def _look_up(db: sqlite3.Connection, statement: str, keys: Collection[bytes]) -> dict[bytes, int]:
    return dict(db.execute(statement, id_list(keys)).fetchall()) if keys else {}
