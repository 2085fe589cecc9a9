"""Reading the sums by day."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from store.token_counts import TokenCounts
from store.trace_rows import from_blob, some_text
from store.usage import Call, read_state
from store.usage_groups import GROUP_COLUMNS, KEY_COLUMNS, Group, GroupKey, Groups, group_of

_ALL_DAYS = (-(2**62), 2**62)
_DAYS = f"""
    SELECT {", ".join(GROUP_COLUMNS)} FROM usage_days WHERE day >= :first AND day <= :last
"""  # noqa: S608 - put together from constants

_TOTALS = ("traces", "complete", "prompt_tokens", "completion_tokens", "request_bytes", "response_bytes")
# Added up here and not by SQLite, whose sums end at 64 bits.
_TOTALS_OF_DAYS = """
    SELECT outcome, requested_model, calls, complete, prompt_tokens, completion_tokens, request_bytes, response_bytes
    FROM usage_days
"""
_TOTALS_OF_TRACES = """
    SELECT outcome, requested_model, count(*), sum(is_complete), coalesce(sum(prompt_tokens), 0),
           coalesce(sum(completion_tokens), 0), coalesce(sum(request_bytes), 0), coalesce(sum(response_bytes), 0)
    FROM traces WHERE number > :after AND number <= :until GROUP BY outcome, requested_model
"""


def count_traces(db: sqlite3.Connection) -> dict[str, Any]:
    """Give the counts over all traces, by their names in `store.trace_summary.Stats`."""
    totals = dict.fromkeys(_TOTALS, 0)
    outcomes: Counter[str] = Counter()
    models: Counter[str | None] = Counter()
    for outcome, model, *sums in (*_counted(db), *_uncounted(db)):
        for name, value in zip(_TOTALS, sums, strict=True):
            totals[name] += value
        outcomes[outcome] += sums[0]
        models[model] += sums[0]
    by_model = sorted(models.items(), key=lambda item: (-item[1], item[0] is not None, item[0] or ""))
    return {**totals, "by_outcome": dict(sorted(outcomes.items())), "by_model": dict(by_model)}


def _counted(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    for outcome, model, *sums in db.execute(_TOTALS_OF_DAYS):
        yield outcome, from_blob(model), *sums


def _uncounted(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    state = read_state(db)
    if state.count_until:
        wanted = {"after": state.counted_to, "until": state.count_until}
        for outcome, model, *sums in db.execute(_TOTALS_OF_TRACES, wanted):
            yield outcome, from_blob(model), *sums


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


def uncounted_at_most(db: sqlite3.Connection) -> int:
    """Tell how many traces of an earlier version are not in the sums yet; fewer where some were erased."""
    state = read_state(db)
    return max(state.count_until - state.counted_to, 0)
