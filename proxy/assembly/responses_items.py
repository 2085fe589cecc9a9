"""Items of OpenAI's Responses API, in chat form.

An answer is a sequence of items: reasoning, messages, calls. Those that stand together are one assistant message, in an
answer as in the next request that sends them back, so that both are the same message. The table is in
`docs/dialects.md`.
"""

from collections.abc import Iterable, Sequence

from proxy.assembly.assistant import AssistantMessage, is_text, others_of
from proxy.assembly.completion import read_text
from proxy.assembly.request import Members, is_object, read_objects, write_array, write_object
from store import json_text
from store.trace import JsonText

_CALLS = {"function_call": (b"function", "arguments"), "custom_tool_call": (b"custom", "input")}
_RESULTS = ("function_call_output", "custom_tool_call_output")
_OF_ASSISTANT = frozenset(
    {
        *_CALLS, "reasoning", "apply_patch_call", "code_interpreter_call", "compaction", "computer_call",
        "file_search_call", "image_generation_call", "item_reference", "local_shell_call", "mcp_approval_request",
        "mcp_call", "mcp_list_tools", "program", "shell_call", "tool_search_call", "web_search_call",
    }
)  # fmt: skip
"""Items a model, or its host on its behalf, wrote. An item unknown here stands for itself, as a message of no role."""
_TEXTS = ("input_text", "output_text", "text")


def chat_messages(items: Iterable[JsonText]) -> list[JsonText]:
    """Give the messages that the items of a request are."""
    made: list[JsonText] = []
    together: list[JsonText] = []
    for item in items:
        members = json_text.members(item)
        fields = dict(members)
        if _is_of_assistant(fields):
            together.append(item)
            continue
        if together:
            made.append(assistant_message(together))
            together = []
        made.append(_chat_message(item, members))
    return [*made, assistant_message(together)] if together else made


def assistant_message(items: Sequence[JsonText]) -> JsonText:
    """Make one assistant message of items that stand together, or of a whole answer."""
    message = AssistantMessage()
    has_calls = has_message = False
    is_whole = True
    for item in items:
        members = json_text.members(item)
        fields = dict(members)
        kind = read_text(fields.get("type")) or "message"
        if kind in _CALLS:
            is_whole &= _add_call(message, kind, members)
            has_calls = True
        elif kind == "reasoning":
            _add_reasoning(message, fields)
            is_whole = False
        elif kind == "message" and "role" in fields:
            is_whole &= _add_message(message, members) and not has_calls and not has_message
            has_message = True
        else:
            message.add_part(item)
            is_whole &= not has_calls
    return message.write(verbatim=None if is_whole else items)


def logprobs_of(items: Iterable[JsonText]) -> JsonText | None:
    """Gather the logprobs of the texts of an answer, in the form a choice of a chat completion has them."""
    found: list[JsonText] = []
    for item in items:
        for part in read_objects(dict(json_text.members(item)).get("content")) or ():
            logprobs = dict(json_text.members(part)).get("logprobs", b"null")
            found += json_text.elements(logprobs) if logprobs.startswith(b"[") else []
    return write_object([("content", write_array(found))]) if found else None


def _is_of_assistant(fields: dict[str, JsonText]) -> bool:
    kind = read_text(fields.get("type")) or "message"
    return fields.get("role") == b'"assistant"' if kind == "message" else kind in _OF_ASSISTANT


def _add_call(message: AssistantMessage, kind: str, members: Members) -> bool:
    """Add a call; tell whether the message then says all of the item."""
    name, given = _CALLS[kind]
    fields = dict(members)
    message.add_call(name, fields.get("call_id"), [(key, fields[key]) for key in ("name", given) if key in fields])
    return not others_of(members, ("type", "call_id", "name", given))


def _add_reasoning(message: AssistantMessage, fields: dict[str, JsonText]) -> None:
    """Take the reasoning itself where the upstream shows it, else its summary."""
    parts = read_objects(fields.get("content")) or read_objects(fields.get("summary")) or ()
    for part in parts:
        text = dict(json_text.members(part)).get("text")
        if text is not None and is_text(text):
            message.add_reasoning(text)


def _add_message(message: AssistantMessage, members: Members) -> bool:
    """Add a message's parts; tell whether the assistant message then says all of the item."""
    fields = dict(members)
    content = fields.get("content", b"null")
    if is_text(content):
        message.add_text(content)
    is_whole = not others_of(members, ("type", "role", "content"))
    parts = read_objects(content) or ()
    for part in parts:
        part_members = json_text.members(part)
        part_fields = dict(part_members)
        kind = read_text(part_fields.get("type"))
        if kind in _TEXTS and is_text(part_fields.get("text")):
            message.add_text(part_fields["text"])
            is_whole &= not others_of(part_members, ("type", "text"))
        elif kind == "refusal" and is_text(part_fields.get("refusal")):
            message.add_refusal(part_fields["refusal"])
            is_whole &= len(parts) == 1
        else:
            message.add_part(_chat_part(part))
    return is_whole


def _chat_message(item: JsonText, members: Members) -> JsonText:
    """Write an item that no model wrote as a chat message: its text or parts, and what else it holds."""
    fields = dict(members)
    kind = read_text(fields.get("type")) or "message"
    if kind == "message" and "role" in fields:
        return write_object(
            [(name, _chat_content(value) if name == "content" else value) for name, value in members if name != "type"]
        )
    if not kind.endswith("_output"):
        return item
    identity = [("tool_call_id", fields["call_id"])] if "call_id" in fields else []
    if kind not in _RESULTS:
        return write_object([("role", b'"tool"'), *identity, ("content", write_array([item]))])
    content = _chat_content(fields.get("output", b"null"))
    others = others_of(members, ("type", "call_id", "output"))
    return write_object([("role", b'"tool"'), *identity, ("content", content), *others])


def _chat_content(content: JsonText) -> JsonText:
    parts = read_objects(content)
    return content if not parts else write_array([_chat_part(part) for part in parts])


def _chat_part(part: JsonText) -> JsonText:
    """Write a content part as chat form does; one that chat form does not know stays as it is."""
    members = json_text.members(part)
    fields = dict(members)
    match read_text(fields.get("type")):
        case "input_text" | "output_text" if is_text(fields.get("text")):
            return write_object([("type", b'"text"'), ("text", fields["text"]), *others_of(members, ("type", "text"))])
        case "input_image" if is_text(fields.get("image_url")):
            image = [("url", fields["image_url"]), *((name, fields[name]) for name in ("detail",) if name in fields)]
            others = others_of(members, ("type", "image_url", "detail"))
            return write_object([("type", b'"image_url"'), ("image_url", write_object(image)), *others])
        case "input_file":
            return write_object([("type", b'"file"'), ("file", write_object(others_of(members, ("type",))))])
        case _:
            return part


def chat_tool(tool: JsonText) -> JsonText:
    """Write a function or custom tool as chat form does; the upstream's own tools stay as they are."""
    members = json_text.members(tool)
    fields = dict(members)
    kind = read_text(fields.get("type"))
    if kind not in ("function", "custom") or "name" not in fields or is_object(fields.get(kind)):
        return tool
    inner = [(name, value) for name, value in members if name != "type"]
    return write_object([("type", fields["type"]), (kind, write_object(inner))])
