"""Conversations as files of training data write them, brought into OpenAI's chat form.

ShareGPT's `{from, value}` with its own role names and tool calls as text, distil labs' `{"name", "parameters"}`, a text
in place of a message: what is already in chat form stays as it is.
"""

from collections.abc import Mapping
from typing import Final

from store import json_text
from store.recorded.message import Json
from store.recorded.source_value import unwrapped

_ROLES: Final = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_CALLS: Final = frozenset({"function_call", "tool_call"})


def is_conversation(value: Json) -> bool:
    """Whether a value is a list of messages in a form that `read_conversation` knows, maybe as JSON text."""
    turns = _turns(value)
    return isinstance(turns, list) and bool(turns) and all(_is_turn(turn) for turn in turns)


def read_conversation(value: Json) -> list[Json] | None:
    """Bring a list of messages into chat form; None when it is no list."""
    turns = _turns(value)
    return [_message(turn) for turn in turns] if isinstance(turns, list) else None


def read_answer(value: Json, *, reads_calls: bool = False) -> list[Json]:
    """Bring an answer into chat form: a message, a list of them, a text, or any other value as JSON text.

    Args:
        value: The answer.
        reads_calls: Whether a text of `{"name", "parameters"}` is a tool call.
    """
    if isinstance(value, list) and value and all(_is_turn(turn) for turn in value):
        return [_message(turn) for turn in value]
    if isinstance(value, dict) and _is_turn(value):
        return [_message(value)]
    if isinstance(value, str):
        # A list of messages may come as JSON text too; any other text is what was said.
        if is_conversation(value) and value.lstrip().startswith("["):
            return read_conversation(value) or []
        if reads_calls and is_call_text(value):
            return [{"role": "assistant", "content": None, "tool_calls": _calls(unwrapped(value))}]
    return [{"role": "assistant", "content": text_of_cell(value)}]


def is_call_text(value: Json) -> bool:
    """Whether a text is one tool call, or several, as distil labs writes them."""
    inner = unwrapped(value) if isinstance(value, str) else None
    calls = inner if isinstance(inner, list) else [inner]
    return bool(calls) and all(
        isinstance(call, dict) and call.keys() == {"name", "parameters"} and isinstance(call["name"], str)
        for call in calls
    )


def text_of_cell(value: Json) -> str:
    """A cell as text; what is no text becomes JSON."""
    return value if isinstance(value, str) else json_text.dumps(value).decode()


def _turns(value: Json) -> Json:
    """The list of messages; columns of old data sets hold an object of lists in its place."""
    turns = unwrapped(value)
    if isinstance(turns, dict) and _is_turn(turns) and all(isinstance(column, list) for column in turns.values()):
        length = min(len(column) for column in turns.values())
        return [{name: column[place] for name, column in turns.items()} for place in range(length)]
    return turns


def _is_turn(turn: Json) -> bool:
    return isinstance(turn, dict) and ("role" in turn or "from" in turn)


def _message(turn: Json) -> Json:
    """One message in chat form; what is none is left to its reader, which says what is wrong."""
    if not isinstance(turn, dict):
        return turn
    named = turn.get("role", turn.get("from"))
    speaker = named.strip().casefold() if isinstance(named, str) else named
    rest = {name: field for name, field in turn.items() if name not in ("from", "value", "role")}
    said = turn["value"] if "value" in turn and "content" not in turn else turn.get("content")
    if isinstance(speaker, str) and speaker in _CALLS and "tool_calls" not in turn:
        calls = unwrapped(said)
        if isinstance(calls, dict | list):
            return {**rest, "role": "assistant", "content": None, "tool_calls": _calls(calls)}
    role = _ROLES.get(speaker, speaker) if isinstance(speaker, str) else speaker
    return {"role": role, **rest, "content": said}


def _calls(value: Json) -> list[Json]:
    calls = value if isinstance(value, list) else [value]
    return [_call(call, number) for number, call in enumerate(calls)]


def _call(call: Json, number: int) -> Json:
    if not isinstance(call, Mapping) or "function" in call:
        return call
    given: Json = next((call[name] for name in ("arguments", "parameters") if call.get(name) is not None), {})
    function = {"name": call.get("name"), "arguments": text_of_cell(given)}
    return {"id": f"call_{number}", "type": "function", "function": function}
