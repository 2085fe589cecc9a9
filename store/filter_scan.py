"""Finding the next traces of a selection in an order, in small looks, so that a look can end before it has taken long.

A selection is read in *windows*: stretches of the order, each read whole. What is in a window is proposed either by the
order's own index, or by one condition of the selection that finds its traces by itself (`Condition.streams` in the
order of time, `Condition.numbers` all at once). Which one is found by trying: of every way the first traces are asked
for, and the way wins whose traces end soonest, or reach furthest. So a rare value is found at once, whatever it is
combined with, and a common one fills a page by going through what is newest.

When the time is up, the place reached is a place like any other: the next look goes on there.
"""

# ruff: noqa: S608 - put together from constants and from filters, whose values are parameters.
import json
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from store.errors import FilterError
from store.filter import EVERYTHING, Filter
from store.filter_condition import Condition
from store.id_list import number_list
from store.search import TextMatches
from store.search_query import SearchOffError
from store.trace_order import Order, Place

_FIRST_WINDOW = 250
_LARGEST_WINDOW = 50_000
_LARGEST_PROPOSAL = 4_000
_WINDOW_S = 0.015
"""What a window should take: windows grow until they do."""
_GROWTH = 2.0
"""At most from one window to the next: what comes next may lie on the disk, where what came before was in memory."""
_MOST_NUMBERS = 2_500
"""More traces than these are not read and sorted for one page."""
_PART_NUMBERS = 200
_READING_SHARE = 0.5
"""Of a look's time, what the traces of one condition may take to be read from the disk, before another way is gone."""
_READ = "SELECT max(t.created_at) FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"
_FURTHER = 4
"""A proposed trace is read for this many times what one costs in the order's own index."""


class Found(NamedTuple):
    """What a look came to.

    Attributes:
        rows: Rows of `traces`, in order.
        place: Where the next look goes on; None when nothing is left.
    """

    rows: list[sqlite3.Row]
    place: Place | None


class Count(NamedTuple):
    """How many there are, and whether all were counted before the time was up."""

    traces: int
    is_whole: bool


class _Proposal(NamedTuple):
    """Traces that come next, from one way to find them.

    Attributes:
        numbers: Of their rows, in any order.
        upto: Every trace whose key comes before this one is among them; None when these are all that are left.
    """

    numbers: Sequence[int]
    upto: float | None


class _Window(NamedTuple):
    """A stretch of the order: where its traces come from, what bounds it, and the place behind it."""

    source: str
    bound: str
    parameters: dict[str, object]
    end: Place | None


class Scan:
    """Looks at one selection, within a transaction."""

    def __init__(
        self,
        db: sqlite3.Connection,
        selection: Filter | None,
        order: Order = Order.NEWEST,
        *,
        newest_row: int = 2**63 - 1,
    ) -> None:
        """Prepare; traces with rows above `newest_row` are left out.

        Raises:
            FilterError: It searches texts, and they are not indexed.
        """
        self._db = db
        self._selection = selection or EVERYTHING
        self._order = order
        self._parameters = {**self._selection.parameters, "newest_row": newest_row}
        try:
            self._texts = TextMatches(db, self._selection.searches)
        except SearchOffError as exc:
            message = (
                "texts are not indexed here, so text cannot be searched. Set search to true and restart the server."
            )
            raise FilterError(message, self._selection.expression, 1) from exc
        sign, self._turn = ("<", "DESC") if order.is_descending else (">", "ASC")
        key, tie = f"t.{order.column}", f"t.{order.tie}"
        # Said twice, as SQLite takes one bound of a pair for an index and not two.
        self._behind = f"({key}, {tie}) {sign} (:place_key, :place_tie) AND {key} IS NOT NULL"
        self._sort = f"ORDER BY {key} {self._turn}, {tie} {self._turn}"
        self._within = f"({key}, {tie}) {'>=' if order.is_descending else '<='} (:end_key, :end_tie)"
        self._before = f"{key} {'>' if order.is_descending else '<'} :end_key"
        self._own = f"traces t INDEXED BY {order.sql_index}"

    @property
    def texts(self) -> TextMatches:
        """What the full-text index says."""
        return self._texts

    def look(self, place: Place, count: int, *, seconds: float | None = None) -> Found:
        """Give the next traces behind a place.

        Args:
            place: Where to begin.
            count: At most so many.
            seconds: End about then with what was found; None to look until there are so many or none are left.
        """
        ends_at = None if seconds is None else time.monotonic() + seconds
        begin, stop = self._times(place)
        rows: list[sqlite3.Row] = []
        way, size = self._way(begin, None if seconds is None else seconds * _READING_SHARE), _FIRST_WINDOW
        while True:
            began = time.monotonic()
            window = self._window(way, begin, size)
            rows += self._rows(window, begin, count - len(rows))
            if len(rows) >= count:
                return Found(rows, self._order.place_of(rows[-1]))
            if window.end is None or (stop is not None and self._order.is_beyond(window.end.key, stop)):
                return Found(rows, None)
            begin = window.end
            now = time.monotonic()
            if ends_at is not None and now >= ends_at:
                return Found(rows, begin)
            largest = _LARGEST_WINDOW if way is None and not self._texts else _LARGEST_PROPOSAL
            should_take = _WINDOW_S if ends_at is None else min(_WINDOW_S, ends_at - now)
            size = min(largest, max(_FIRST_WINDOW, int(size * min(_GROWTH, should_take / max(now - began, 1e-6)))))

    def count(self, seconds: float) -> Count:
        """Count the traces of the selection, until so much time is up."""
        if self._selection is EVERYTHING:
            return Count(self._db.execute("SELECT count(*) FROM traces").fetchone()[0], is_whole=True)
        ends_at = time.monotonic() + seconds
        place: Place | None = self._order.start
        counted = 0
        while place is not None and (left := ends_at - time.monotonic()) > 0:
            rows, place = self.look(place, _LARGEST_PROPOSAL, seconds=left)
            counted += len(rows)
        return Count(counted, place is None)

    def _times(self, place: Place) -> tuple[Place, float | None]:
        """Give where to begin and the key behind which nothing can hold, by what the selection says of the time."""
        if not self._order.is_of_time:
            return place, None
        since = max((each.since for each in self._selection.conditions if each.since is not None), default=None)
        until = min((each.until for each in self._selection.conditions if each.until is not None), default=None)
        first, last = (until, since) if self._order.is_descending else (since, until)
        if first is not None and self._order.is_beyond(first, place.key):
            place = self._order.before(first)
        return place, last

    def _way(self, place: Place, reading_s: float | None) -> "Condition | Sequence[int] | None":
        """Choose what proposes: a condition by its streams, all the traces themselves, or None for the order's own."""
        complete = self._complete()
        if complete is not None and len(complete) <= _FIRST_WINDOW:
            return complete
        if complete is not None and reading_s is not None and not self._can_be_read(complete, reading_s):
            complete = None  # what was read of them helps the next look
        if not self._order.is_of_time:
            return complete
        best: Condition | None = None
        own = self._own_end(place, _FURTHER * _FIRST_WINDOW)
        if own is None:
            return complete
        furthest = own.key
        for condition in self._selection.conditions:
            if not condition.streams:
                continue
            proposal = self._propose(condition, place, _FIRST_WINDOW)
            if proposal.upto is None:
                return condition
            if self._order.is_beyond(proposal.upto, furthest):
                best, furthest = condition, proposal.upto
        return best if complete is None else complete

    def _can_be_read(self, numbers: Sequence[int], seconds: float) -> bool:
        """Read traces that lie anywhere in the file, for so long; tell whether that was enough for all."""
        ends_at = time.monotonic() + seconds
        for at in range(0, len(numbers), _PART_NUMBERS):
            if time.monotonic() >= ends_at:
                return False
            self._db.execute(_READ, number_list(numbers[at : at + _PART_NUMBERS])).fetchone()
        return True

    def _complete(self) -> Sequence[int] | None:
        """Give all traces for which some condition holds, of that which has the fewest; None where each has many."""
        best: Sequence[int] | None = None
        for condition in self._selection.conditions:
            found: Sequence[int] | None = None
            if condition.numbers is not None:
                sql = f"{condition.numbers} LIMIT {_MOST_NUMBERS + 1}"
                rows = self._db.execute(sql, self._parameters).fetchall()
                found = None if len(rows) > _MOST_NUMBERS else list({row[0] for row in rows})
            elif condition.is_search:
                found = self._texts.all_of(condition.words[0])
            if found is not None and len(found) <= _MOST_NUMBERS and (best is None or len(found) < len(best)):
                best = found
        return best

    def _window(self, way: "Condition | Sequence[int] | None", place: Place, size: int) -> _Window:
        proposed = "json_each(:proposed) w CROSS JOIN traces t ON t.number = w.value"
        if way is None:
            end = self._own_end(place, size)
            bound = "1" if end is None else self._within
            behind: dict[str, object] = {} if end is None else {"end_key": end.key, "end_tie": end.tie}
            return _Window(self._own, bound, behind, end)
        if not isinstance(way, Condition):
            return _Window(proposed, "1", {"proposed": json.dumps(list(way))}, None)
        numbers, upto = self._propose(way, place, size)
        parameters: dict[str, object] = {"proposed": json.dumps(list(numbers)), "end_key": upto}
        if upto is None:
            return _Window(proposed, "1", parameters, None)
        return _Window(proposed, self._before, parameters, self._order.before(int(upto)))

    def _own_end(self, place: Place, size: int) -> Place | None:
        """Give the place `size` traces further on in the order's own index; None when fewer are left."""
        key, tie = self._order.column, self._order.tie
        sql = f"SELECT t.{key}, t.{tie} FROM {self._own} WHERE {self._behind} {self._sort} LIMIT 1 OFFSET :size"
        row = self._db.execute(sql, {"place_key": place.key, "place_tie": place.tie, "size": size - 1}).fetchone()
        return None if row is None else Place(*row)

    def _propose(self, condition: Condition, place: Place, size: int) -> _Proposal:
        """Ask a condition's streams for the next traces; of several streams, as far as the shortest reaches."""
        sign = "<=" if self._order.is_descending else ">="
        while True:
            numbers: set[int] = set()
            upto: float | None = None
            for stream in condition.streams:
                sql = f"{stream} AND created_at {sign} :place_key ORDER BY created_at {self._turn} LIMIT :size"
                rows = self._db.execute(sql, {**self._parameters, "place_key": place.key, "size": size}).fetchall()
                numbers.update(row[0] for row in rows)
                if len(rows) == size and (upto is None or self._order.is_beyond(upto, rows[-1][1])):
                    upto = rows[-1][1]
            if upto is None or self._order.is_beyond(upto, place.key):
                return _Proposal(sorted(numbers), upto)
            # So many traces of one moment that no end of it is in sight.
            size *= 4

    def _rows(self, window: _Window, place: Place, count: int) -> list[sqlite3.Row]:
        parameters = {**self._parameters, **window.parameters, "place_key": place.key, "place_tie": place.tie}
        source, bound = window.source, f"{self._behind} AND {window.bound} AND t.number <= :newest_row"
        if self._texts:
            plain = [each.sql for each in self._selection.conditions if not each.words]
            sql = f"SELECT t.number FROM {source} WHERE {' AND '.join([bound, *plain])}"
            numbers = [row[0] for row in self._db.execute(sql, parameters)]
            parameters.update(self._texts.among(numbers))
            source = "json_each(:proposed) w CROSS JOIN traces t ON t.number = w.value"
            parameters.update(proposed=number_list(numbers)["numbers"])
        sql = f"SELECT t.* FROM {source} WHERE {bound} AND ({self._selection.sql}) {self._sort} LIMIT :count"
        return self._db.execute(sql, {**parameters, "count": count}).fetchall()
