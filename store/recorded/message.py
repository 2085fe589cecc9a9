"""The values that recorded calls are made of: messages, tool calls, and what is known of a turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
"""A JSON value as `store.json_text.loads` gives it."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by the assistant.

    Attributes:
        id: The call's id; None when the source had none.
        name: The tool's name.
        arguments: The arguments as the JSON *text* the model wrote; a source that holds an object is written as text.
    """

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message in normal form.

    Attributes:
        role: system, developer, user, assistant or tool.
        content: Text, a list of content parts as they came, or None.
        tool_calls: The assistant's tool calls in order; a legacy `function_call` is one of them.
        tool_call_id: On a tool message: the call that it answers (paired when the source left it out).
        name: Name field of the message.
        refusal: The assistant's refusal text.
        reasoning: `reasoning_content` or `reasoning` of the message.
        extra: Every other field, as it came.
    """

    role: str
    content: str | list[Json] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known of the call that wrote one assistant message.

    Attributes:
        trace_id: The trace; None for imported lines that name none.
        model: The model that served it.
        finish_reason: As reported, None when unknown.
        outcome: As in the trace; None when the source does not know.
        demonstration: The answer as somebody said it should have been; None when nobody did.
    """

    trace_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    outcome: str | None = None
    demonstration: Message | None = None
