"""The one form of a row, whichever way its dataset is born.

`messages` hold the whole, the answer included; `weight` is 1 on each assistant message to learn from and 0 on the
others, as OpenAI's fine-tuning format has it. `prompt` and `response` are the plain view of the last answer that is
learned: what was asked last, and what was said. `row_id` is a hash of the content, so the same content is the same row
wherever it came from; metadata never change it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from processing.example import Example
from processing.metrics import answer_text
from store import json_text
from store.recorded.errors import LineError, MessageFormError
from store.recorded.message import Json, Message, Turn
from store.recorded.message_form import read_messages, text_of, to_openai
from store.recorded.source_value import read_tools

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_WEIGHT: Final = "weight"
_SHAPE: Final[Mapping[str, Json]] = {
    "source_trace_id": None,
    "teacher_model": None,
    "judge_score": None,
    "cluster_id": None,
    "tags": [],
}
"""The metadata that every row has, with what stands there when nothing is known."""


class RowFault(StrEnum):
    """Why something is no row. A closed list."""

    NO_MESSAGES = "no_messages"
    """There is no array of messages, or an empty one."""
    BAD_MESSAGE = "bad_message"
    """A message is not a chat message; `detail` tells which and what may stand there."""
    NO_PROMPT = "no_prompt"
    """Nothing but system messages stands before the answer: there is no input to learn it from."""
    NO_RESPONSE = "no_response"
    """There is no assistant message, or its cell is missing."""
    EMPTY_RESPONSE = "empty_response"
    """The last assistant message says nothing: neither text nor a refusal nor a tool call."""
    BAD_WEIGHT = "bad_weight"
    """A `weight` is not 0 or 1, or stands on a message that is not the assistant's."""
    NOTHING_LEARNED = "nothing_learned"
    """The weight of every assistant message is 0."""
    BAD_TOOLS = "bad_tools"
    """The tools are not an array of tool definitions with names."""
    BAD_RESPONSE_FORMAT = "bad_response_format"
    """The response format is not an object."""
    BAD_METADATA = "bad_metadata"
    """The metadata are not an object."""
    NOT_JSON = "not_json"
    """It holds NaN, an infinity or another value that JSON does not have."""
    TOO_DEEP = "too_deep"
    """It nests deeper than 200 levels."""


class RowFormError(Exception):
    """Something is no row.

    Attributes:
        reason: Why, from the closed list.
        detail: One sentence for a person; holds no message content.
    """

    def __init__(self, reason: RowFault, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class PlainView(NamedTuple):
    """A row as one text in and one text out.

    Attributes:
        prompt: The user's last words before the answer; None where the user said nothing.
        response: The answer; tool calls as `{"name", "arguments"}`.
    """

    prompt: str | None
    response: str


def row_of(
    messages: Sequence[Json],
    *,
    tools: Json = None,
    response_format: Json = None,
    metadata: Mapping[str, Json] | None = None,
    targets: Sequence[int] | None = None,
) -> dict[str, Json]:
    """Make a row of a conversation; what is given is not changed.

    Args:
        messages: In any known chat form, the answer included; a `weight` of 0 on an assistant message keeps it out of
            what is learned.
        tools: Tool definitions, or none.
        response_format: As a request has it, or none.
        metadata: Kept as they are; what every row has and is missing here is added as null.
        targets: Positions of the assistant messages to learn from, in place of the weights; None for the weights, and
            where no message has one for every assistant message that says something to something that was said.

    Raises:
        RowFormError: It is no row; the reason is of the closed list.
    """
    read = _read(messages)
    weights = _weights(read, targets)
    _require_answer(read, weights)
    written: dict[str, Json] = {"messages": _written(read, weights)}
    if (definitions := _tools(tools)) is not None:
        written["tools"] = definitions
    if response_format is not None:
        if not isinstance(response_format, dict):
            raise RowFormError(RowFault.BAD_RESPONSE_FORMAT, "response_format is not an object")
        written["response_format"] = response_format
    if metadata is not None and not isinstance(metadata, Mapping):
        raise RowFormError(RowFault.BAD_METADATA, "metadata is not an object")
    view = plain_view(read, max(weights, key=lambda at: (weights[at], at)))
    given = dict(metadata or {})
    row = {
        "row_id": row_id(written),
        **written,
        "prompt": view.prompt,
        "response": view.response,
        "metadata": {**{name: value for name, value in _SHAPE.items() if name not in given}, **given},
    }
    _require_json(row)
    return row


def messages_of(prompt: str, response: str, *, system: str | None = None) -> list[dict[str, Json]]:
    """Write a plain prompt and its response as messages."""
    opening: list[dict[str, Json]] = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def row_id(content: Mapping[str, Json]) -> str:
    """Hash what a row teaches: its messages with their weights, tools and response format; 32 hex digits."""
    taught = [content["messages"], content.get("tools"), content.get("response_format")]
    # ASCII, so that lone surrogates have bytes too.
    return blake2b(json.dumps(taught, sort_keys=True).encode(), digest_size=16).hexdigest()


def plain_view(messages: Sequence[Message], target: int) -> PlainView:
    """Give the plain view of the answer at a position."""
    said = [text_of(message) for message in messages[:target] if message.role == "user"]
    answer = messages[target]
    return PlainView(said[-1] if said else None, answer_text(answer) or answer.refusal or "")


def targets_of(messages: Sequence[Mapping[str, Json]]) -> tuple[int, ...]:
    """Give the positions of the messages that are learned from."""
    return tuple(position for position, message in enumerate(messages) if message.get(_WEIGHT) == 1)


def example_of(row: Mapping[str, Json]) -> Example:
    """Give a row as the stages of a run take it: its last target is what was answered, its metadata say whence.

    Raises:
        RowFormError: It is no row.
    """
    messages = _read(row.get("messages"))
    targets = tuple(sorted(at for at, weight in _weights(messages, None).items() if weight))
    if not targets:
        raise RowFormError(RowFault.NOTHING_LEARNED, "no assistant message has a weight of 1")
    metadata: Mapping[str, Any] = row.get("metadata") or {}
    trace_ids = metadata.get("source_trace_ids")
    is_each = isinstance(trace_ids, list) and len(trace_ids) == len(targets)
    traces = list(trace_ids) if is_each and trace_ids else [None] * len(targets)
    traces[-1] = metadata.get("source_trace_id") or traces[-1]
    return Example(
        id=str(row["row_id"]),
        conversation_id=str(metadata.get("conversation_id") or row["row_id"]),
        group=str(metadata.get("group") or row["row_id"]),
        messages=tuple(_unweighed(message) for message in messages),
        targets=targets,
        source=str(metadata.get("source_trace_id") or row["row_id"]),
        tools=row.get("tools"),
        response_format=row.get("response_format"),
        turns={at: Turn(trace_id=trace) for at, trace in zip(targets, traces, strict=True) if isinstance(trace, str)},
    )


def is_empty(message: Message) -> bool:
    """Whether a message says nothing at all; a part that is not text (an image, audio) says something."""
    if message.tool_calls or message.refusal or text_of(message).strip():
        return False
    parts = message.content if isinstance(message.content, list) else ()
    return not any(isinstance(part, dict) and part.get("type") not in ("text", "input_text") for part in parts)


def _read(messages: Json) -> tuple[Message, ...]:
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise RowFormError(RowFault.NO_MESSAGES, "there is no array `messages` with at least one message")
    if json_text.is_too_deep(list(messages)):
        raise RowFormError(RowFault.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
    try:
        return read_messages(messages).messages
    except MessageFormError as exc:
        raise RowFormError(RowFault.BAD_MESSAGE, str(exc)) from exc
    except json_text.JsonTextError as exc:
        raise RowFormError(RowFault.NOT_JSON, "a message holds a value that JSON does not have") from exc


def _weights(messages: Sequence[Message], targets: Sequence[int] | None) -> dict[int, int]:
    """The weight of each assistant message."""
    for position, message in enumerate(messages):
        weight = message.extra.get(_WEIGHT)
        is_known = weight in (0, 1) and not isinstance(weight, bool)
        if weight is not None and not (is_known and message.role == "assistant"):
            raise RowFormError(
                RowFault.BAD_WEIGHT, f"message {position}: weight has to be 0 or 1, on an assistant message"
            )
    spoken = {position: message for position, message in enumerate(messages) if message.role == "assistant"}
    if targets is not None:
        return {position: int(position in targets) for position in spoken}
    are_weighed = any(_WEIGHT in message.extra for message in spoken.values())
    if are_weighed:
        return {position: int(message.extra.get(_WEIGHT, 1)) for position, message in spoken.items()}
    return {
        position: int(not is_empty(message) and _is_asked(messages[:position])) for position, message in spoken.items()
    }


def _require_answer(messages: Sequence[Message], weights: Mapping[int, int]) -> None:
    if not weights:
        raise RowFormError(RowFault.NO_RESPONSE, "no message is the assistant's")
    learned = [position for position, weight in weights.items() if weight]
    if is_empty(messages[max(learned or weights)]):
        raise RowFormError(RowFault.EMPTY_RESPONSE, "the last assistant message says nothing")
    if not _is_asked(messages[: min(learned or weights)]) and not (not learned and _is_asked(messages[: max(weights)])):
        raise RowFormError(RowFault.NO_PROMPT, "nothing but system messages stands before the answer")
    if not learned:
        raise RowFormError(RowFault.NOTHING_LEARNED, "no assistant message has a weight of 1")


def _is_asked(before: Sequence[Message]) -> bool:
    return any(message.role not in _SYSTEM_ROLES and not is_empty(message) for message in before)


def _written(messages: Sequence[Message], weights: Mapping[int, int]) -> list[Json]:
    written: list[Json] = []
    for position, message in enumerate(messages):
        fields = to_openai(_unweighed(message))
        if position in weights:
            fields[_WEIGHT] = weights[position]
        written.append(fields)
    return written


def _unweighed(message: Message) -> Message:
    if _WEIGHT not in message.extra:
        return message
    return replace(message, extra={name: value for name, value in message.extra.items() if name != _WEIGHT})


def _tools(tools: Json) -> list[Json] | None:
    try:
        return read_tools(tools)
    except LineError as exc:
        raise RowFormError(RowFault.BAD_TOOLS, exc.detail) from exc


def _require_json(row: Mapping[str, Json]) -> None:
    try:
        json_text.dumps(row)
    except (json_text.JsonTextError, TypeError) as exc:
        raise RowFormError(
            RowFault.NOT_JSON, "holds NaN, an infinity or another value that JSON does not have"
        ) from exc
    if json_text.is_too_deep(dict(row)):
        raise RowFormError(RowFault.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
