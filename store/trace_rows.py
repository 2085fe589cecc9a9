"""Traces as rows of `traces`: which column holds which field, and a trace again from all of its rows."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from store.trace import Flag, JsonText, Outcome, Reply, Trace

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)
# Eight million traces of so many tokens still sum up within SQLite's 64 bits.
_MAX_TOKENS = 2**40


def to_micros(moment: datetime) -> int:
    """Count the microseconds since 1970 UTC.

    Raises:
        ValueError: The moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without zone cannot be stored")
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Give the UTC time of a count of microseconds since 1970."""
    return _EPOCH + micros * _MICROSECOND


def to_blob(text: str | None) -> bytes | None:
    """Encode foreign text; NUL stays, lone surrogates take the generalised form."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def from_blob(blob: bytes | None) -> str | None:
    """Undo `to_blob`."""
    return None if blob is None else blob.decode("utf-8", "surrogatepass")


def some_text(blob: bytes) -> str:
    """Undo `to_blob` where there is a text for certain."""
    return blob.decode("utf-8", "surrogatepass")


def to_int64(value: int | None, what: str = "a number") -> int | None:
    """Let a number through that a column can hold.

    Raises:
        OverflowError: It has more than 64 bits.
    """
    if value is not None and value not in _INT64:
        raise OverflowError(f"{what} is {len(str(abs(value)))} digits long")
    return value


def trace_of(
    row: sqlite3.Row,
    messages: tuple[JsonText, ...],
    replies: tuple[Reply, ...],
    usage: JsonText | None,
    tags: Mapping[str, str],
    blobs: Mapping[int, bytes],
) -> Trace:
    """Make the trace of a row of `traces` again, with what its other rows hold."""

    def blob(column: str) -> bytes | None:
        number = row[column]
        return None if number is None else blobs[number]

    return Trace(
        **fields_of(row),
        messages=messages,
        tools=blob("tools_blob"),
        response_format=blob("response_format_blob"),
        parameters=blobs[row["parameters_blob"]],
        replies=replies,
        usage=usage,
        tags=tags,
        metadata=blob("metadata_blob"),
        key_fingerprint=from_blob(row["key_fingerprint"]),
        error=from_blob(blob("error_blob")),
    )


def fields_of(row: sqlite3.Row) -> dict[str, Any]:
    """Read the fields, by name, that traces and their summaries have in common."""
    return {name: column.read(row[name]) if column.read else row[name] for name, column in _COLUMNS.items()}


def column_values(trace: Trace) -> list[Any]:
    """Give the values of the columns that `INSERT_TRACE` names after the number, up to `is_complete`.

    Truths are integers here: the driver first looks for an adapter for each `bool`, at a microsecond a piece.

    Raises:
        ValueError: A value fits no column.
        OverflowError: A number is too large.
    """
    values = [*_VALUES(trace), int(trace.is_complete)]
    for place, write in _WRITERS:
        if (value := values[place]) is not None:
            values[place] = write(value)
    return values


def _countable(tokens: int) -> int | None:
    """Leave out a count beyond all sense, which could overflow a sum; `usage` keeps it as the upstream wrote it."""
    return tokens if abs(tokens) <= _MAX_TOKENS else None


class _Column(NamedTuple):
    """How a field's value, if there is one, goes into the column of its name, and how it comes back."""

    write: Callable[[Any], Any] | None = None
    read: Callable[[Any], Any] | None = None


_PLAIN = _Column()
_TEXT = _Column(to_blob, from_blob)
_INTEGER = _Column(to_int64)
_TOKENS = _Column(_countable)
_COLUMNS = {
    "id": _Column(lambda trace_id: trace_id.bytes, lambda row_id: UUID(bytes=row_id)),
    "created_at": _Column(to_micros, from_micros),
    "endpoint": _PLAIN,
    "method": _TEXT,
    "path": _TEXT,
    "route": _TEXT,
    "upstream": _TEXT,
    "status": _INTEGER,
    "outcome": _Column(lambda outcome: outcome.value, Outcome),
    "is_streaming": _Column(int, bool),
    "requested_model": _TEXT,
    "served_model": _TEXT,
    "prompt_tokens": _TOKENS,
    "completion_tokens": _TOKENS,
    "ttft_ms": _PLAIN,
    "duration_ms": _PLAIN,
    "upstream_id": _TEXT,
    "request_id": _TEXT,
    "system_fingerprint": _TEXT,
    "session": _TEXT,
    "user": _TEXT,
    "flags": _Column(
        lambda flags: ",".join(sorted(flags)),
        lambda text: frozenset(Flag(name) for name in text.split(",") if name),
    ),
    "request_bytes": _INTEGER,
    "response_bytes": _INTEGER,
}
"""The fields that traces and their summaries have in common, and the columns of the same name."""
_WRITERS = tuple((place, column.write) for place, column in enumerate(_COLUMNS.values()) if column.write)
_VALUES: Callable[[Trace], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_TRACE_COLUMNS = (
    "number",
    *_COLUMNS,
    "is_complete",
    "request_node",
    "message_count",
    "has_tool_calls",
    "tools_blob",
    "response_format_blob",
    "parameters_blob",
    "metadata_blob",
    "error_blob",
    "key_fingerprint",
)

# By place, since binding 35 names costs a third of the whole insertion.
INSERT_TRACE = f"""
    INSERT INTO traces ({", ".join(_TRACE_COLUMNS)}) VALUES ({", ".join("?" * len(_TRACE_COLUMNS))})
"""  # noqa: S608 - put together from constants
UPDATE_TRACE = f"""
    UPDATE traces SET {", ".join(f"{name} = ?" for name in _TRACE_COLUMNS[1:])} WHERE number = ?
"""  # noqa: S608 - put together from constants
