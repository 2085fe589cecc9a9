"""What lists and counts show of traces: everything but the bodies."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from store.price import PICODOLLARS
from store.trace import Flag, Outcome
from store.trace_rows import fields_of


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace without its bodies; fields of the same name mean what they mean in `store.trace.Trace`.

    Attributes:
        message_count: Number of the request's messages.
        has_tool_calls: Whether any reply calls a tool.
        finish_reasons: One for each reply, in order.
        cost_usd: None where usage or price is not known.
    """

    id: UUID
    created_at: datetime
    endpoint: str | None
    method: str
    path: str
    route: str
    upstream: str
    status: int | None
    outcome: Outcome
    is_streaming: bool
    is_complete: bool
    requested_model: str | None
    served_model: str | None
    message_count: int
    has_tool_calls: bool
    finish_reasons: tuple[str | None, ...]
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_ms: float | None
    duration_ms: float | None
    upstream_id: str | None
    request_id: str | None
    system_fingerprint: str | None
    session: str | None
    user: str | None
    tags: Mapping[str, str]
    flags: frozenset[Flag]
    request_bytes: int
    response_bytes: int
    cost_usd: float | None = None


class TracePage(NamedTuple):
    """Some summaries in their order.

    Attributes:
        next_cursor: Of the page after; None on the last page. With fewer summaries than were asked for, or none, it
            tells that the search was ended when it had taken long, and where it goes on.
        search_behind: Where texts were searched, messages that are stored and not in the index yet.
        snippets: Where texts were searched, a short stretch of a message that matches for each trace that has one.
    """

    summaries: list[TraceSummary]
    next_cursor: str | None
    search_behind: int | None = None
    snippets: Mapping[UUID, str] = MappingProxyType({})


class Counts(NamedTuple):
    """What a scrape of the metrics asks for: cheap at any size."""

    traces: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What the store holds.

    Attributes:
        by_outcome: Traces for each outcome that occurs.
        by_model: Traces for each requested model; None for calls that named none.
        complete: Traces that hold a whole chat completion.
        prompt_tokens: Sum over the traces that reported it; the same for `completion_tokens`.
        first_at: When the oldest trace was made; None when there is none.
        nodes: Messages kept, each once.
        blobs: Other values kept, each once.
        body_bytes: What all nodes and blobs come to unpacked; long strings count in both.
        bytes_on_disk: The database with its write-ahead log.
    """

    traces: int
    complete: int
    by_outcome: Mapping[str, int]
    by_model: Mapping[str | None, int]
    prompt_tokens: int
    completion_tokens: int
    request_bytes: int
    response_bytes: int
    first_at: datetime | None
    last_at: datetime | None
    nodes: int
    blobs: int
    body_bytes: int
    dead_letters: int
    bytes_on_disk: int


def summary_of(
    row: sqlite3.Row, finish_reasons: tuple[str | None, ...], tags: Mapping[str, str], cost: int | None
) -> TraceSummary:
    """Make a summary of a row of `traces` and what its other rows hold; the cost is in picodollars."""
    return TraceSummary(
        **fields_of(row),
        is_complete=bool(row["is_complete"]),
        message_count=row["message_count"],
        has_tool_calls=bool(row["has_tool_calls"]),
        finish_reasons=finish_reasons,
        tags=tags,
        cost_usd=None if cost is None else cost / PICODOLLARS,
    )
