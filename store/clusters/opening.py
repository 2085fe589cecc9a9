"""What calls open with: the first words of the user in each, found in the message tree without reading whole chats.

A call repeats its conversation from the start. What its user wants stands where the user first speaks, but what comes
before a *fork* is no part of that: an assistant's message that so many different user messages follow is an example of
the application's, or an answer to a greeting. The opening is then looked for behind it.
"""

import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from store.body import Cut, put_back, unpack
from store.filter import Filter
from store.filter_scan import Scan
from store.id_list import COSTS_OF, NODE_BLOBS_OF, number_list
from store.trace import JsonText
from store.trace_order import Order, Place
from store.trace_reader import TraceReader
from store.trace_rows import from_blob

FORK = 8
"""So many different user messages behind one assistant's are no one conversation's."""
_BATCH = 1_000
_TURNS = 2
"""What the user says first may be a greeting."""
_TEXTS_KEPT = 50_000
_IN_CHAT_FORM = frozenset({"chat.completions", "responses", "messages"})
_PATHS = """
    WITH RECURSIVE path (number, parent) AS (
        SELECT n.number, n.parent FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value
        UNION
        SELECT n.number, n.parent FROM path p CROSS JOIN nodes n ON n.number = p.parent
    )
    SELECT p.number, p.parent, n.role FROM path p CROSS JOIN nodes n ON n.number = p.number ORDER BY p.number
"""
_FOLLOWING = "SELECT role FROM nodes WHERE parent = :number LIMIT 64"
_BODY = "SELECT body FROM nodes WHERE number = :number"
_NEWEST = "SELECT coalesce(max(number), 0) FROM traces"


class Opening(NamedTuple):
    """How a call opens, and what is known of it.

    Attributes:
        is_chat: Whether it is part of a conversation; else there are no texts.
        instructions: What the reading function made of the first system message; empty without one.
        turns: The same of the user's messages, those of the first turn and of the second joined by line feeds.
        request: Number that calls with the same messages share; None without messages.
        model: That served it, else that was asked for.
        is_error: The call did not complete.
        cost: In 10^-12 dollars; None when it is not known.
        created_at: Microseconds since 1970 UTC.
    """

    trace_id: UUID
    is_chat: bool
    instructions: str
    turns: tuple[str, ...]
    request: int | None
    model: str | None
    is_error: bool
    cost: int | None
    created_at: int


class _Point(NamedTuple):
    """What was said on the way to a node: the first system message, and the user's messages by turn."""

    system: int | None = None
    turns: tuple[tuple[int, ...], ...] = ()
    is_answered: bool = False


async def openings(
    reader: TraceReader, where: Filter | None, read: Callable[[JsonText], str]
) -> AsyncIterator[list[Opening]]:
    """Yield how the calls of a selection open, oldest first and in bounded memory; later ones are left out.

    Args:
        reader: An open reader.
        where: The selection; None for all.
        read: Makes text of a message; called once for most messages, on another thread.

    Raises:
        FilterError: The selection searches texts, and they are not indexed.
        StoreError: The store cannot be read.
    """
    finder = _Finder(read)
    newest_row = await reader.look(lambda db: int(db.execute(_NEWEST).fetchone()[0]))
    place: Place | None = Order.OLDEST.start
    while place is not None:
        found, place = await reader.look(finder.next(where, place, newest_row))
        yield found


class _Finder:
    """Finds openings batch by batch, and remembers what it has read."""

    def __init__(self, read: Callable[[JsonText], str]) -> None:
        self._read = read
        self._forks: dict[int, bool] = {}
        self._texts: dict[int, str] = {}

    def next(
        self, where: Filter | None, place: Place, newest_row: int
    ) -> Callable[[sqlite3.Connection], tuple[list[Opening], Place | None]]:
        def look(db: sqlite3.Connection) -> tuple[list[Opening], Place | None]:
            rows, end = Scan(db, where, Order.OLDEST, newest_row=newest_row).look(place, _BATCH)
            return self._openings(db, rows), end

        return look

    def _openings(self, db: sqlite3.Connection, rows: list[sqlite3.Row]) -> list[Opening]:
        costs = dict(tuple(row) for row in db.execute(COSTS_OF, number_list(row["number"] for row in rows)))
        points = self._points(db, {row["request_node"] for row in rows if _is_chat(row)} - {None})
        if len(self._texts) > _TEXTS_KEPT:
            self._texts.clear()
        return [self._opening(db, row, points.get(row["request_node"]), costs.get(row["number"])) for row in rows]

    def _opening(self, db: sqlite3.Connection, row: sqlite3.Row, point: _Point | None, cost: int | None) -> Opening:
        point = point if point is not None and _is_chat(row) else _Point()
        return Opening(
            trace_id=UUID(bytes=row["id"]),
            is_chat=_is_chat(row),
            instructions="" if point.system is None else self._text(db, point.system),
            turns=tuple("\n".join(self._text(db, number) for number in turn) for turn in point.turns),
            request=row["request_node"],
            model=from_blob(row["served_model"] or row["requested_model"]),
            is_error=row["outcome"] != "completed",
            cost=cost,
            created_at=row["created_at"],
        )

    def _points(self, db: sqlite3.Connection, nodes: Iterable[int]) -> dict[int, _Point]:
        """Give the point of every node on the way to these; a parent has the lower number."""
        points: dict[int, _Point] = {}
        for number, parent, role in db.execute(_PATHS, number_list(nodes)):
            points[number] = self._behind(db, points.get(parent, _Point()), number, role)
        return points

    def _behind(self, db: sqlite3.Connection, point: _Point, number: int, role: bytes | None) -> _Point:
        if role in (b"system", b"developer"):
            return point if point.system is not None else point._replace(system=number)
        if role == b"user":
            if point.is_answered or not point.turns:
                turns = (*point.turns, (number,)) if len(point.turns) < _TURNS else point.turns
            elif len(point.turns) == _TURNS:
                turns = point.turns
            else:
                turns = (*point.turns[:-1], (*point.turns[-1], number))
            return point._replace(turns=turns, is_answered=False)
        if role == b"assistant" and self._is_fork(db, number):
            return _Point(point.system)
        return point if point.is_answered else point._replace(is_answered=True)

    def _is_fork(self, db: sqlite3.Connection, number: int) -> bool:
        known = self._forks.get(number)
        if known is None:
            roles = [row[0] for row in db.execute(_FOLLOWING, {"number": number})]
            known = self._forks[number] = roles.count(b"user") >= FORK
        return known

    def _text(self, db: sqlite3.Connection, number: int) -> str:
        text = self._texts.get(number)
        if text is None:
            # One message at a time: a few may be as large as images are.
            (body,) = db.execute(_BODY, {"number": number}).fetchone()
            cuts: dict[int, list[Cut]] = defaultdict(list)
            for row in db.execute(NODE_BLOBS_OF, number_list([number])):
                cuts[number].append(Cut(row["offset"], unpack(row["body"])))
            text = self._texts[number] = self._read(put_back(unpack(body), cuts[number]))
        return text


def _is_chat(row: sqlite3.Row) -> bool:
    return row["endpoint"] in _IN_CHAT_FORM
