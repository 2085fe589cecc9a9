"""Traces as rows: what each table of `traces.db` gets for a batch, and a trace again from its rows."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from store.body import Packer, blob_id, cut_long_strings
from store.errors import UnstorableTraceError
from store.trace import Flag, JsonText, Outcome, Reply, Trace
from store.tree import HashedMessages, Link, chain

Row = dict[str, Any]

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


@dataclass(slots=True)
class Batch:
    """The rows of some traces. Nodes and blobs wait unpacked, since most may be in the database already."""

    traces: list[tuple[Any, ...]] = field(default_factory=list)
    replies: list[Row] = field(default_factory=list)
    tags: list[Row] = field(default_factory=list)
    links: dict[bytes, Link] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    hashed: HashedMessages | None = None

    def add(self, trace: Trace) -> None:
        """Add one trace's rows.

        Raises:
            UnstorableTraceError: A value of the trace fits no column, or a message is not JSON text.
        """
        try:
            request = self._add_links(chain(trace.messages, None, self.hashed))
            answers = [self._add_links(chain([reply.message], request, self.hashed)) for reply in trace.replies]
            self._add_trace(trace, request, answers)
        except (ValueError, OverflowError) as exc:
            raise UnstorableTraceError(f"trace {trace.id} cannot be stored: {exc}", trace.id) from exc

    def _add_links(self, links: list[Link]) -> Link | None:
        for link in links:
            self.links[link.id] = link
        return links[-1] if links else None

    def _add_blob(self, body: bytes | None) -> bytes | None:
        if body is None:
            return None
        name = blob_id(body)
        self.blobs.setdefault(name, body)
        return name

    def _add_trace(self, trace: Trace, request: Link | None, answers: list[Link | None]) -> None:
        trace_id = trace.id.bytes
        self.traces.append(
            (
                *[write(value) if write else value for write, value in zip(_WRITERS, _VALUES(trace), strict=True)],
                trace.is_complete,
                request.id if request else None,
                len(trace.messages),
                any(answer.has_tool_calls for answer in answers if answer),
                self._add_blob(trace.tools),
                self._add_blob(trace.response_format),
                self._add_blob(trace.parameters),
                self._add_blob(trace.metadata),
                self._add_blob(to_blob(trace.error)),
                trace.usage,
                to_blob(trace.key_fingerprint),
            )
        )
        for position, (reply, answer) in enumerate(zip(trace.replies, answers, strict=True)):
            self.replies.append(
                {
                    "trace_id": trace_id,
                    "position": position,
                    "choice_index": _int64(reply.index, "the index of a reply"),
                    "node_id": answer.id if answer else None,
                    "finish_reason": to_blob(reply.finish_reason),
                    "logprobs_blob": self._add_blob(reply.logprobs),
                }
            )
        for position, (name, value) in enumerate(trace.tags.items()):
            self.tags.append(
                {"trace_id": trace_id, "position": position, "name": to_blob(name), "value": to_blob(value)}
            )


class PackedRows:
    """Rows of `nodes`, `node_blobs` and `blobs`, ready to insert in this order of tables: blobs first."""

    def __init__(self) -> None:
        self.nodes: list[Row] = []
        self.node_blobs: list[Row] = []
        self.blobs: dict[bytes, Row] = {}

    def add_links(self, links: Iterable[Link], packer: Packer) -> None:
        """Pack messages, with their long strings cut out; parents come before children."""
        for link in links:
            shortened, cuts = cut_long_strings(link.message)
            self.nodes.append(
                {
                    "id": link.id,
                    "parent_id": link.parent_id,
                    "stitch_key": link.key,
                    "role": to_blob(link.role),
                    "body": packer.pack(shortened),
                    "body_bytes": len(link.message),
                }
            )
            for cut in cuts:
                name = blob_id(cut.text)
                self.node_blobs.append({"node_id": link.id, "offset": cut.offset, "blob_id": name})
                self.add_blob(name, cut.text, packer)

    def add_blob(self, name: bytes, body: bytes, packer: Packer) -> None:
        """Pack one value, unless it is among the rows already."""
        if name not in self.blobs:
            self.blobs[name] = {"id": name, "body": packer.pack(body), "body_bytes": len(body)}


def trace_of(
    row: sqlite3.Row,
    messages: tuple[JsonText, ...],
    replies: tuple[Reply, ...],
    tags: Mapping[str, str],
    blobs: Mapping[bytes, bytes],
) -> Trace:
    """Make the trace of a row of `traces` again, with what its other rows hold."""

    def blob(column: str) -> bytes | None:
        name = row[column]
        return None if name is None else blobs[name]

    return Trace(
        **fields_of(row),
        messages=messages,
        tools=blob("tools_blob"),
        response_format=blob("response_format_blob"),
        parameters=blobs[row["parameters_blob"]],
        replies=replies,
        usage=row["usage"],
        tags=tags,
        metadata=blob("metadata_blob"),
        key_fingerprint=from_blob(row["key_fingerprint"]),
        error=from_blob(blob("error_blob")),
    )


def fields_of(row: sqlite3.Row) -> dict[str, Any]:
    """Read the fields, by name, that traces and their summaries have in common."""
    return {name: column.read(row[name]) if column.read else row[name] for name, column in _COLUMNS.items()}


def _int64(value: int | None, what: str = "a number") -> int | None:
    if value is not None and value not in _INT64:
        raise OverflowError(f"{what} is {len(str(abs(value)))} digits long")
    return value


def _countable(tokens: int | None) -> int | None:
    """Leave out a count beyond all sense, which could overflow a sum; `usage` keeps it as the upstream wrote it."""
    return tokens if tokens is not None and abs(tokens) <= _MAX_TOKENS else None


class _Column(NamedTuple):
    """How a field's value goes into the column of its name, and how it comes back."""

    write: Callable[[Any], Any] | None = None
    read: Callable[[Any], Any] | None = None


_PLAIN = _Column()
_TEXT = _Column(to_blob, from_blob)
_INTEGER = _Column(_int64)
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
    "is_streaming": _Column(None, bool),
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
_WRITERS = tuple(column.write for column in _COLUMNS.values())
_VALUES: Callable[[Trace], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_TRACE_COLUMNS = (
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
    "usage",
    "key_fingerprint",
)
"""The columns of `traces` in the order in which `Batch` gives their values."""

# By place, since binding 35 names costs a third of the whole insertion.
INSERT_TRACE = f"""
    INSERT OR IGNORE INTO traces ({", ".join(_TRACE_COLUMNS)})
    VALUES ({", ".join("?" * len(_TRACE_COLUMNS))})
"""  # noqa: S608 - put together from constants
