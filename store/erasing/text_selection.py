"""Which traces an erasure means that names what was said: found by the index, some at a time, and kept until they go.

To ask the index costs as much for one trace as for thousands, so many are found before the first of them goes. What was
found is remembered by its ids: a number may be given again meanwhile, an id never.
"""

import sqlite3
from datetime import datetime
from uuid import UUID

from store.erasing.selector import Picked, Selector
from store.id_list import number_list
from store.search_index import search_state
from store.search_query import SearchOffError

_MOST = 2_000
_NEWEST = "SELECT coalesce(max(number), 0) FROM nodes"
_IDS = "SELECT t.id FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"


class TextSelection:
    """What one erasure still has to take; what is forgotten by a kill is found again."""

    def __init__(self, selector: Selector, asked_at: datetime) -> None:
        """Begin with nothing found.

        Args:
            selector: An expression that searches texts.
            asked_at: UTC; calls that began later are not meant.
        """
        self._selector = selector
        self._asked_at = asked_at
        self._upto: dict[str, int] = {}
        self._ids: list[UUID] = []
        self._next_place: int | None = None
        self._is_all_found = False

    def is_indexed(self, db: sqlite3.Connection, phase: str) -> bool:
        """Tell whether the index has all messages that were stored when a phase began.

        Raises:
            SearchOffError: Texts are not indexed.
        """
        state = search_state(db)
        if not state.is_on:
            raise SearchOffError
        newest: int = db.execute(_NEWEST).fetchone()[0]
        # Fewer than then when some were erased meanwhile.
        return newest - state.behind >= min(self._upto.setdefault(phase, newest), newest)

    def find(self, db: sqlite3.Connection, place: int, deadline: float) -> bool:
        """Look for more traces if all that were found are gone; tell whether to look on before any goes.

        Args:
            db: Outside a transaction.
            place: Where to begin, if nothing was found before: what `take` said last.
            deadline: By the monotonic clock.

        Raises:
            SearchOffError: Texts are not indexed.
        """
        if self._ids or self._is_all_found:
            return False
        begin = place if self._next_place is None else self._next_place
        db.execute("BEGIN")  # texts and traces of one state
        try:
            picked = self._selector.pick(db, self._asked_at, begin, _MOST, deadline)
            self._ids = [UUID(bytes=row[0]) for row in db.execute(_IDS, number_list(picked.numbers))]
        finally:
            db.execute("ROLLBACK")
        self._next_place, self._is_all_found = picked.place, picked.is_done
        return not self._ids and not self._is_all_found

    def take(self, db: sqlite3.Connection, place: int, count: int) -> Picked:
        """Give some of the traces that were found, inside the transaction that erases them."""
        some, self._ids = self._ids[:count], self._ids[count:]
        numbers = Selector.of_traces(some).pick(db, self._asked_at, 0, count, 0.0).numbers
        if self._ids:
            return Picked(numbers, place, is_done=False)
        return Picked(numbers, self._next_place or place, is_done=self._is_all_found)
