"""The right reply to every conversation of the demo, and whether another reply says the same."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tracemill.demo import bank, schema_answer
from tracemill.demo.bank_tools import TOOLS

OPENINGS = ("Of course. ",)
"""What a model may put before a text without saying anything else."""
_DEFAULTS = {
    tool["function"]["name"]: {
        name: schema["default"]
        for name, schema in tool["function"]["parameters"]["properties"].items()
        if "default" in schema
    }
    for tool in TOOLS
}


def right_reply(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], response_format: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give the assistant message a good model would answer with."""
    schema = schema_answer.schema_of(response_format)
    if schema is None:
        return bank.reply_to(messages, tools)
    facts = {"intent": bank.intent_of(bank.last_user_text(messages)).value}
    return {"role": "assistant", "content": schema_answer.write(schema, facts)}


def says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two assistant messages mean the same: ids, openings and arguments at their defaults do not count.

    Args:
        one: A message in OpenAI's form, or with tool calls that are plain `{"name", "arguments"}`.
        other: The same.
    """
    return _meaning(one) == _meaning(other)


def _meaning(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or []
    if calls:
        functions = [call.get("function", call) for call in calls]
        return json.dumps([[call["name"], _arguments(call)] for call in functions], sort_keys=True)
    text = bank.text_of(message).strip()
    for opening in OPENINGS:
        text = text.removeprefix(opening)
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


def _arguments(call: Mapping[str, Any]) -> object:
    try:
        given = json.loads(call["arguments"])
    except ValueError:
        return call["arguments"]
    return {**_DEFAULTS.get(call["name"], {}), **given} if isinstance(given, dict) else given
