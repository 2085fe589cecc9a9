"""What lists and counts show of traces: everything but the bodies."""

import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from store.errors import CursorError
from store.trace import Flag, Outcome
from store.trace_rows import fields_of

_CURSOR_BYTES = 24


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace without its bodies; fields of the same name mean what they mean in `store.trace.Trace`.

    Attributes:
        message_count: Number of the request's messages.
        has_tool_calls: Whether any reply calls a tool.
        finish_reasons: One for each reply, in order.
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


class TracePage(NamedTuple):
    """Some summaries, newest first, and the cursor of the page after; None on the last page."""

    summaries: list[TraceSummary]
    next_cursor: str | None


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


class Place(NamedTuple):
    """Where a trace stands in the order of time; ids tell apart those of one microsecond."""

    created_at: int
    id: bytes


FIRST = Place(-(2**63), b"")
LAST = Place(2**63 - 1, b"\xff" * 17)


def to_cursor(place: Place) -> str:
    """Make the opaque text that continues a list after this place."""
    return urlsafe_b64encode(place.created_at.to_bytes(8, "big", signed=True) + place.id).decode()


def from_cursor(cursor: str) -> Place:
    """Undo `to_cursor`.

    Raises:
        CursorError: The text was not made by it.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
    except ValueError as exc:
        raise _bad_cursor(cursor) from exc
    if len(raw) != _CURSOR_BYTES:
        raise _bad_cursor(cursor)
    return Place(int.from_bytes(raw[:8], "big", signed=True), raw[8:])


def summary_of(row: sqlite3.Row, finish_reasons: tuple[str | None, ...], tags: Mapping[str, str]) -> TraceSummary:
    """Make a summary of a row of `traces` and what its other rows hold."""
    return TraceSummary(
        **fields_of(row),
        is_complete=bool(row["is_complete"]),
        message_count=row["message_count"],
        has_tool_calls=bool(row["has_tool_calls"]),
        finish_reasons=finish_reasons,
        tags=tags,
    )


def _bad_cursor(cursor: str) -> CursorError:
    return CursorError(f"cursor {cursor[:80]!r} was not made by a page of traces; leave it out to begin at the newest")
