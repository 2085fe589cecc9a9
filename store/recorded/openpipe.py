"""Calls as OpenPipe exports them: `{input: <the request>, output: <the completion, or an error>, tags: {…}}`.

Other recorders write the same under the names `request` and `response`, or `reqPayload` and `respPayload`.
"""

from collections.abc import Mapping
from typing import Final

from store import json_text
from store.recorded.answer import Answer, read_answer
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.source_call import SourceCall
from store.recorded.source_value import (
    first_text,
    first_value,
    milliseconds_between,
    read_metadata,
    read_tags,
    read_time,
    read_tools,
    text_of_value,
    unwrapped,
)
from store.trace import Outcome

_REQUESTS: Final = ("input", "request", "reqPayload", "req_payload")
_ANSWERS: Final = ("output", "response", "respPayload", "resp_payload")
_LIFTED: Final = frozenset({"messages", "tools", "response_format", "metadata"})
_LANGFUSE: Final = frozenset({"type", "traceId", "trace_id", "startTime", "start_time", "level", "id"})


def is_openpipe(value: Mapping[str, Json]) -> bool:
    """Whether a line looks like a request with its completion; one of Langfuse has its own fields besides."""
    if any(name in value for name in _REQUESTS[1:]):
        return isinstance(unwrapped(first_value(value, *_REQUESTS[1:])), dict)
    request = unwrapped(value.get("input"))
    return isinstance(value.get("tags"), dict) and isinstance(request, dict) and _LANGFUSE.isdisjoint(value)


def read_openpipe(value: Mapping[str, Json]) -> SourceCall:
    """Read one call.

    Raises:
        LineError: `no_messages`, `bad_message` or `bad_tools`.
    """
    request = unwrapped(first_value(value, *_REQUESTS))
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list) or not request["messages"]:
        raise LineError(RejectReason.NO_MESSAGES, "the request holds no array `messages` with at least one message")
    output = unwrapped(first_value(value, *_ANSWERS))
    answer = _read_output(output)
    asked_at = read_time(first_value(value, "requestedAt", "requested_at", "startTime", "start_time"))
    received_at = read_time(first_value(value, "receivedAt", "received_at", "endTime", "end_time"))
    status = first_value(value, "statusCode", "status_code", "status")
    error = first_text(value, "errorMessage", "error_message") or answer.error
    if error is None and type(status) is int and status >= 400:
        error = f"status {status}"
    return SourceCall(
        messages=request["messages"],
        replies=answer.replies,
        tools=read_tools(request.get("tools")),
        response_format=request.get("response_format"),
        metadata=read_metadata(first_value(request, "metadata")),
        parameters={name: item for name, item in request.items() if name not in _LIFTED},
        id=text_of_value(value.get("id")),
        requested_model=text_of_value(request.get("model")),
        served_model=answer.model,
        outcome=_outcome(answer, error),
        error=error,
        created_at=asked_at or answer.created_at,
        duration_ms=milliseconds_between(asked_at, received_at),
        usage=answer.usage,
        upstream_id=answer.upstream_id,
        system_fingerprint=answer.system_fingerprint,
        user=text_of_value(request.get("user")),
        tags=read_tags(value.get("tags")),
    )


def _read_output(output: Json) -> Answer:
    """Read the answer; an object that is neither completion nor message is the error that came instead."""
    if isinstance(output, dict) and not any(name in output for name in ("choices", "role", "output")):
        return Answer(error=json_text.dumps(output).decode()) if output else Answer()
    return read_answer(output)


def _outcome(answer: Answer, error: str | None) -> Outcome | None:
    if error is not None:
        return Outcome.UPSTREAM_ERROR
    is_whole = answer.replies and all(reply.finish_reason for reply in answer.replies)
    return Outcome.COMPLETED if is_whole else None
