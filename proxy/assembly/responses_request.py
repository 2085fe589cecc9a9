"""Requests of OpenAI's Responses API, in chat form."""

from proxy.assembly.assistant import is_text
from proxy.assembly.completion import is_blank, read_text
from proxy.assembly.request import (
    Members,
    Request,
    is_object,
    make_request,
    read_objects,
    write_array,
    write_object,
)
from proxy.assembly.responses_items import chat_messages, chat_tool
from store import json_text
from store.trace import Flag, JsonText

_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Fields by which a request builds on what the upstream keeps."""


def read_responses_request(members: Members) -> Request:
    """Read a request; `instructions` are its first message, of the role `system`."""
    fields = dict(members)
    builds_on = any(not is_blank(fields.get(name, b"null")) for name in _ELSEWHERE)
    said = fields.get("input")
    items = read_objects(said)
    messages: list[JsonText] | None = None
    if said is not None and is_text(said):
        messages = [write_object([("role", b'"user"'), ("content", said)])]
    elif items is not None:
        messages = chat_messages(items)
        builds_on = builds_on or any(b'"type":"item_reference"' in item for item in items)
    elif said is None and builds_on:
        messages = []
    instructions = fields.get("instructions")
    has_instructions = messages is not None and instructions is not None and is_text(instructions)
    if messages is not None and instructions is not None and has_instructions:
        messages.insert(0, write_object([("role", b'"system"'), ("content", instructions)]))
    tools = read_objects(fields.get("tools"))
    used = {"input": messages is not None, "instructions": has_instructions, "tools": tools is not None}
    return make_request(
        members,
        lifted=[name for name, is_used in used.items() if is_used],
        messages=None if messages is None else tuple(messages),
        tools=None if tools is None else write_array([chat_tool(tool) for tool in tools]),
        response_format=_response_format(fields.get("text")),
        flags=frozenset({Flag.CONTEXT_ELSEWHERE}) if builds_on else frozenset(),
    )


def _response_format(text: JsonText | None) -> JsonText | None:
    """Read the format an answer must have; it stays in the parameters, too."""
    wanted = dict(json_text.members(text)).get("format") if text is not None and is_object(text) else None
    if wanted is None or not is_object(wanted):
        return None
    members = json_text.members(wanted)
    if read_text(dict(members).get("type")) != "json_schema":
        return wanted
    schema = [(name, value) for name, value in members if name != "type"]
    return write_object([("type", b'"json_schema"'), ("json_schema", write_object(schema))])
