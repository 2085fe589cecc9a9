"""Counts, tokens, cost and latency of calls, by what they have in common.

Without a filter they are read from the sums by day and cost the same however many traces there are; a filter has every
trace that it selects read, and the report says so.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from store import json_text
from store.filter import Filter, parse_filter
from store.filter_scan import Scan
from store.id_list import number_list
from store.json_text import JsonValue
from store.latency_histogram import Histogram, percentile
from store.price import PriceBook, dollars
from store.token_counts import TokenCounts
from store.trace import JsonText, Outcome
from store.trace_order import Order, Place
from store.trace_reader import TraceReader
from store.usage import COUNTED_CALLS, Call, counted_calls, current_book, read_state, uncounted_calls
from store.usage_days import counted_days, group_calls, uncounted_at_most
from store.usage_groups import Group, GroupKey

_EPOCH = date(1970, 1, 1)
_AT_ONCE = 2000
_NO_ERROR = frozenset({Outcome.COMPLETED.value, Outcome.CLIENT_DISCONNECT.value})


class Dimension(StrEnum):
    """What calls can be grouped by."""

    MODEL = "model"
    """The requested model."""
    SERVED_MODEL = "served_model"
    ROUTE = "route"
    UPSTREAM = "upstream"
    DAY = "day"
    """Of the call's arrival, UTC."""
    OUTCOME = "outcome"
    STATUS = "status"
    """First digit of the status with `xx`; null where no answer came."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls are counted.

    Attributes:
        first: Day from which on, UTC; None for all. The same for `last`, which is included.
        where: An expression of the filter language; None for all.
    """

    first: date | None = None
    last: date | None = None
    where: str | None = None

    def filter(self) -> Filter | None:
        """Give all of it as one filter; None where there is no `where`.

        Raises:
            FilterError: `where` cannot be understood.
        """
        if self.where is None or not self.where.strip():
            return None
        parse_filter(self.where)  # so that a fault is told by its place in what was written
        parts = [f"({self.where})"]
        if self.first is not None:
            parts.append(f"created_at >= {self.first.isoformat()}")
        if self.last is not None:
            parts.append(f"created_at < {(self.last + timedelta(days=1)).isoformat()}")
        return parse_filter(" and ".join(parts))


@dataclass(slots=True)
class CallSums:
    """The sums of some calls.

    Attributes:
        group: Everything that adds up.
        errors: Calls that neither completed nor were given up by the client.
    """

    group: Group = field(default_factory=Group)
    errors: int = 0

    def add(self, outcome: str, group: Group) -> None:
        """Add calls of one outcome."""
        self.group.add(group)
        if outcome not in _NO_ERROR:
            self.errors += group.sums[0]

    def to_json(self) -> dict[str, JsonValue]:
        """Give every sum by name; `cost_usd` is null where no call has a price."""
        (
            calls, complete, _, _, into, out, cached, written, reasoning, cost, unpriced, unreported, sent, came,
        ) = self.group.sums  # fmt: skip
        return {
            "calls": calls,
            "complete": complete,
            "errors": self.errors,
            "error_rate": round(self.errors / calls, 6) if calls else None,
            "input_tokens": into,
            "output_tokens": out,
            "cached_tokens": cached,
            "cache_write_tokens": written,
            "reasoning_tokens": reasoning,
            "total_tokens": into + out,
            "cost_usd": float(dollars(cost)) if calls > unpriced + unreported else None,
            "unpriced_calls": unpriced,
            "unreported_calls": unreported,
            "request_bytes": sent,
            "response_bytes": came,
            "duration_ms": _percentiles(self.group.durations),
            "ttft_ms": _percentiles(self.group.ttfts),
        }


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was counted.

    Attributes:
        by: What the groups are by.
        total: Of all calls of the selection.
        groups: By the values of `by`, in their order; None for what is missing.
        is_scan: Whether all selected traces had to be read.
        uncounted: Traces of an earlier version that are still to be counted, and are in no group yet; at most so many.
    """

    by: tuple[Dimension, ...]
    total: CallSums
    groups: Mapping[tuple[str | None, ...], CallSums]
    is_scan: bool
    uncounted: int = 0

    def rows(self) -> list[dict[str, JsonValue]]:
        """Give the groups as JSON values, days in their order and the rest by their number of calls."""
        return [
            {**{name.value: value for name, value in zip(self.by, values, strict=True)}, **sums.to_json()}
            for values, sums in sorted(self.groups.items(), key=self._order)
        ]

    def to_json(self) -> JsonText:
        """Give all of it as JSON."""
        told = {"is_scan": self.is_scan, "uncounted_calls": self.uncounted}
        return json_text.dumps({**told, "total": self.total.to_json(), "groups": self.rows()})

    def _order(self, item: tuple[tuple[str | None, ...], CallSums]) -> tuple[Any, ...]:
        values, sums = item
        days = [value for name, value in zip(self.by, values, strict=True) if name is Dimension.DAY]
        return (*days, -sums.group.sums[0], *[value or "" for value in values])


class _Report:
    """Groups on their way into a report."""

    def __init__(self, by: Sequence[Dimension]) -> None:
        self.by = tuple(dict.fromkeys(by))
        self.total = CallSums()
        self.groups: dict[tuple[str | None, ...], CallSums] = {}
        self.uncounted = 0

    def add(self, key: GroupKey, group: Group) -> None:
        self.total.add(key.outcome, group)
        if self.by:
            values = tuple([_value(name, key) for name in self.by])
            self.groups.setdefault(values, CallSums()).add(key.outcome, group)

    def add_calls(self, calls: Iterable[tuple[Call, TokenCounts | None, int | None]]) -> None:
        for key, group in group_calls(calls).items():
            self.add(key, group)

    def finish(self, *, is_scan: bool) -> UsageReport:
        return UsageReport(self.by, self.total, self.groups, is_scan, self.uncounted)


NO_USAGE = UsageReport((), CallSums(), {}, is_scan=False)
"""Of a store that is not there yet."""


async def read_usage(
    reader: TraceReader, by: Sequence[Dimension] = (), selection: Selection | None = None
) -> UsageReport:
    """Count the calls of a selection.

    Raises:
        FilterError: `selection.where` cannot be understood.
        StoreError: The store cannot be read.
    """
    selection = selection or Selection()
    where = selection.filter()
    report = _Report(by)
    if where is None:
        await reader.look(lambda db: _add_days(db, report, selection))
        return report.finish(is_scan=False)
    place: Place | None = Order.NEWEST.start
    newest = await reader.look(_newest)
    while place is not None:
        place = await reader.look(partial(_add_selected, report=report, where=where, place=place, newest=newest))
    return report.finish(is_scan=True)


def _add_days(db: sqlite3.Connection, report: _Report, selection: Selection) -> None:
    first, last = _bounds(selection)
    for key, group in counted_days(db, first, last):
        report.add(key, group)
    report.uncounted = uncounted_at_most(db)


def _add_selected(db: sqlite3.Connection, report: _Report, where: Filter, place: Place, newest: int) -> Place | None:
    found = Scan(db, where, Order.NEWEST, newest_row=newest).look(place, _AT_ONCE)
    numbers = [row["number"] for row in found.rows]
    state = read_state(db)
    report.add_calls(
        counted_calls(
            tuple(row)
            for row in db.execute(COUNTED_CALLS, number_list(n for n in numbers if state.is_counted(n))).fetchall()
        )
    )
    missing = [n for n in numbers if not state.is_counted(n)]
    if missing:
        book = current_book(db, PriceBook())
        report.add_calls(
            (call, counts, None if counts is None else book.cost(call.priced, counts))
            for number in missing
            for call, counts in uncounted_calls(db, number - 1, number, 1)
        )
    return found.place


def _newest(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(number), 0) FROM traces").fetchone()[0])


def _bounds(selection: Selection) -> tuple[int, int]:
    first = -(2**62) if selection.first is None else (selection.first - _EPOCH).days
    last = 2**62 if selection.last is None else (selection.last - _EPOCH).days
    return first, last


def _value(name: Dimension, key: GroupKey) -> str | None:
    match name:
        case Dimension.MODEL:
            return key.requested_model
        case Dimension.SERVED_MODEL:
            return key.served_model
        case Dimension.ROUTE:
            return key.route
        case Dimension.UPSTREAM:
            return key.upstream
        case Dimension.DAY:
            return (_EPOCH + timedelta(days=key.day)).isoformat()
        case Dimension.OUTCOME:
            return key.outcome
        case Dimension.STATUS:
            return None if key.status is None else f"{key.status}xx"


def _percentiles(histogram: Histogram) -> dict[str, JsonValue]:
    return {f"p{share}": percentile(histogram, share / 100) for share in (50, 95, 99)}
