"""A recorded call in normal form: the messages with the reply at the end.

Nothing here reads files or knows of other lines. A call that cannot be understood raises `LineError` with one of a
closed list of reasons; the caller counts it and keeps the raw line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from store.recorded.errors import LineError, MessageFormError, RejectReason
from store.recorded.message import Json, Message, Turn
from store.recorded.message_form import read_messages
from store.recorded.source_call import SourceCall, SourceReply


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call with its reply, or one whole conversation, as a source told it.

    Attributes:
        messages: The request's messages and, at the end, the reply when there was one. Never empty.
        turn: What is known of the call; it wrote the last message if that is an assistant's.
        source: Where it came from, for a person.
        tools: Tool definitions in OpenAI form.
        response_format: As recorded.
        metadata: Whatever the source said besides.
        flags: What was odd about the messages.
        created_at: When the call was made; None when the source does not say, then the order of the source counts.
    """

    messages: tuple[Message, ...]
    source: str
    turn: Turn = field(default_factory=Turn)
    tools: list[Json] | None = None
    response_format: Json | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    created_at: datetime | None = None


def recorded_calls(call: SourceCall, source: str) -> list[RecordedCall]:
    """Bring a call into normal form: one recorded call per reply, or one without when there is none.

    Args:
        call: As its format's reader gives it.
        source: Where it came from, for a person.

    Raises:
        LineError: `level_error`, `no_messages`, `bad_message` or `bad_response_format`.
    """
    if call.error is not None:
        raise LineError(RejectReason.LEVEL_ERROR, "the source says that the call ended in an error")
    if call.response_format is not None and not isinstance(call.response_format, dict):
        raise LineError(RejectReason.BAD_RESPONSE_FORMAT, "response_format is not an object")
    return [_recorded_call(call, reply, source) for reply in call.replies or (None,)]


def normal_messages(call: SourceCall, reply: SourceReply | None) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Give a call's messages, a reply at the end, in normal form, and the flags of what is odd about them.

    Raises:
        LineError: `no_messages` or `bad_message`.
    """
    messages = [*call.messages, *([] if reply is None else [reply.message])]
    if not messages:
        raise LineError(RejectReason.NO_MESSAGES, "there is no array `messages` with at least one message")
    try:
        return read_messages(messages)
    except MessageFormError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, str(exc)) from exc
    except ValueError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, "a message holds a value that JSON does not have (NaN)") from exc


def _recorded_call(call: SourceCall, reply: SourceReply | None, source: str) -> RecordedCall:
    messages, flags = normal_messages(call, reply)
    own_model = None if reply is None else reply.model
    return RecordedCall(
        messages=messages,
        source=source,
        turn=Turn(
            trace_id=call.id,
            model=own_model or call.served_model or call.requested_model,
            finish_reason=None if reply is None else reply.finish_reason,
            outcome=_outcome(call),
        ),
        tools=call.tools,
        response_format=call.response_format,
        metadata=call.metadata,
        flags=flags,
        created_at=call.created_at,
    )


def _outcome(call: SourceCall) -> str | None:
    """Our own export tells outcome and flags of traces that are not whole; such a completed call is `incomplete`."""
    if call.outcome is None:
        return None
    return "incomplete" if call.outcome.value == "completed" and call.flags else call.outcome.value
