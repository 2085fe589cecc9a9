"""A whole call as bytes, there and back: the form in which dead letters and raw calls are kept.

It is a journal's segment that holds this one call: its BEGIN and its END, under a mark of zeros.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from proxy.journal.format import (
    MARK_SIZE,
    SEGMENT_HEAD_SIZE,
    SEGMENT_MAGIC,
    Entry,
    EntryKind,
    encode,
    read_entries,
)
from proxy.journal.raw_call import RawCall
from store.trace import Outcome

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MARK = bytes(MARK_SIZE)
_HEAD = SEGMENT_MAGIC + _MARK


def make_call(id_: bytes, begin: Mapping[str, Any], end: Mapping[str, Any], request: bytes, response: bytes) -> RawCall:
    """Put a call together from what its entries say.

    Args:
        id_: The trace id's 16 bytes.
        begin: What BEGIN tells.
        end: What END tells, or whatever came in its place; `outcome` at least.
        request: The request's body.
        response: The answer's.
    """
    return RawCall(
        # Of an integer, since UUID looks at bytes twice: half a microsecond more.
        trace_id=UUID(int=int.from_bytes(id_, "big")),
        started_at=datetime.fromtimestamp(begin["started_at"], UTC),
        method=begin["method"],
        path=begin["path"],
        route=begin["route"],
        upstream=begin["upstream"],
        outcome=_OUTCOMES.get(end["outcome"]) or Outcome(end["outcome"]),
        request_headers=_pairs(begin["headers"]),
        request_body=request,
        request_bytes=end.get("request_bytes", len(request)),
        is_request_truncated=end.get("request_truncated", False),
        status=end.get("status"),
        response_headers=_pairs(end.get("headers", ())),
        response_body=response,
        response_bytes=end.get("response_bytes", len(response)),
        is_response_truncated=end.get("response_truncated", False),
        ttft_ms=end.get("ttft_ms"),
        duration_ms=end.get("duration_ms"),
        key_fingerprint=begin.get("key"),
        error=end.get("error"),
    )


def call_entries(call: RawCall) -> bytes:
    """Return a call as a segment of its own, from which a reader makes the same call again."""
    begin = {
        "started_at": call.started_at.timestamp(),
        "method": call.method,
        "path": call.path,
        "route": call.route,
        "upstream": call.upstream,
        "headers": call.request_headers,
        "key": call.key_fingerprint,
    }
    end = {
        "outcome": call.outcome,
        "status": call.status,
        "headers": call.response_headers,
        "request_bytes": call.request_bytes,
        "request_truncated": call.is_request_truncated,
        "response_bytes": call.response_bytes,
        "response_truncated": call.is_response_truncated,
        "ttft_ms": call.ttft_ms,
        "duration_ms": call.duration_ms,
        "error": call.error,
    }
    return b"".join(
        (
            _HEAD,
            encode(_MARK, EntryKind.BEGIN, call.trace_id, begin, call.request_body),
            encode(_MARK, EntryKind.END, call.trace_id, end, call.response_body),
        )
    )


def read_call(data: bytes) -> RawCall:
    """Read what `call_entries` wrote.

    Raises:
        ValueError: The bytes are something else, or damaged.
    """
    found = list(read_entries(_MARK, data[SEGMENT_HEAD_SIZE:], SEGMENT_HEAD_SIZE)) if data.startswith(_HEAD) else []
    match found:
        case [Entry(kind=EntryKind.BEGIN) as begin, Entry(kind=EntryKind.END) as end] if begin.id == end.id:
            try:
                return make_call(begin.id, begin.meta, end.meta, bytes(begin.body), bytes(end.body))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"a kept call lacks what a call has ({type(error).__name__})") from error
        case _:
            raise ValueError("a kept call is not one BEGIN and one END")


def _pairs(headers: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in headers])
