"""Requests of Anthropic's Messages API, in chat form.

A `tool_result` block becomes a `tool` message of its own, a `tool_use` block a tool call, an image an `image_url` part,
`system` the first message. Everything else stays as it was sent. The table is in `docs/dialects.md`.
"""

from collections.abc import Sequence

from proxy.assembly.assistant import AssistantMessage, as_text, is_text, join_texts, others_of
from proxy.assembly.completion import read_text
from proxy.assembly.request import (
    MAX_MESSAGES,
    Members,
    Request,
    is_object,
    make_request,
    read_objects,
    write_array,
    write_object,
)
from store import json_text
from store.trace import JsonText

_NO_CONTENT = b"null"


def read_messages_request(members: Members) -> Request:
    """Read a request."""
    fields = dict(members)
    sent = read_objects(fields.get("messages"))
    system = fields.get("system")
    has_system = is_text(system) or bool(read_objects(system))
    tools = read_objects(fields.get("tools"))
    messages = None if sent is None else [part for message in sent for part in _chat_messages(message)]
    if messages is not None and len(messages) > MAX_MESSAGES:
        messages = None
    has_messages = messages is not None
    if has_system and system is not None and messages is not None:
        messages.insert(0, write_object([("role", b'"system"'), ("content", system)]))
    used = {"messages": has_messages, "system": has_system and has_messages, "tools": tools is not None}
    return make_request(
        members,
        lifted=[name for name, is_used in used.items() if is_used],
        messages=None if messages is None else tuple(messages),
        tools=None if tools is None else write_array([_chat_tool(tool) for tool in tools]),
        response_format=_response_format(fields),
        user=_user(fields.get("metadata")),
    )


def assistant_message(blocks: Sequence[JsonText], others: Members = ()) -> JsonText:
    """Make one assistant message of content blocks.

    Args:
        blocks: Objects, in order.
        others: Further members of the message.
    """
    message = AssistantMessage()
    has_calls = False
    is_whole = True
    for block in blocks:
        members = json_text.members(block)
        fields = dict(members)
        kind = read_text(fields.get("type"))
        if kind == "tool_use":
            _add_call(message, members)
            has_calls = True
            continue
        is_whole &= not has_calls
        if kind == "text" and is_text(fields.get("text")):
            message.add_text(fields["text"], others_of(members, ("type", "text")))
        elif kind == "thinking" and is_text(fields.get("thinking")):
            message.add_reasoning(fields["thinking"])
            is_whole = False
        elif kind == "redacted_thinking":
            is_whole = False
        else:
            message.add_part(block)
    return message.write(others, None if is_whole else blocks)


def _add_call(message: AssistantMessage, members: Members) -> None:
    fields = dict(members)
    called = [("name", fields["name"])] if "name" in fields else []
    if "input" in fields:
        called.append(("arguments", as_text(fields["input"])))
    elif is_text(fields.get("partial_json")):
        called.append(("arguments", fields["partial_json"]))
    others = others_of(members, ("type", "id", "name", "input", "partial_json"))
    message.add_call(b"function", fields.get("id"), called, others)


def _chat_messages(message: JsonText) -> list[JsonText]:
    """Give the messages in chat form that one message is; the very same text where it is in chat form already."""
    members = json_text.members(message)
    fields = dict(members)
    blocks = read_objects(fields.get("content"))
    if not blocks:
        return [message]
    others = [(name, value) for name, value in members if name not in ("role", "content")]
    if fields.get("role") == b'"assistant"':
        return [assistant_message(blocks, others)]
    read = [(block, json_text.members(block)) for block in blocks]
    parts: list[JsonText] = []
    made: list[JsonText] = []
    for block, block_members in read:
        if dict(block_members).get("type") == b'"tool_result"':
            made += _content_message(fields, parts, others if not made else [])
            parts = []
            made.append(_tool_message(block_members))
        else:
            parts.append(_chat_part(block, block_members))
    if not made and parts == list(blocks):
        return [message]
    return made + _content_message(fields, parts, others if not made else [])


def _content_message(fields: dict[str, JsonText], parts: list[JsonText], others: Members) -> list[JsonText]:
    if not parts:
        return []
    role = [("role", fields["role"])] if "role" in fields else []
    return [write_object([*role, ("content", write_array(parts)), *others])]


def _tool_message(result: Members) -> JsonText:
    fields = dict(result)
    content = fields.get("content", _NO_CONTENT)
    if blocks := read_objects(content):
        content = write_array([_chat_part(block, json_text.members(block)) for block in blocks])
    identity = [("tool_call_id", fields["tool_use_id"])] if "tool_use_id" in fields else []
    others = others_of(result, ("type", "tool_use_id", "content"))
    return write_object([("role", b'"tool"'), *identity, ("content", content), *others])


def _chat_part(block: JsonText, members: Members) -> JsonText:
    """Write an image as chat form does; any other block stays as it is."""
    fields = dict(members)
    source = fields.get("source")
    if fields.get("type") != b'"image"' or source is None or not is_object(source):
        return block
    parts = dict(json_text.members(source))
    if set(parts) == {"type", "url"} and is_text(parts["url"]):
        url = parts["url"]
    elif set(parts) == {"type", "media_type", "data"} and is_text(parts["media_type"]) and is_text(parts["data"]):
        url = join_texts([b'"data:"', parts["media_type"], b'";base64,"', parts["data"]])
    else:
        return block
    others = others_of(members, ("type", "source"))
    return write_object([("type", b'"image_url"'), ("image_url", write_object([("url", url)])), *others])


def _chat_tool(tool: JsonText) -> JsonText:
    """Write a tool of the client's as chat form does; the upstream's own tools stay as they are."""
    members = json_text.members(tool)
    fields = dict(members)
    if not is_object(fields.get("input_schema")) or fields.get("type", b'"custom"') not in (b'"custom"', b"null"):
        return tool
    renamed = {"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"}
    function = [(renamed[name], value) for name, value in members if name in renamed]
    others = others_of(members, ("type", *renamed))
    return write_object([("type", b'"function"'), ("function", write_object(function)), *others])


def _response_format(fields: dict[str, JsonText]) -> JsonText | None:
    """Read the schema an answer must follow; it stays in the parameters, too."""
    config = fields.get("output_config")
    wanted = fields.get("output_format")
    if config is not None and is_object(config):
        wanted = dict(json_text.members(config)).get("format", wanted)
    if wanted is None or not is_object(wanted):
        return None
    members = json_text.members(wanted)
    if dict(members).get("type") != b'"json_schema"':
        return None
    schema = [(name, value) for name, value in members if name != "type"]
    return write_object([("type", b'"json_schema"'), ("json_schema", write_object(schema))])


def _user(metadata: JsonText | None) -> str | None:
    if metadata is None or not is_object(metadata):
        return None
    return read_text(dict(json_text.members(metadata)).get("user_id"))
