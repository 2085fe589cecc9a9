"""Messages in the form that the GenAI conventions ask for: each a role with parts."""

from typing import Any

from store import json_text
from store.json_text import JsonTextError
from store.trace import JsonText, Reply

_MAX_BYTES = 256 * 1024
"""Of one attribute: collectors refuse requests of a few MiB."""


def input_messages(messages: tuple[JsonText, ...]) -> str | None:
    """Give `gen_ai.input.messages`; None when it would be too large or a message is none."""
    return _attribute([_message(text) for text in messages])


def output_messages(replies: tuple[Reply, ...]) -> str | None:
    """Give `gen_ai.output.messages`; None when it would be too large or a message is none."""
    return _attribute([{**_message(reply.message), "finish_reason": reply.finish_reason or ""} for reply in replies])


def _attribute(messages: list[dict[str, Any]]) -> str | None:
    try:
        text = json_text.dumps(messages)
    except (JsonTextError, ValueError):
        return None
    return text.decode("utf-8", "replace") if messages and len(text) <= _MAX_BYTES else None


def _message(text: JsonText) -> dict[str, Any]:
    message = json_text.loads(text)
    if not isinstance(message, dict):
        return {"role": "unknown", "parts": []}
    parts: list[dict[str, Any]] = []
    content = message.get("content")
    if message.get("role") == "tool":
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content})
    else:
        parts += _content_parts(content)
    if isinstance(message.get("refusal"), str):
        parts.append({"type": "refusal", "content": message["refusal"]})
    calls = message.get("tool_calls")
    parts += [_tool_call(call) for call in (calls if isinstance(calls, list) else []) if isinstance(call, dict)]
    return {"role": message.get("role"), "parts": parts}


def _content_parts(content: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever a client put there
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if not isinstance(content, list):
        return []
    return [
        {"type": "text", "content": part.get("text")} if part.get("type") == "text" else part
        for part in content
        if isinstance(part, dict)
    ]


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {
        "type": "tool_call",
        "id": call.get("id"),
        "name": function.get("name"),
        "arguments": function.get("arguments"),
    }
