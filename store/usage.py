"""Usage and cost of every call: the tables `costs` and `usage_days`, kept along with the traces.

`costs` has a row for each trace whose upstream reported usage. `usage_days` sums up all traces, so that counts cost the
same however many there are. Traces that were stored by an earlier version are counted by a chore; `usage_state` tells
how far it is: numbers above `count_until` are counted as they are stored, those up to `counted_to` were counted since.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from store.body import unpack
from store.follower import StoredTrace
from store.id_list import number_list
from store.price import SLOT_MICROS, PriceBook, PricedCall, Tariff, cost_of
from store.token_counts import TokenCounts, count_tokens
from store.trace_rows import from_blob, some_text, to_micros
from store.usage_groups import DAY_MICROS, CallFacts, Group, GroupKey, Groups, write_groups

COUNTS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens",
    "audio_input_tokens", "audio_output_tokens", "tier",
)  # fmt: skip
"""The columns of `TokenCounts`, in its order."""
INSERT_COST = f"INSERT INTO costs (trace, {', '.join(COUNTS)}, cost) VALUES ({', '.join('?' * (len(COUNTS) + 2))})"
# ruff: noqa: S608 - the statements are put together from constants
_STATE = "SELECT price_hash, counted_to, count_until, priced_to, price_until FROM usage_state"
_PRICES = "SELECT prices FROM usage_state"
_DELETE_COSTS = "DELETE FROM costs WHERE trace IN (SELECT w.value FROM json_each(:numbers) w)"
CALL_COLUMNS = """
    t.number, t.created_at, t.route, t.upstream, t.requested_model, t.served_model, t.outcome, t.status,
    t.is_complete, t.prompt_tokens, t.completion_tokens, t.request_bytes, t.response_bytes, t.ttft_ms, t.duration_ms
"""
COST_COLUMNS = f"c.trace, {', '.join(f'c.{name}' for name in COUNTS)}, c.cost"
COUNTED_CALLS = f"""
    SELECT {CALL_COLUMNS}, {COST_COLUMNS}
    FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value LEFT JOIN costs c ON c.trace = t.number
"""
_UNCOUNTED = f"""
    SELECT {CALL_COLUMNS}, u.body, t.endpoint, t.parameters_blob
    FROM traces t LEFT JOIN usages u ON u.trace = t.number
    WHERE t.number > :after AND t.number <= :until ORDER BY t.number LIMIT :limit
"""
_PARAMETERS = "SELECT body FROM blobs WHERE number = ?"
_CALL_LENGTH = 15
_SLOT_S = SLOT_MICROS // 1_000_000
_FAR_S = 4e9


class State(NamedTuple):
    """The row of `usage_state`."""

    price_hash: bytes
    counted_to: int
    count_until: int
    priced_to: int
    price_until: int

    def is_counted(self, number: int) -> bool:
        """Tell whether a trace is in `usage_days`."""
        return number > self.count_until or number <= self.counted_to


class Call(NamedTuple):
    """A trace as its group takes it."""

    number: int
    key: GroupKey
    priced: PricedCall
    facts: CallFacts


class UsageFollower:
    """Counts and prices traces as they are stored, and takes them out again."""

    def __init__(self) -> None:
        """Begin without prices; those in the database hold."""
        self._book = PriceBook()

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Count a batch."""
        if not traces:
            return
        state = read_state(db)
        if state.count_until:
            # One that is made again while the chore has not come to it is left to the chore.
            traces = [each for each in traces if state.is_counted(each.number)]
        book = self._book = current_book(db, self._book)
        lanes: dict[tuple[Any, ...], tuple[Group, Tariff | None]] = {}
        costs: list[tuple[Any, ...]] = []
        for number, trace, *_ in traces:
            usage = trace.usage
            counts = None if usage is None else count_tokens(usage, trace.endpoint, trace.parameters)
            # All that decides about a call's group and prices, so that they are found once in a batch.
            lane = (
                _slot(trace.created_at),
                trace.route,
                trace.upstream,
                trace.requested_model,
                trace.served_model,
                None if counts is None else counts[8],
                trace.outcome,
                trace.status,
            )
            known = lanes.get(lane)
            if known is None:
                known = lanes[lane] = (Group(), book.tariff(PricedCall(*lane[1:6], lane[0])))
            group, tariff = known
            cost = None
            if counts is not None:
                cost = None if tariff is None else cost_of(tariff, counts)
                costs.append((number, *counts, cost))
            group.add_call(
                (
                    trace.is_complete,
                    trace.prompt_tokens,
                    trace.completion_tokens,
                    trace.request_bytes,
                    trace.response_bytes,
                    trace.ttft_ms,
                    trace.duration_ms,
                ),
                counts,
                cost,
            )
        db.executemany(INSERT_COST, costs)
        write_groups(db, _by_key(lanes))

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Take traces out of the sums."""
        state = read_state(db)
        groups: Groups = {}
        wanted = number_list(number for number in numbers if state.is_counted(number))
        for call, counts, cost in counted_calls(db.execute(COUNTED_CALLS, wanted).fetchall()):
            groups.setdefault(call.key, Group()).add_call(call.facts, counts, cost)
        write_groups(db, groups, -1)
        db.execute(_DELETE_COSTS, number_list(numbers))

    def forget(self) -> None:
        """Have the prices read again."""
        self._book = PriceBook()


def read_state(db: sqlite3.Connection) -> State:
    """Tell how far the chores are."""
    return State(*db.execute(_STATE).fetchone())


def current_book(db: sqlite3.Connection, held: PriceBook) -> PriceBook:
    """Give the prices that hold in this database: those at hand, if they are they."""
    if read_state(db).price_hash == held.hash:
        return held
    (text,) = db.execute(_PRICES).fetchone()
    return PriceBook.from_json(text.decode()) if text else PriceBook()


def counted_calls(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Call, TokenCounts | None, int | None]]:
    """Read rows of `CALL_COLUMNS` and `COST_COLUMNS`."""
    for row in rows:
        call = call_of(row)
        counts = None if row[_CALL_LENGTH] is None else TokenCounts(*row[_CALL_LENGTH + 1 : _CALL_LENGTH + 10])
        yield call._replace(priced=call.priced._replace(tier=counts and counts.tier)), counts, row[_CALL_LENGTH + 10]


def uncounted_calls(
    db: sqlite3.Connection, after: int, until: int, limit: int
) -> Iterator[tuple[Call, TokenCounts | None]]:
    """Give traces that nobody has counted yet by their numbers, with what their usage tells."""
    for row in db.execute(_UNCOUNTED, {"after": after, "until": until, "limit": limit}).fetchall():
        call = call_of(row)
        usage, endpoint, parameters = row[_CALL_LENGTH:]
        if usage is None:
            yield call, None
            continue
        body = db.execute(_PARAMETERS, [parameters]).fetchone()
        counts = count_tokens(usage, endpoint, b"" if body is None else unpack(body[0]))
        yield call._replace(priced=call.priced._replace(tier=counts.tier)), counts


def call_of(row: Sequence[Any]) -> Call:
    """Read the `CALL_COLUMNS`."""
    number, at, route, upstream, requested, served, outcome, status, *facts = row[:_CALL_LENGTH]
    route, upstream = some_text(route), some_text(upstream)
    requested, served = from_blob(requested), from_blob(served)
    is_complete, prompt, completion, sent, came, ttft_ms, duration_ms = facts
    key = GroupKey(
        at // DAY_MICROS, route, upstream, requested, served, outcome, None if status is None else status // 100
    )
    priced = PricedCall(route, upstream, requested, served, None, at // SLOT_MICROS)
    return Call(number, key, priced, (bool(is_complete), prompt, completion, sent, came, ttft_ms, duration_ms))


def _by_key(lanes: Mapping[tuple[Any, ...], tuple[Group, Tariff | None]]) -> Groups:
    groups: Groups = {}
    for (slot, route, upstream, requested, served, _, outcome, status), (group, _) in lanes.items():
        key = GroupKey(
            slot * SLOT_MICROS // DAY_MICROS,
            route,
            upstream,
            requested,
            served,
            outcome.value,
            None if status is None else status // 100,
        )
        groups.setdefault(key, Group()).add(group)
    return groups


def _slot(moment: datetime) -> int:
    seconds = moment.timestamp()
    # A double tells microseconds apart for some thousand years, and is three times as fast.
    return int(seconds // _SLOT_S) if -_FAR_S < seconds < _FAR_S else to_micros(moment) // SLOT_MICROS
