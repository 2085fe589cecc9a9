"""What is to be erased: traces by their ids, by session, by user, by conversation, or by a filter expression."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import NamedTuple
from uuid import UUID

from store.conversation_lookup import conversation_of_id
from store.errors import FilterError
from store.filter import parse_filter
from store.id_list import WANTED, id_list
from store.search import TextMatches
from store.search_query import SearchQuery
from store.trace_rows import to_micros

MAX_TRACES = 10_000
"""Ids in one request; a journal entry holds them all."""
_WINDOW_ROWS = 2_000
"""Traces that a filter is held against between two looks at the clock."""
# ruff: noqa: S608 - the statements are put together from constants; a filter's SQL holds nothing of who wrote it
_NUMBERS = WANTED + "SELECT t.number FROM wanted w CROSS JOIN traces t ON t.id = w.id"
_OF_SESSION = """
    SELECT t.number FROM traces t WHERE t.session = :name AND t.created_at <= :until LIMIT :count
"""
_OF_USER = "SELECT t.number FROM traces t WHERE t.user = :name AND t.created_at <= :until LIMIT :count"
_OF_CONVERSATION = """
    SELECT t.id FROM conversation_traces s CROSS JOIN traces t ON t.number = s.trace
    WHERE s.conversation = :conversation AND t.created_at <= :until
"""
_WINDOW = "SELECT number FROM traces WHERE number > :place AND number <= :end"
_NEWEST = "SELECT coalesce(max(number), 0) FROM traces"


class SelectorKind(StrEnum):
    """By what traces are selected. A closed list."""

    TRACES = "traces"
    SESSION = "session"
    USER = "user"
    CONVERSATION = "conversation"
    WHERE = "where"


class Picked(NamedTuple):
    """Some traces of a selection.

    Attributes:
        numbers: Of their rows.
        place: Where to go on.
        is_done: Nothing comes after them.
    """

    numbers: list[int]
    place: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class Selector:
    """What is asked for.

    Attributes:
        kind: By what.
        value: The session, user, conversation's id or expression; of traces their ids with spaces between them.
    """

    kind: SelectorKind
    value: str

    @classmethod
    def of_traces(cls, ids: Sequence[UUID]) -> "Selector":
        """Select traces by their ids."""
        return cls(SelectorKind.TRACES, " ".join(map(str, ids)))

    @property
    def trace_ids(self) -> list[UUID]:
        """The ids, where traces are selected by ids."""
        return [UUID(each) for each in self.value.split()] if self.kind is SelectorKind.TRACES else []

    def encode(self) -> bytes:
        """Write it as the body of a change."""
        return json.dumps({self.kind.value: self.value}).encode()

    @classmethod
    def decode(cls, body: bytes) -> "Selector":
        """Read what `encode` wrote.

        Raises:
            ValueError: It is nothing that `encode` wrote; the message quotes nothing of it.
        """
        given = json.loads(body)
        if not isinstance(given, dict) or len(given) != 1:
            raise ValueError("an erasure names one of " + ", ".join(SelectorKind))
        name, value = next(iter(given.items()))
        if name not in list(SelectorKind) or not isinstance(value, str) or not value:
            raise ValueError("an erasure names one of " + ", ".join(SelectorKind))
        return cls(SelectorKind(name), value)

    def check(self) -> None:
        """Refuse what cannot be looked for.

        Raises:
            ValueError: An id is none, there are too many, or the expression cannot be understood.
        """
        if self.kind is SelectorKind.TRACES:
            try:
                count = len(self.trace_ids)
            except ValueError as exc:
                raise ValueError("a trace id is none") from exc
            if not 0 < count <= MAX_TRACES:
                raise ValueError(f"{count} trace ids; one erasure takes 1 to {MAX_TRACES}")
        if self.kind is SelectorKind.CONVERSATION:
            try:
                bytes.fromhex(self.value)
            except ValueError as exc:
                raise ValueError("a conversation's id is hexadecimal") from exc
        if self.kind is SelectorKind.WHERE:
            try:
                parse_filter(self.value)
            except FilterError as exc:
                raise ValueError(f"the expression cannot be understood at position {exc.position}") from exc

    @property
    def is_search(self) -> bool:
        """Whether texts have to be searched for it."""
        return self.kind is SelectorKind.WHERE and bool(parse_filter(self.value).searches)

    def condition(
        self, db: sqlite3.Connection, asked_at: datetime, numbers: Sequence[int]
    ) -> tuple[str, dict[str, object]]:
        """Give what it selects as a condition over `traces t`, with its parameters; of a resolved one alone.

        Args:
            db: Texts are searched in it.
            asked_at: UTC.
            numbers: The rows that it is asked about; of matter where texts are searched alone.

        Raises:
            SearchOffError: It searches texts, and they are not indexed.
        """
        until: dict[str, object] = {"until": to_micros(asked_at)}
        name = self.value.encode("utf-8", "surrogatepass")
        if self.kind is SelectorKind.TRACES:
            wanted = id_list(each.bytes for each in self.trace_ids)
            return f"t.id IN ({WANTED} SELECT id FROM wanted)", wanted
        if self.kind in (SelectorKind.SESSION, SelectorKind.USER):
            return f"t.{self.kind.value} = :name AND t.created_at <= :until", {**until, "name": name}
        selection = parse_filter(self.value)
        found = TextMatches(db, selection.searches).among(numbers) if selection.searches else {}
        return f"({selection.sql}) AND t.created_at <= :until", {**until, **selection.parameters, **found}

    def resolved(self, db: sqlite3.Connection, asked_at: datetime) -> "Selector | None":
        """Give a selector that means the same while traces go, None when it selects nothing.

        What is left of a conversation may be another one.
        """
        if self.kind is not SelectorKind.CONVERSATION:
            return self
        conversation = conversation_of_id(db, bytes.fromhex(self.value))
        wanted = {"conversation": conversation, "until": to_micros(asked_at)}
        ids = [UUID(bytes=row[0]) for row in db.execute(_OF_CONVERSATION, wanted)]
        return Selector.of_traces(ids) if ids else None

    def pick(self, db: sqlite3.Connection, asked_at: datetime, place: int, count: int, deadline: float) -> Picked:
        """Give some traces that the selector names and whose calls began by `asked_at`.

        Args:
            db: In a transaction.
            asked_at: UTC.
            place: Where the last picking said to go on; 0 at the beginning.
            count: Most traces.
            deadline: Give what is found by then, by the monotonic clock.

        Raises:
            SearchOffError: Texts are to be searched, and they are not indexed.
        """
        if self.kind is SelectorKind.TRACES:
            return self._pick_ids(db, place, count)
        wanted = {"until": to_micros(asked_at), "count": count}
        if self.kind in (SelectorKind.SESSION, SelectorKind.USER):
            sql = _OF_SESSION if self.kind is SelectorKind.SESSION else _OF_USER
            name = self.value.encode("utf-8", "surrogatepass")
            numbers = [row[0] for row in db.execute(sql, {**wanted, "name": name})]
            # What was picked is erased before more is picked.
            return Picked(numbers, 0, is_done=len(numbers) < count)
        return self._pick_by_filter(db, wanted, place, count, deadline)

    def _pick_ids(self, db: sqlite3.Connection, place: int, count: int) -> Picked:
        ids = self.trace_ids
        some = ids[place : place + count]
        numbers = [row[0] for row in db.execute(_NUMBERS, id_list(each.bytes for each in some))]
        return Picked(numbers, place + len(some), is_done=place + len(some) >= len(ids))

    def _pick_by_filter(
        self, db: sqlite3.Connection, wanted: dict[str, int], place: int, count: int, deadline: float
    ) -> Picked:
        sql, parameters, searches = _filter_statement(self.value)
        texts = TextMatches(db, searches)
        newest = db.execute(_NEWEST).fetchone()[0]
        numbers: list[int] = []
        while place < newest:
            end = place + _WINDOW_ROWS
            left: dict[str, object] = {
                **wanted,
                **parameters,
                "place": place,
                "end": end,
                "count": count - len(numbers),
            }
            if texts:
                window = [row[0] for row in db.execute(_WINDOW, {"place": place, "end": end})]
                left.update(texts.among(window))
            found = [row[0] for row in db.execute(sql, left)]
            numbers += found
            if len(numbers) >= count:
                return Picked(numbers, numbers[-1], is_done=False)
            place = end
            if time.monotonic() >= deadline:
                return Picked(numbers, place, is_done=place >= newest)
        return Picked(numbers, place, is_done=True)


@cache
def _filter_statement(expression: str) -> tuple[str, dict[str, object], Mapping[str, SearchQuery]]:
    selection = parse_filter(expression)
    sql = f"""
        SELECT t.number FROM traces t
        WHERE t.number > :place AND t.number <= :end AND +t.created_at <= :until AND ({selection.sql})
        ORDER BY t.number LIMIT :count
    """
    return sql, dict(selection.parameters), selection.searches
