"""Reading the sums by day, with what an earlier version stored and nobody has counted yet."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from store.price import PriceBook
from store.token_counts import TokenCounts
from store.trace_rows import from_blob, some_text
from store.usage import Call, current_book, read_state, uncounted_calls
from store.usage_groups import GROUP_COLUMNS, KEY_COLUMNS, SUMS, Group, GroupKey, Groups, group_of

_AT_ONCE = 2000
_ALL_DAYS = (-(2**62), 2**62)
_DAYS = f"""
    SELECT {", ".join(GROUP_COLUMNS)} FROM usage_days WHERE day >= :first AND day <= :last
"""  # noqa: S608 - put together from constants


def count_traces(db: sqlite3.Connection) -> dict[str, Any]:
    """Give the counts over all traces, by their names in `store.trace_summary.Stats`."""
    total = Group()
    outcomes: Counter[str] = Counter()
    models: Counter[str | None] = Counter()
    groups = [*counted_days(db), *group_calls(uncounted(db)).items()]
    for key, group in groups:
        total.add(group)
        outcomes[key.outcome] += group.sums[0]
        models[key.requested_model] += group.sums[0]
    sums = dict(zip(SUMS, total.sums, strict=True))
    names = ("complete", "prompt_tokens", "completion_tokens", "request_bytes", "response_bytes")
    by_model = sorted(models.items(), key=lambda item: (-item[1], item[0] is not None, item[0] or ""))
    return {
        "traces": sums["calls"],
        **{name: sums[name] for name in names},
        "by_outcome": dict(sorted(outcomes.items())),
        "by_model": dict(by_model),
    }


def group_calls(calls: Iterable[tuple[Call, TokenCounts | None, int | None]]) -> Groups:
    """Sum up calls."""
    groups: Groups = {}
    for call, counts, cost in calls:
        groups.setdefault(call.key, Group()).add_call(call.facts, counts, cost)
    return groups


def counted_days(
    db: sqlite3.Connection, first: int = _ALL_DAYS[0], last: int = _ALL_DAYS[1]
) -> Iterator[tuple[GroupKey, Group]]:
    """Give the sums of the days from `first` to `last`, both included, since 1970 UTC."""
    for row in db.execute(_DAYS, {"first": first, "last": last}):
        day, route, upstream, requested, served, outcome, status = row[: len(KEY_COLUMNS)]
        key = GroupKey(
            day, some_text(route), some_text(upstream), from_blob(requested), from_blob(served), outcome, status
        )
        yield key, group_of(row[len(KEY_COLUMNS) :])


def uncounted(db: sqlite3.Connection) -> Iterator[tuple[Call, TokenCounts | None, int | None]]:
    """Give what an earlier version stored and the chore has not come to, priced as the chore will."""
    state = read_state(db)
    if not state.count_until:
        return
    book = current_book(db, PriceBook())
    place = state.counted_to
    while True:
        found = list(uncounted_calls(db, place, state.count_until, _AT_ONCE))
        if not found:
            return
        place = found[-1][0].number
        for call, counts in found:
            yield call, counts, None if counts is None else book.cost(call.priced, counts)
