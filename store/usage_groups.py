"""Sums of what calls used, by day, route, models and end: the rows of `usage_days`, and how traces come into them.

A trace adds the same whether it is taken in as it is stored, counted later from its rows, or taken out again.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from store.latency_histogram import Histogram, add_to, bucket_of, pack_histogram, unpack_histogram
from store.token_counts import MAX_TOKENS, TokenCounts
from store.trace_rows import to_blob

DAY_MICROS = 86_400_000_000
_MOST = 2**63 - 1


class GroupKey(NamedTuple):
    """What the calls of one row have in common.

    Attributes:
        day: Days since 1970 UTC.
        status: First digit of the status; None where no answer came.
    """

    day: int
    route: str
    upstream: str
    requested_model: str | None
    served_model: str | None
    outcome: str
    status: int | None


SUMS = (
    "calls",
    "complete",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
    "unpriced",
    "unreported",
    "request_bytes",
    "response_bytes",
)
"""What is summed up. `unpriced` counts calls of known usage and unknown price, `unreported` those whose usage is not
known, or not whole."""
_COST, _UNPRICED = SUMS.index("cost"), SUMS.index("unpriced")


CallFacts = tuple[bool, int | None, int | None, int, int, float | None, float | None]
"""What one trace adds to its group besides what it used: `is_complete`, `prompt_tokens`, `completion_tokens`,
`request_bytes`, `response_bytes`, `ttft_ms` and `duration_ms`."""


class Group:
    """The sums of some calls.

    Attributes:
        sums: In the order of `SUMS`.
        durations: Of the calls whose duration is known.
        ttfts: Times to the first block, of the calls that had one.
    """

    __slots__ = ("durations", "sums", "ttfts")

    def __init__(self) -> None:
        self.sums: list[int] = [0] * len(SUMS)
        self.durations: Histogram = {}
        self.ttfts: Histogram = {}

    def add_call(self, facts: CallFacts, counts: TokenCounts | None, cost: int | None) -> None:
        """Add one call; `counts` is None when no usage was reported."""
        sums = self.sums
        is_complete, prompt, completion, request_bytes, response_bytes, ttft_ms, duration_ms = facts
        sums[0] += 1
        if is_complete:
            sums[1] += 1
        # What the column leaves out is left out here, so that a trace adds what its row will take away.
        if prompt is not None and -MAX_TOKENS <= prompt <= MAX_TOKENS:
            sums[2] += prompt
        if completion is not None and -MAX_TOKENS <= completion <= MAX_TOKENS:
            sums[3] += completion
        sums[12] += request_bytes
        sums[13] += response_bytes
        if duration_ms is not None:
            bucket = bucket_of(duration_ms)
            self.durations[bucket] = self.durations.get(bucket, 0) + 1
        if ttft_ms is not None:
            bucket = bucket_of(ttft_ms)
            self.ttfts[bucket] = self.ttfts.get(bucket, 0) + 1
        if counts is None:
            sums[11] += 1
            return
        into, out, cached, written, _, reasoning, _, _, _ = counts
        if into:
            sums[4] += into
        if out:
            sums[5] += out
        if cached:
            sums[6] += cached
        if written:
            sums[7] += written
        if reasoning:
            sums[8] += reasoning
        if cost is not None:
            sums[9] += cost
        else:
            sums[11 if into is None or out is None else 10] += 1

    def reprice(self, before: int | None, after: int | None) -> None:
        """Replace one call's cost; its usage is known whole."""
        self.sums[_COST] += (after or 0) - (before or 0)
        self.sums[_UNPRICED] += (after is None) - (before is None)

    def add(self, other: "Group", sign: int = 1) -> None:
        """Add another group's calls, or take them away by a sign of -1."""
        self.sums = [mine + sign * theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        add_to(self.durations, other.durations, sign)
        add_to(self.ttfts, other.ttfts, sign)


Groups = dict[GroupKey, Group]

KEY_COLUMNS = ("day", "route", "upstream", "requested_model", "served_model", "outcome", "status")
GROUP_COLUMNS = (*KEY_COLUMNS, *SUMS, "durations", "ttfts")
# ruff: noqa: S608 - the statements are put together from constants
_FIND = f"""
    SELECT number, {", ".join(SUMS)}, durations, ttfts FROM usage_days
    WHERE day = ? AND route = ? AND upstream = ? AND requested_model IS ? AND served_model IS ? AND outcome = ?
      AND status IS ?
"""
_INSERT = f"INSERT INTO usage_days ({', '.join(GROUP_COLUMNS)}) VALUES ({', '.join('?' * len(GROUP_COLUMNS))})"
_UPDATE = (
    f"UPDATE usage_days SET {', '.join(f'{name} = ?' for name in GROUP_COLUMNS[len(KEY_COLUMNS) :])} WHERE number = ?"
)
_DELETE = "DELETE FROM usage_days WHERE number = ?"


def write_groups(db: sqlite3.Connection, groups: Groups, sign: int = 1) -> None:
    """Add groups to the rows of `usage_days`, or take them away by a sign of -1, inside a transaction."""
    for key, change in groups.items():
        columns = key_row(key)
        row = db.execute(_FIND, columns).fetchone()
        held = Group()
        if row is not None:
            held = group_of(row[1:])
        held.add(change, sign)
        if row is None:
            db.execute(_INSERT, [*columns, *group_row(held)])
        elif held.sums[0]:
            db.execute(_UPDATE, [*group_row(held), row[0]])
        else:
            db.execute(_DELETE, [row[0]])


def key_row(key: GroupKey) -> tuple[Any, ...]:
    """Give the values of a key's columns."""
    day, route, upstream, requested, served, outcome, status = key
    return day, to_blob(route), to_blob(upstream), to_blob(requested), to_blob(served), outcome, status


def group_row(group: Group) -> list[Any]:
    """Give the values of a group's own columns."""
    sums = [min(max(value, -_MOST), _MOST) for value in group.sums]
    return [*sums, pack_histogram(group.durations), pack_histogram(group.ttfts)]


def group_of(row: Iterable[Any]) -> Group:
    """Undo `group_row`."""
    *sums, durations, ttfts = row
    group = Group()
    group.sums = sums
    group.durations = unpack_histogram(durations)
    group.ttfts = unpack_histogram(ttfts)
    return group
