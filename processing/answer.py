"""What one teacher call said: a completion made into a row of the call table, and a row read as an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeGuard

from processing.endpoint import Endpoint
from processing.http_reply import Completion
from store import json_text
from store.call import Call
from store.recorded.errors import MessageFormError
from store.recorded.message import Json, Message
from store.recorded.message_form import read_messages, text_of


class Fault(StrEnum):
    """Why a call gave no answer. A closed list, also the `error` column of the call table."""

    CONTEXT_LENGTH = "context_length"
    """The question is longer than the model takes."""
    REJECTED = "rejected"
    """The server calls the request wrong; its words stand beside it."""
    FAILING = "failing"
    """The upstream kept failing; not remembered, a later run asks again."""
    EMPTY_CHOICES = "empty_choices"
    """The completion holds no message."""
    BAD_MESSAGE = "bad_message"
    """The completion's message is not a chat message."""
    EMPTY_REPLY = "empty_reply"
    """Neither text nor tool calls nor a refusal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    Attributes:
        key: The call's key.
        message: The model's message; an empty one when there is a fault.
        finish_reason: As reported.
        fault: None for an answer.
        detail: For a person, when there is a fault.
    """

    key: bytes
    message: Message
    finish_reason: str | None = None
    fault: Fault | None = None
    detail: str | None = None

    @property
    def problem(self) -> str | None:
        """The fault with its detail; None for an answer."""
        return None if self.fault is None else f"{self.fault}: {self.detail}"


def record_call(where: Endpoint, key: bytes, purpose: str, body: Mapping[str, Json], completion: Completion) -> Call:
    """Make the row of a call that has ended."""
    usage = completion.body.get("usage") if completion.body else None
    usage = usage if isinstance(usage, dict) else None
    reply = completion.body if completion.body is not None else {"error": completion.detail}
    call = Call(
        key=key,
        purpose=purpose,
        model=where.name,
        base_url=where.shown_url,
        request=json_text.dumps(body),
        reply=json_text.dumps(reply),
        usage=None if usage is None else json_text.dumps(usage),
        cost=cost_of(where, usage),
        attempts=completion.attempts,
        error=completion.fault,
        duration_ms=completion.duration_ms,
    )
    if completion.fault is None and (fault := read_answer(call).fault) is not None:
        return replace(call, error=fault)
    return call


def read_answer(call: Call) -> Answer:
    """Read a recorded call; what is no answer becomes a fault and never a label."""
    reply = json_text.loads(call.reply) if call.reply else {}
    if call.error is not None and call.error not in _IN_REPLY:
        return _fault(call, Fault(call.error), str(reply.get("error")))
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return _fault(call, Fault.EMPTY_CHOICES, "the completion has no choice with a message")
    try:
        # Some servers name another role or none: whoever answered is the assistant.
        read = read_messages([{**choice["message"], "role": "assistant"}]).messages
    except (MessageFormError, ValueError) as exc:
        return _fault(call, Fault.BAD_MESSAGE, str(exc))
    message = read[0]
    if message.role != "assistant":
        return _fault(call, Fault.BAD_MESSAGE, "the message holds a tool's result")
    if not (text_of(message).strip() or message.tool_calls or message.refusal):
        return _fault(call, Fault.EMPTY_REPLY, "the message is empty")
    finish = choice.get("finish_reason")
    return Answer(call.key, message, finish if isinstance(finish, str) else None)


_COUNTS = ("prompt_tokens", "completion_tokens")
_MOST_TOKENS = 2**53
_IN_REPLY = {Fault.EMPTY_CHOICES, Fault.BAD_MESSAGE, Fault.EMPTY_REPLY}


def _fault(call: Call, fault: Fault, detail: str) -> Answer:
    return Answer(call.key, Message("assistant"), None, fault, detail)


def cost_of(where: Endpoint, usage: Mapping[str, Json] | None) -> float | None:
    """What an answer costs by the configured price; None when price or usage is unknown."""
    if where.price is None or usage is None or not all(_is_count(usage.get(name)) for name in _COUNTS):
        return None
    details = usage.get("prompt_tokens_details")
    cached = reported(details, "cached_tokens") if isinstance(details, dict) else 0
    cached_price = where.price.input if where.price.cached is None else where.price.cached
    plain = max(reported(usage, "prompt_tokens") - cached, 0)
    completion = reported(usage, "completion_tokens")
    return (plain * where.price.input + cached * cached_price + completion * where.price.output) / 1_000_000


def reported(usage: Mapping[str, Json], name: str) -> int:
    """A number of tokens from a usage object; 0 when it holds none that can be believed."""
    value = usage.get(name)
    return value if _is_count(value) else 0


def _is_count(value: Json) -> TypeGuard[int]:
    """Whether this can be a number of tokens; anything else a server reports is not believed."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
