"""The normal form of a chat message, and the way back to OpenAI's.

Real exports write the same message in many ways: legacy `function_call`, camelCase `toolCalls`, the AI SDK's
`tool-call` and `tool-result` parts, arguments as an object or as text, tool results without an id. All of them become
one `Message` here. Nothing is made up on the way: an id that the source left out is filled in only when a single open
call leaves no choice, and arguments stay the text the model wrote, broken or not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from store import json_text
from store.recorded.errors import MessageFormError
from store.recorded.message import Json, Message, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool")
CORRUPT_TOOL_ARGS = "corrupt_tool_args"
"""Flag: several argument objects were run together, `{"a":1}{"b":2}`, by the tool that recorded the call."""
INVALID_TOOL_ARGS = "invalid_tool_args"
"""Flag: the arguments of some call are not one JSON object."""
UNPAIRED_TOOL_RESULT = "unpaired_tool_result"
"""Flag: a tool message names no call, and more or fewer than one open call could be meant."""

_ROLE_ALIASES = {"function": "tool"}
_CALL_FIELDS = ("tool_calls", "toolCalls")
# What a message of another dialect was made of says the same once more, and would outlive a change of the message.
_DROPPED_FIELDS = frozenset({"verbatim"})
_KNOWN_FIELDS = _DROPPED_FIELDS | frozenset(
    {
        "role", "content", "tool_calls", "toolCalls", "function_call", "tool_call_id", "toolCallId", "name", "refusal",
        "reasoning_content",
    }
)  # fmt: skip


class Messages(NamedTuple):
    """Messages in normal form.

    Attributes:
        messages: In order; one foreign message may have become several.
        flags: What was odd, from the constants of this module, sorted.
    """

    messages: tuple[Message, ...]
    flags: tuple[str, ...]


def read_messages(values: Sequence[Json]) -> Messages:
    """Bring an array of foreign messages into normal form and pair tool results with their calls.

    Raises:
        MessageFormError: some element is not a chat message; tells which, and what may stand there.
    """
    read = [message for position, value in enumerate(values) for message in _read_message(value, position)]
    messages, flags = _pair_results(read)
    flags |= {flag for message in messages for call in message.tool_calls for flag in argument_flags(call.arguments)}
    return Messages(messages, tuple(sorted(flags)))


def argument_flags(arguments: str) -> set[str]:
    """Judge the text of a call's arguments: nothing for one JSON object, else what is wrong with it."""
    try:
        return set() if isinstance(json.loads(arguments), dict) else {INVALID_TOOL_ARGS}
    except (ValueError, RecursionError):
        return {CORRUPT_TOOL_ARGS} if _is_concatenated(arguments) else {INVALID_TOOL_ARGS}


def to_openai(message: Message) -> dict[str, Json]:
    """Write a message as OpenAI's chat format has it: arguments as text, `content` always there, extras kept."""
    written: dict[str, Json] = {"role": message.role, "content": message.content}
    if message.name is not None:
        written["name"] = message.name
    if message.reasoning is not None:
        written["reasoning_content"] = message.reasoning
    if message.refusal is not None:
        written["refusal"] = message.refusal
    if message.tool_calls:
        written["tool_calls"] = [_write_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return {**written, **message.extra}


def text_of(message: Message) -> str:
    """The message's text: the content, or its text parts joined; empty when it has none."""
    if isinstance(message.content, list):
        return "".join(_part_text(part) or "" for part in message.content)
    return message.content or ""


def _write_call(call: ToolCall) -> dict[str, Json]:
    function = {"name": call.name, "arguments": call.arguments}
    identity = {} if call.id is None else {"id": call.id}
    return {**identity, "type": "function", "function": function}


def _read_message(value: Json, position: int) -> list[Message]:
    if not isinstance(value, dict):
        raise MessageFormError(position, "message", _kind(value), "an object with role and content")
    role = value.get("role")
    role = _ROLE_ALIASES.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        found = "missing" if role is None else repr(role[:40]) if isinstance(role, str) else _kind(role)
        raise MessageFormError(position, "role", found, ", ".join(ROLES))
    calls = _read_calls(value, position)
    message = Message(
        role=role,
        content=_read_content(value.get("content"), role, position),
        tool_calls=calls,
        tool_call_id=_text_field(value, ("tool_call_id", "toolCallId"), position),
        name=_text_field(value, ("name",), position),
        refusal=_text_field(value, ("refusal",), position),
        reasoning=_reasoning(value, position),
        extra=_extra(value),
    )
    return _unfold_parts(message, position)


def _extra(value: Mapping[str, Json]) -> dict[str, Json]:
    """Every field that has no place of its own; a null says nothing and is left out."""
    left = {name: field for name, field in value.items() if name not in _KNOWN_FIELDS and field is not None}
    if isinstance(left.get("reasoning"), str):
        del left["reasoning"]
    return left


def _reasoning(value: Mapping[str, Json], position: int) -> str | None:
    reasoning = _text_field(value, ("reasoning_content",), position)
    if reasoning is None and isinstance(value.get("reasoning"), str):
        return str(value["reasoning"])
    return reasoning


def _text_field(value: Mapping[str, Json], names: Sequence[str], position: int) -> str | None:
    for name in names:
        found = value.get(name)
        if found is None:
            continue
        if not isinstance(found, str):
            raise MessageFormError(position, name, _kind(found), "a string or null")
        return found
    return None


def _read_content(content: Json, role: str, position: int) -> str | list[Json] | None:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, str | dict):
                raise MessageFormError(
                    position, f"content[{number}]", _kind(part), "an object with a type, or a string"
                )
        return content
    if role == "tool":
        return _as_text(content)
    raise MessageFormError(position, "content", _kind(content), "a string, an array of parts, or null")


def _read_calls(value: Mapping[str, Json], position: int) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for name in _CALL_FIELDS:
        found = value.get(name)
        if found is None:
            continue
        if not isinstance(found, list):
            raise MessageFormError(position, name, _kind(found), "an array of tool calls, or null")
        calls += [_read_call(call, position, f"{name}[{number}]") for number, call in enumerate(found)]
        break
    legacy = value.get("function_call")
    if legacy is not None and not calls:
        calls.append(_read_call(legacy, position, "function_call"))
    return tuple(calls)


def _read_call(value: Json, position: int, where: str) -> ToolCall:
    if not isinstance(value, dict):
        raise MessageFormError(position, where, _kind(value), "an object")
    if value.get("type") == "custom":
        raise MessageFormError(position, f"{where}.type", "'custom'", "function")
    inner = value.get("function")
    function = inner if isinstance(inner, dict) else value
    name = _first(function, ("name", "toolName"))
    if not isinstance(name, str):
        raise MessageFormError(position, f"{where}.name", _kind(name), "a string")
    call_id = _first(value, ("id", "toolCallId", "tool_call_id"))
    if call_id is not None and not isinstance(call_id, str):
        raise MessageFormError(position, f"{where}.id", _kind(call_id), "a string or null")
    arguments = _first(function, ("arguments", "input", "args", "parameters"))
    return ToolCall(name=name, arguments="" if arguments is None else _as_text(arguments), id=call_id)


def read_call(value: Json, position: int = 0) -> ToolCall:
    """Read one tool call in any of the known forms (OpenAI's, flat, the AI SDK's, Langfuse's).

    Raises:
        MessageFormError: it is none of them.
    """
    return _read_call(value, position, "tool_call")


def _unfold_parts(message: Message, position: int) -> list[Message]:
    """Take the AI SDK's call, result and reasoning parts out of the content, where OpenAI's form has fields."""
    if not isinstance(message.content, list):
        return [message]
    calls: list[ToolCall] = []
    results: list[Message] = []
    reasoning: list[str] = []
    rest: list[Json] = []
    for number, part in enumerate(message.content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool-call":
            calls.append(_read_call(part, position, f"content[{number}]"))
        elif kind == "tool-result":
            results.append(_read_result(part, position))
        elif kind == "reasoning" and isinstance(part.get("text"), str):
            reasoning.append(part["text"])
        else:
            rest.append(part)
    if not (calls or results or reasoning):
        return [message]
    if results and not rest:
        return results
    texts = [_part_text(part) for part in rest]
    content: str | list[Json] | None = rest
    if all(text is not None for text in texts):
        content = "".join(text or "" for text in texts) or None
    own = replace(
        message,
        content=content,
        tool_calls=message.tool_calls + tuple(calls),
        reasoning=message.reasoning if message.reasoning is not None else "".join(reasoning) or None,
    )
    return [own, *results]


def _read_result(part: Mapping[str, Json], position: int) -> Message:
    output = _first(part, ("output", "result"))
    if isinstance(output, dict) and "value" in output and output.get("type") in ("text", "json", "error-text"):
        output = output["value"]
    return Message(
        role="tool",
        content=None if output is None else _as_text(output),
        tool_call_id=_text_field(part, ("toolCallId", "tool_call_id"), position),
        name=_text_field(part, ("toolName",), position),
    )


def _pair_results(messages: Sequence[Message]) -> tuple[tuple[Message, ...], set[str]]:
    """Give a tool message without an id the id of the only call it can answer.

    The name decides between several open calls when it fits exactly one; a call without an id stays without one.
    """
    paired: list[Message] = []
    flags: set[str] = set()
    open_calls: list[ToolCall] = []
    for message in messages:
        if message.role == "assistant":
            open_calls = list(message.tool_calls)
        if message.role != "tool":
            paired.append(message)
            continue
        answered = _answered(message, open_calls)
        if answered is None:
            if message.tool_call_id is None:
                flags.add(UNPAIRED_TOOL_RESULT)
            paired.append(message)
            continue
        open_calls.remove(answered)
        paired.append(replace(message, tool_call_id=message.tool_call_id or answered.id))
    return tuple(paired), flags


def _answered(message: Message, open_calls: Sequence[ToolCall]) -> ToolCall | None:
    if message.tool_call_id is not None:
        return next((call for call in open_calls if call.id == message.tool_call_id), None)
    if len(open_calls) == 1:
        return open_calls[0]
    named = [call for call in open_calls if call.name == message.name]
    return named[0] if len(named) == 1 else None


def _is_concatenated(arguments: str) -> bool:
    """Whether the text is two or more JSON objects with nothing but white space between them."""
    decoder = json.JSONDecoder()
    position = 0
    count = 0
    while position < len(arguments):
        try:
            value, position = decoder.raw_decode(arguments, position)
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, dict):
            return False
        count += 1
        while position < len(arguments) and arguments[position] in " \t\r\n":
            position += 1
    return count > 1


def _part_text(part: Json) -> str | None:
    if isinstance(part, str):
        return part
    text = (
        part.get("text")
        if isinstance(part, dict) and part.get("type") in ("text", "input_text", "output_text")
        else None
    )
    return text if isinstance(text, str) else None


def _first(value: Mapping[str, Json], names: Sequence[str]) -> Json:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json_text.dumps(value).decode()


def _kind(value: Json) -> str:
    """Name the JSON type, for messages that must not quote contents."""
    if value is None:
        return "missing or null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names.get(type(value), type(value).__name__)
