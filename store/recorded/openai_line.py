"""Lines as OpenAI writes them, `{messages, tools?, response_format?, metadata?, …}`, and those of our own export.

Our own export names the trace in `metadata`, and for a trace that is not whole its outcome and flags. Such a line is
known by holding nothing else there, so that somebody's own `trace_id` is not taken for one of ours.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.source_call import SourceCall, part_reply
from store.recorded.source_value import first_text, parsed_or_none, read_metadata, read_time, read_tools, text_of_value
from store.trace import Flag, Outcome

_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}
_FLAGS: Final = {flag.value: flag for flag in Flag}
_LIFTED: Final = frozenset({"messages", "tools", "response_format", "metadata", "model", "user"})
_OWN_FIELDS: Final = frozenset({"trace_id", "choice", "outcome", "flags", "feedback"})
_TIMES: Final = ("created_at", "timestamp", "start_time", "startTime")


class OwnMetadata(NamedTuple):
    """What our own export says of the trace a line was made of.

    Attributes:
        choice: None unless the trace has several replies.
        outcome: `completed` where the trace is whole.
        flags: Empty where the trace is whole.
    """

    trace_id: UUID
    choice: int | None
    outcome: Outcome
    flags: frozenset[Flag]


def read_openai(value: Mapping[str, Json]) -> SourceCall:
    """Read a line of messages; `metadata` may be an object or JSON text.

    Raises:
        LineError: `no_messages` or `bad_tools`.
    """
    metadata = read_metadata(value.get("metadata"))
    messages, replies = part_reply(value.get("messages"), text_of_value(metadata.get("finish_reason")))
    if not messages and not replies:
        raise LineError(RejectReason.NO_MESSAGES, "there is no array `messages` with at least one message")
    outcome = metadata.get("outcome")
    flags = metadata.get("flags")
    return SourceCall(
        messages=messages,
        replies=replies,
        tools=read_tools(value.get("tools"), value.get("functions")),
        response_format=value.get("response_format"),
        metadata=metadata,
        parameters={name: item for name, item in value.items() if name not in _LIFTED},
        id=text_of_value(metadata.get("trace_id")),
        requested_model=text_of_value(value.get("model")),
        served_model=text_of_value(metadata.get("model")),
        outcome=_OUTCOMES.get(outcome) if isinstance(outcome, str) else None,
        created_at=next((time for name in _TIMES if (time := read_time(metadata.get(name)))), None),
        session=first_text(metadata, "session", "session_id"),
        user=text_of_value(value.get("user")) or first_text(metadata, "user", "user_id"),
        flags=_known_flags(flags) or frozenset(),
    )


def read_own(value: Mapping[str, Json], own: OwnMetadata) -> SourceCall:
    """Read a line of our own export: whatever the trace held is taken as it stands.

    Raises:
        LineError: `no_messages` or `bad_message`: somebody changed the line.
    """
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise LineError(RejectReason.NO_MESSAGES, "there is no array `messages` with at least one message")
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise LineError(RejectReason.BAD_MESSAGE, f"message {position} is not an object")
    request, replies = part_reply(messages)
    replies = tuple(replace(reply, index=own.choice or 0) for reply in replies)
    return SourceCall(
        messages=request,
        replies=replies,
        tools=value.get("tools"),
        response_format=value.get("response_format"),
        metadata={name: item for name, item in value["metadata"].items() if name == "feedback"},
        parameters={name: item for name, item in value.items() if name not in _LIFTED},
        trace_id=own.trace_id,
        choice=own.choice,
        outcome=own.outcome,
        flags=own.flags,
        created_at=_time_of(own.trace_id),
    )


def read_own_metadata(value: Mapping[str, Json]) -> OwnMetadata | None:
    """Tell what our own export says in a line; None when the line is not one of it."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or "trace_id" not in metadata or not _OWN_FIELDS.issuperset(metadata):
        return None
    trace_id, choice = read_trace_id(metadata["trace_id"]), metadata.get("choice")
    outcome = metadata.get("outcome", Outcome.COMPLETED.value)
    flags = _known_flags(metadata.get("flags", []))
    if trace_id is None or flags is None or type(choice) not in (int, type(None)):
        return None
    if not isinstance(outcome, str) or outcome not in _OUTCOMES:
        return None
    return OwnMetadata(trace_id, choice, _OUTCOMES[outcome], flags)


def read_trace_id(text: Json) -> UUID | None:
    """Read the id of a trace: version 7 when it was captured, 8 when it was imported; None for anything else."""
    if not isinstance(text, str) or len(text) != len("00000000-0000-7000-8000-000000000000"):
        return None
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if found.version in (7, 8) else None


def read_unstructured(value: Mapping[str, Json]) -> SourceCall:
    """Read a line `{context: "<JSON array of messages>"}`; the string may also hold a whole `{messages, tools}`.

    Raises:
        LineError: `bad_context`, or as `read_openai`.
    """
    context = value.get("context")
    inner: Json = context
    if isinstance(context, str):
        inner = parsed_or_none(context)
        if inner is None:
            raise LineError(RejectReason.BAD_CONTEXT, "context is a string, but not JSON of an array or object")
    rest = {name: field for name, field in value.items() if name != "context"}
    if isinstance(inner, list):
        return read_openai({**rest, "messages": inner})
    if isinstance(inner, dict) and "messages" in inner:
        return read_openai({**rest, **inner})
    raise LineError(RejectReason.BAD_CONTEXT, "context must be a string that holds a JSON array of messages")


def _known_flags(flags: Json) -> frozenset[Flag] | None:
    """Read a list of our own flags; None when it is anything else."""
    if not isinstance(flags, list) or any(not isinstance(flag, str) or flag not in _FLAGS for flag in flags):
        return None
    return frozenset(_FLAGS[flag] for flag in flags)


def _time_of(trace_id: UUID) -> datetime | None:
    """Give the time that a trace's id begins with; an import without a time has none."""
    return read_time(trace_id.int >> 80) if trace_id.int >> 80 else None
