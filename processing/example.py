"""The values that travel through the pipeline: messages, conversations and examples.

Foreign JSON becomes these types once, at the border (`processing.sources`); no stage below sees a raw line again.
"""

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
    """

    trace_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The ordered whole: one leaf of the message tree, or one line of a file that no other line extends.

    Attributes:
        id: Content-derived and stable: the same conversation has the same id in every run.
        messages: All messages, the last reply included.
        tools: Tool definitions in OpenAI form, None when there were none.
        response_format: As recorded.
        turns: Position in `messages` of an assistant message → what is known of its call.
        tree: Names the connected part of the message tree; conversations of one tree never part in a split.
        source: Where it came from, for a person: `traces.jsonl:17` or the leaf's trace id.
        metadata: Whatever the source said besides.
    """

    id: str
    messages: tuple[Message, ...]
    tree: str
    source: str
    tools: list[Json] | None = None
    response_format: Json | None = None
    turns: Mapping[int, Turn] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One training item on its way through the pipeline.

    Attributes:
        id: Content-derived and stable.
        conversation_id: The conversation it was cut from.
        group: Examples of one group stay in one part.
        messages: The whole, targets included: for a single-turn example the prefix and the target at the end; for a
            whole conversation everything up to the last assistant message.
        targets: Positions in `messages` of the assistant messages to be learned (and relabelled).
        tools: See `Conversation`.
        response_format: See `Conversation`.
        turns: See `Conversation`; positions match `messages`.
    """

    id: str
    conversation_id: str
    group: str
    messages: tuple[Message, ...]
    targets: tuple[int, ...]
    source: str
    tools: list[Json] | None = None
    response_format: Json | None = None
    turns: Mapping[int, Turn] = field(default_factory=dict)
