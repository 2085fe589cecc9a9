"""What sources keep as the answer of a call, in every shape that was met: messages, completions, parts, bare text.

Each shape is recognised by the fields that make it what it is; text that merely happens to be JSON stays text.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from store import json_text
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.source_call import SourceReply
from store.recorded.source_value import first_text, first_value, parsed_or_none, read_time, text_of_value

_MOST_INDEX: Final = 2**31


class Answer(NamedTuple):
    """An answer, taken apart; what it does not tell is None.

    Attributes:
        replies: One per choice; empty when there is none.
    """

    replies: tuple[SourceReply, ...] = ()
    model: str | None = None
    usage: Mapping[str, Json] | None = None
    upstream_id: str | None = None
    system_fingerprint: str | None = None
    error: str | None = None
    created_at: datetime | None = None


def read_answer(value: Json) -> Answer:
    """Read an answer of any known shape.

    Raises:
        LineError: `bad_message`: an array that holds something unknown.
    """
    if isinstance(value, str):
        parsed = parsed_or_none(value)
        if not _is_answer(parsed):
            return _one({"role": "assistant", "content": value})
        value = parsed
    if value is None or value == []:
        return Answer()
    if isinstance(value, list):
        return _one(_from_items(value))
    if isinstance(value, dict):
        return _from_object(value)
    return _one({"role": "assistant", "content": json_text.dumps(value).decode()})


def _one(message: Mapping[str, Json], finish_reason: str | None = None) -> Answer:
    return Answer((SourceReply(message, finish_reason),))


def _is_answer(value: Json) -> bool:
    """Whether parsed JSON text is a recorded answer, and not a reply that was asked for in JSON."""
    if isinstance(value, dict):
        return isinstance(value.get("choices"), list) or (value.get("role") == "assistant") or _is_responses(value)
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and "toolName" in i for i in value)


def _is_responses(value: Mapping[str, Json]) -> bool:
    return isinstance(value.get("output"), list) and value.get("object") == "response"


def _from_object(value: Mapping[str, Json]) -> Answer:
    if isinstance(value.get("choices"), list):
        return _from_completion(value)
    if isinstance(value.get("output"), list):
        replies = _one(_from_items(value["output"])).replies if value["output"] else ()
        return _about(value, replies)
    if value.get("role") is not None or any(name in value for name in ("content", "tool_calls", "function_call")):
        finish_reason = first_text(value, "finish_reason", "finishReason")
        message = {name: item for name, item in value.items() if name not in ("finish_reason", "finishReason")}
        return _one({**message, "role": value.get("role") or "assistant"}, finish_reason)
    if "toolCalls" in value or "text" in value:
        message = {"role": "assistant", "content": value.get("text"), "toolCalls": value.get("toolCalls")}
        return _one(message, text_of_value(value.get("finishReason")))
    return _one({"role": "assistant", "content": _dumped(value)})


def _from_completion(value: Mapping[str, Json]) -> Answer:
    model = text_of_value(value.get("model"))
    choices = [choice for choice in value["choices"] if isinstance(choice, dict)]
    found = [(choice, message) for choice in choices if (message := _message_of(choice)) is not None]
    indexes = _indexes([choice for choice, _ in found])
    replies = tuple(
        SourceReply(message, text_of_value(choice.get("finish_reason")), model, index)
        for (choice, message), index in zip(found, indexes, strict=True)
    )
    return _about(value, replies)


def _indexes(choices: Sequence[Mapping[str, Json]]) -> list[int]:
    """Give the choices' own indexes where all have one; else their places."""
    told = {index for choice in choices if type(index := choice.get("index")) is int and 0 <= index < _MOST_INDEX}
    return [choice["index"] for choice in choices] if len(told) == len(choices) else list(range(len(choices)))


def _message_of(choice: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """Give a choice's message; of a text completion the text as one."""
    message = choice.get("message")
    if isinstance(message, dict):
        return message if message.get("role") is not None else {"role": "assistant", **message}
    text = choice.get("text")
    return {"role": "assistant", "content": text} if isinstance(text, str) else None


def _about(value: Mapping[str, Json], replies: tuple[SourceReply, ...]) -> Answer:
    usage = value.get("usage")
    error = value.get("error")
    return Answer(
        replies,
        text_of_value(value.get("model")),
        usage if isinstance(usage, dict) and usage else None,
        text_of_value(value.get("id")),
        text_of_value(value.get("system_fingerprint")),
        _dumped(error) if isinstance(error, dict) and error else text_of_value(error),
        read_time(first_value(value, "created", "created_at")),
    )


def _from_items(items: Sequence[Json]) -> dict[str, Json]:
    """Fold an array of calls, parts or Responses items into one assistant message."""
    if any(not isinstance(item, dict) for item in items):
        raise LineError(RejectReason.BAD_MESSAGE, "output is an array that holds something other than objects")
    if len(items) == 1 and items[0].get("role") == "assistant" and "type" not in items[0]:
        return dict(items[0])
    content: list[Json] = []
    calls: list[Json] = []
    reasoning: list[str] = []
    for item in items:
        if "toolName" in item or item.get("type") == "function_call" or "function" in item:
            calls.append({**item, "id": item.get("call_id")} if item.get("call_id") is not None else item)
        elif item.get("type") == "reasoning":
            reasoning += _summary(item.get("summary"))
        elif item.get("role") == "assistant":
            inner = item.get("content")
            content += inner if isinstance(inner, list) else [{"type": "text", "text": inner}] if inner else []
        elif item.get("type") in ("text", "output_text"):
            content.append(item)
        else:
            raise LineError(RejectReason.BAD_MESSAGE, "output is an array of a shape that is not known")
    return {
        "role": "assistant",
        "content": _joined(content),
        "tool_calls": calls or None,
        "reasoning_content": "".join(reasoning) or None,
    }


def _summary(value: Json) -> list[str]:
    parts = value if isinstance(value, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _joined(parts: Sequence[Json]) -> Json:
    if not parts:
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    return "".join(str(text) for text in texts) if all(isinstance(text, str) for text in texts) else list(parts)


def _dumped(value: Json) -> str:
    try:
        return json_text.dumps(value).decode()
    except ValueError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, "output holds a value that JSON does not have (NaN)") from exc
