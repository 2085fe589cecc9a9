"""Messages of the GenAI conventions, in chat form.

Today's conventions write a message as a role with *parts*. Earlier ones write one event per message, or spread the
messages over numbered attributes (`gen_ai.prompt.0.content`).
"""

import re
from collections.abc import Mapping
from typing import Final

from store import json_text
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.otel_span import SpanEvent
from store.recorded.source_call import SourceReply
from store.recorded.source_value import text_of_value, unwrapped

_NUMBERED: Final = re.compile(r"(\d{1,6})\.(.+)")
_EVENT_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE: Final = "gen_ai.choice"


def read_part_messages(value: Json, what: str) -> list[Json]:
    """Bring messages with parts into chat form; one that has `content` and no parts stays as it is.

    Raises:
        LineError: `bad_message`: they are no array of objects.
    """
    found = unwrapped(value)
    if isinstance(found, str):
        return [{"role": "user", "content": found}]
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise LineError(RejectReason.BAD_MESSAGE, f"{what} is not an array of messages")
    messages: list[Json] = []
    for position, message in enumerate(found):
        if not isinstance(message, dict):
            raise LineError(RejectReason.BAD_MESSAGE, f"{what}[{position}] is not an object")
        messages += _unfolded(message)
    return messages


def read_replies(value: Json, what: str) -> tuple[SourceReply, ...]:
    """Bring output messages into replies, one per message.

    Raises:
        LineError: `bad_message`.
    """
    found = unwrapped(value)
    if isinstance(found, str):
        return (SourceReply({"role": "assistant", "content": found}),)
    items = found if isinstance(found, list) else [found]
    replies: list[SourceReply] = []
    for message in items:
        parts = message.get("parts") if isinstance(message, dict) else None
        if isinstance(message, dict) and parts is None and "content" not in message and "tool_calls" not in message:
            raise LineError(RejectReason.BAD_MESSAGE, f"{what} holds a message without parts")
        read = read_part_messages([message], what)
        reason = text_of_value(message["finish_reason"]) if "finish_reason" in message else None
        replies += [
            SourceReply({**one, "role": "assistant"}, reason, index=len(replies) + number)
            for number, one in enumerate(read)
        ]
    return tuple(replies)


def read_instructions(value: Json) -> list[Json]:
    """Bring system instructions, an array of parts or a text, into a system message; none when there are none."""
    found = unwrapped(value)
    if isinstance(found, str) and found:
        return [{"role": "system", "content": found}]
    return _unfolded({"role": "system", "parts": found}) if isinstance(found, list) and found else []


def read_events(events: tuple[SpanEvent, ...]) -> tuple[list[Json], tuple[SourceReply, ...]]:
    """Read messages that were recorded as one event each, and choices."""
    messages: list[Json] = []
    replies: list[SourceReply] = []
    for event in events:
        told = _event_fields(event)
        if event.name in _EVENT_ROLES:
            role = text_of_value(told.get("role")) or _EVENT_ROLES[event.name]
            messages.append(_event_message(told, role))
        elif event.name == _CHOICE:
            inner = unwrapped(told.get("message"))
            content = told.get("content") if inner is None else inner
            message = inner if isinstance(inner, dict) else {"content": content}
            if "tool_calls" in told and "tool_calls" not in message:
                message = {**message, "tool_calls": told["tool_calls"]}
            reason = text_of_value(told.get("finish_reason"))
            replies.append(SourceReply(_event_message(message, "assistant"), reason, index=len(replies)))
    return messages, tuple(replies)


def read_numbered(attributes: Mapping[str, Json], prefix: str) -> list[dict[str, Json]]:
    """Gather attributes such as `gen_ai.prompt.0.tool_calls.1.name` into messages; `arguments` stays text."""
    return [_numbered_message(fields) for fields in _numbered(attributes, prefix)]


def _numbered_message(fields: Mapping[str, Json]) -> dict[str, Json]:
    calls = [_call(call) for call in _numbered(fields, "tool_calls.")]
    message = {name: value for name, value in fields.items() if not name.startswith("tool_calls.")}
    if "content" in message:
        inner = unwrapped(message["content"])
        # The instrumentation writes content parts as JSON text.
        is_parts = isinstance(inner, list) and all(isinstance(part, dict) and "type" in part for part in inner)
        message["content"] = inner if is_parts else message["content"]
    return {**message, "tool_calls": calls} if calls else message


def _numbered(fields: Mapping[str, Json], prefix: str) -> list[dict[str, Json]]:
    """Gather `PREFIX0.name`, `PREFIX0.id`, … into one object per number."""
    items: dict[int, dict[str, Json]] = {}
    for name, value in fields.items():
        if name.startswith(prefix) and (match := _NUMBERED.fullmatch(name, len(prefix))):
            items.setdefault(int(match[1]), {})[match[2]] = value
    return [item for _, item in sorted(items.items())]


def _event_fields(event: SpanEvent) -> Mapping[str, Json]:
    """Give what an event says: its body, or a JSON text among its attributes, or the attributes themselves."""
    for name in ("", "gen_ai.event.content", "body", "event_body"):
        inner = unwrapped(event.attributes.get(name))
        if isinstance(inner, dict):
            return inner
    return event.attributes


def _event_message(told: Mapping[str, Json], role: str) -> dict[str, Json]:
    message: dict[str, Json] = {"role": text_of_value(told.get("role")) or role, "content": told.get("content")}
    calls = unwrapped(told.get("tool_calls"))
    if calls is not None:
        message["tool_calls"] = calls
    if role == "tool" and told.get("id") is not None:
        message["tool_call_id"] = told["id"]
    return message


def _unfolded(message: Mapping[str, Json]) -> list[Json]:
    """Bring one message with parts into chat form: results of tools become messages of their own."""
    parts = unwrapped(message.get("parts"))
    if not isinstance(parts, list):
        return [dict(message)]
    told: dict[str, Json] = {"role": message.get("role")}
    if text_of_value(message.get("name")):
        told["name"] = message["name"]
    results: list[Json] = []
    content: list[Json] = []
    calls: list[Json] = []
    reasoning: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_call":
            calls.append(_call(part))
        elif kind in ("tool_call_response", "tool_result"):
            results.append(_result(part))
        elif kind in ("reasoning", "thinking") and isinstance(part.get("content"), str):
            reasoning.append(part["content"])
        elif kind == "refusal" and isinstance(part.get("content"), str):
            told["refusal"] = part["content"]
        else:
            content.append(_content_part(part))
    if results and not (content or calls):
        return results
    told["content"] = _joined(content)
    if reasoning:
        told["reasoning_content"] = "".join(reasoning)
    if calls:
        told["tool_calls"] = calls
    return [told, *results]


def _call(part: Mapping[str, Json]) -> dict[str, Json]:
    arguments = part.get("arguments")
    identity = {} if part.get("id") is None else {"id": part["id"]}
    return {**identity, "type": "function", "function": {"name": part.get("name"), "arguments": arguments}}


def _result(part: Mapping[str, Json]) -> dict[str, Json]:
    response = part.get("response", part.get("result"))
    return {"role": "tool", "tool_call_id": part.get("id"), "content": _response(response)}


def _response(response: Json) -> Json:
    """Give a tool's response as content: chat parts as they stand, any other array as JSON text."""
    if not isinstance(response, list) or all(isinstance(part, dict) and "type" in part for part in response):
        return response
    return json_text.dumps(response).decode()


def _content_part(part: Json) -> Json:
    """Write a part as chat form does; what has no place there stays as it is."""
    if not isinstance(part, dict):
        return part
    kind, modality = part.get("type"), part.get("modality")
    if kind == "text" and isinstance(part.get("content"), str):
        return {"type": "text", "text": part["content"]}
    if kind == "blob" and modality == "image" and isinstance(part.get("content"), str):
        mime_type = text_of_value(part.get("mime_type")) or "application/octet-stream"
        return {"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{part['content']}"}}
    if kind == "uri" and modality == "image" and isinstance(part.get("uri"), str):
        return {"type": "image_url", "image_url": {"url": part["uri"]}}
    if kind == "file" and isinstance(part.get("file_id"), str):
        return {"type": "file", "file": {"file_id": part["file_id"]}}
    return part


def _joined(content: list[Json]) -> Json:
    if not content:
        return None
    is_one_text = len(content) == 1 and isinstance(content[0], dict) and content[0].get("type") == "text"
    return content[0]["text"] if is_one_text else content
