"""An assistant message as one text."""

from store import json_text
from store.recorded.message import Message
from store.recorded.message_form import text_of


def answer_text(message: Message) -> str:
    """Write a reply as one text: a call as `{"name", "arguments"}`, several as an array, else what was said."""
    if not message.tool_calls:
        return text_of(message)
    calls = [
        b'{"name":%b,"arguments":%b}' % (json_text.dumps(call.name), _json_or_text(call.arguments))
        for call in message.tool_calls
    ]
    return (calls[0] if len(calls) == 1 else b"[%b]" % b",".join(calls)).decode()


def _json_or_text(arguments: str) -> bytes:
    try:
        return json_text.compact(arguments.encode())
    except ValueError:  # not JSON, or a lone surrogate
        return json_text.dumps(arguments)
