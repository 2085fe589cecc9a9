"""The chore that counts what an earlier version stored, and prices everything anew when the prices have changed."""

import sqlite3
from typing import Any

from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.price import PriceBook
from store.usage import (
    CALL_COLUMNS,
    COST_COLUMNS,
    INSERT_COST,
    State,
    counted_calls,
    read_state,
    uncounted_calls,
)
from store.usage_groups import Group, Groups, write_groups

_COUNTED_AT_ONCE = 1000
_PRICED_AT_ONCE = 2000
"""Some 20 ms each."""
# ruff: noqa: S608 - the statements are put together from constants
_TAKE_PRICES = """
    UPDATE usage_state SET price_hash = :hash, prices = :prices, priced_to = 0,
        price_until = (SELECT coalesce(max(trace), 0) FROM costs)
"""
_COUNTED = "UPDATE usage_state SET counted_to = :place"
_ALL_COUNTED = "UPDATE usage_state SET counted_to = 0, count_until = 0"
_PRICED = "UPDATE usage_state SET priced_to = :place"
_ALL_PRICED = "UPDATE usage_state SET priced_to = 0, price_until = 0"
_TO_PRICE = f"""
    SELECT {CALL_COLUMNS}, {COST_COLUMNS} FROM costs c CROSS JOIN traces t ON t.number = c.trace
    WHERE c.trace > :after AND c.trace <= :until ORDER BY c.trace LIMIT :limit
"""
_SET_COST = "UPDATE costs SET cost = ? WHERE trace = ?"


class UsageChore:
    """Keeps costs true to the prices of the settings."""

    name = "usage"

    def __init__(self, book: PriceBook) -> None:
        """Have these prices hold from now on, and for what is stored."""
        self._book = book

    def step(self, db: sqlite3.Connection) -> Step:
        """Take the prices, or count or price some traces."""
        state = read_state(db)
        if state.price_hash == self._book.hash and not state.count_until and not state.price_until:
            return NOTHING_TO_DO
        with transaction_now(db):
            if state.price_hash != self._book.hash:
                db.execute(_TAKE_PRICES, {"hash": self._book.hash, "prices": self._book.to_json().encode()})
            elif state.count_until:
                self._count(db, state)
            else:
                self._price(db, state)
        return Step(has_more=True)

    def _count(self, db: sqlite3.Connection, state: State) -> None:
        groups: Groups = {}
        costs: list[tuple[Any, ...]] = []
        place = state.counted_to
        for call, counts in uncounted_calls(db, state.counted_to, state.count_until, _COUNTED_AT_ONCE):
            place = call.number
            cost = None
            if counts is not None:
                cost = self._book.cost(call.priced, counts)
                costs.append((call.number, *counts, cost))
            groups.setdefault(call.key, Group()).add_call(call.facts, counts, cost)
        db.executemany(INSERT_COST, costs)
        write_groups(db, groups)
        db.execute(_ALL_COUNTED if place == state.counted_to else _COUNTED, {"place": place})

    def _price(self, db: sqlite3.Connection, state: State) -> None:
        wanted = {"after": state.priced_to, "until": state.price_until, "limit": _PRICED_AT_ONCE}
        groups: Groups = {}
        changed: list[tuple[int | None, int]] = []
        place = state.priced_to
        for call, counts, before in counted_calls(db.execute(_TO_PRICE, wanted).fetchall()):
            place = call.number
            if counts is None or not counts.is_whole:
                continue
            after = self._book.cost(call.priced, counts)
            if after != before:
                changed.append((after, call.number))
                groups.setdefault(call.key, Group()).reprice(before, after)
        db.executemany(_SET_COST, changed)
        write_groups(db, groups)
        db.execute(_ALL_PRICED if place == state.priced_to else _PRICED, {"place": place})
