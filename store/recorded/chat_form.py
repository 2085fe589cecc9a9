"""Which messages are in chat form already, as most files have them."""

from store.recorded.message import Json
from store.recorded.message_form import ROLES

_NOT_CHAT_FIELDS = frozenset({"toolCalls", "toolCallId", "parts"})
_CHAT_ROLES = (*ROLES, "function")
_TEXT_FIELDS = ("name", "tool_call_id", "refusal", "reasoning_content")
_UNFOLDED_PARTS = ("tool-call", "tool-result", "reasoning")


def is_chat_form(value: Json) -> bool:
    """Whether a message is written as OpenAI's chat format has it, so that it can be kept letter by letter.

    `read_messages` takes every such message.
    """
    if not isinstance(value, dict) or value.get("role") not in _CHAT_ROLES or not _NOT_CHAT_FIELDS.isdisjoint(value):
        return False
    content, calls, legacy = value.get("content"), value.get("tool_calls"), value.get("function_call")
    if isinstance(content, list):
        if not all(map(_is_chat_part, content)):
            return False
    elif content is not None and not isinstance(content, str):
        return False
    if calls is not None and not (isinstance(calls, list) and all(map(_is_chat_call, calls))):
        return False
    texts = (value.get(name) for name in _TEXT_FIELDS)
    return (legacy is None or _is_chat_function(legacy)) and all(
        text is None or isinstance(text, str) for text in texts
    )


def _is_chat_part(part: Json) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type") not in _UNFOLDED_PARTS)


def _is_chat_call(call: Json) -> bool:
    return (
        isinstance(call, dict)
        and call.get("type") in ("function", None)
        and isinstance(call.get("id"), str | None)
        and _is_chat_function(call.get("function"))
    )


def _is_chat_function(function: Json) -> bool:
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )
