"""Traces as rows: what each table of `traces.db` gets for a batch, and a trace again from its rows."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from store.body import Packer, blob_id, cut_long_strings
from store.errors import UnstorableTraceError
from store.trace import Flag, JsonText, Outcome, Reply, Trace
from store.tree import Link, chain

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

    traces: list[Row] = field(default_factory=list)
    replies: list[Row] = field(default_factory=list)
    tags: list[Row] = field(default_factory=list)
    links: dict[bytes, Link] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, trace: Trace) -> None:
        """Add one trace's rows.

        Raises:
            UnstorableTraceError: A value of the trace fits no column, or a message is not JSON text.
        """
        try:
            request = self._add_links(chain(trace.messages))
            answers = [self._add_links(chain([reply.message], after=request)) for reply in trace.replies]
            self._add_trace(trace, request, answers)
        except (ValueError, OverflowError) as exc:
            raise UnstorableTraceError(f"trace {trace.id} cannot be stored: {exc}", trace.id) from exc

    def _add_links(self, links: list[Link]) -> Link | None:
        self.links.update((link.id, link) for link in links)
        return links[-1] if links else None

    def _add_blob(self, body: bytes | None) -> bytes | None:
        if body is None:
            return None
        name = blob_id(body)
        self.blobs.setdefault(name, body)
        return name

    def _add_trace(self, trace: Trace, request: Link | None, answers: list[Link | None]) -> None:
        self.traces.append(
            {
                "id": trace.id.bytes,
                "created_at": to_micros(trace.created_at),
                "endpoint": trace.endpoint,
                "method": to_blob(trace.method),
                "path": to_blob(trace.path),
                "route": to_blob(trace.route),
                "upstream": to_blob(trace.upstream),
                "status": _int64(trace.status, "status"),
                "outcome": trace.outcome.value,
                "is_streaming": trace.is_streaming,
                "is_complete": trace.is_complete,
                "requested_model": to_blob(trace.requested_model),
                "served_model": to_blob(trace.served_model),
                "request_node": request.id if request else None,
                "message_count": len(trace.messages),
                "has_tool_calls": any(answer.has_tool_calls for answer in answers if answer),
                "tools_blob": self._add_blob(trace.tools),
                "response_format_blob": self._add_blob(trace.response_format),
                "parameters_blob": self._add_blob(trace.parameters),
                "metadata_blob": self._add_blob(trace.metadata),
                "error_blob": self._add_blob(to_blob(trace.error)),
                "usage": trace.usage,
                "prompt_tokens": _countable(trace.prompt_tokens),
                "completion_tokens": _countable(trace.completion_tokens),
                "ttft_ms": trace.ttft_ms,
                "duration_ms": trace.duration_ms,
                "upstream_id": to_blob(trace.upstream_id),
                "request_id": to_blob(trace.request_id),
                "system_fingerprint": to_blob(trace.system_fingerprint),
                "session": to_blob(trace.session),
                "user": to_blob(trace.user),
                "key_fingerprint": to_blob(trace.key_fingerprint),
                "flags": ",".join(sorted(trace.flags)),
                "request_bytes": _int64(trace.request_bytes, "request_bytes"),
                "response_bytes": _int64(trace.response_bytes, "response_bytes"),
            }
        )
        for position, (reply, answer) in enumerate(zip(trace.replies, answers, strict=True)):
            self.replies.append(
                {
                    "trace_id": trace.id.bytes,
                    "position": position,
                    "choice_index": _int64(reply.index, "the index of a reply"),
                    "node_id": answer.id if answer else None,
                    "finish_reason": to_blob(reply.finish_reason),
                    "logprobs_blob": self._add_blob(reply.logprobs),
                }
            )
        for position, (name, value) in enumerate(trace.tags.items()):
            self.tags.append(
                {"trace_id": trace.id.bytes, "position": position, "name": to_blob(name), "value": to_blob(value)}
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
        id=UUID(bytes=row["id"]),
        created_at=from_micros(row["created_at"]),
        method=some_text(row["method"]),
        path=some_text(row["path"]),
        route=some_text(row["route"]),
        upstream=some_text(row["upstream"]),
        outcome=Outcome(row["outcome"]),
        endpoint=row["endpoint"],
        status=row["status"],
        is_streaming=bool(row["is_streaming"]),
        requested_model=from_blob(row["requested_model"]),
        served_model=from_blob(row["served_model"]),
        messages=messages,
        tools=blob("tools_blob"),
        response_format=blob("response_format_blob"),
        parameters=blobs[row["parameters_blob"]],
        replies=replies,
        usage=row["usage"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        ttft_ms=row["ttft_ms"],
        duration_ms=row["duration_ms"],
        upstream_id=from_blob(row["upstream_id"]),
        request_id=from_blob(row["request_id"]),
        system_fingerprint=from_blob(row["system_fingerprint"]),
        session=from_blob(row["session"]),
        user=from_blob(row["user"]),
        tags=tags,
        metadata=blob("metadata_blob"),
        key_fingerprint=from_blob(row["key_fingerprint"]),
        error=from_blob(blob("error_blob")),
        flags=flags_of(row["flags"]),
        request_bytes=row["request_bytes"],
        response_bytes=row["response_bytes"],
    )


def flags_of(text: str) -> frozenset[Flag]:
    """Read the column `flags`."""
    return frozenset(Flag(name) for name in text.split(",") if name)


def _int64(value: int | None, what: str) -> int | None:
    if value is not None and value not in _INT64:
        raise OverflowError(f"{what} is {len(str(abs(value)))} digits long")
    return value


def _countable(tokens: int | None) -> int | None:
    """Leave out a count beyond all sense, which could overflow a sum; `usage` keeps it as the upstream wrote it."""
    return tokens if tokens is not None and abs(tokens) <= _MAX_TOKENS else None
