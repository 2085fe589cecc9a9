"""Chat calls read from the values of their bodies, where a value holds its text whole (`json_text.exact_value`).

Nearly every call is of that kind. Its parts are written from the value, which comes to the very slices that
`proxy.assembly.request` and `proxy.assembly.completion` cut out of the text, without parsing each of them again: both
readings together take 8 us instead of 25 for a call of 2 KB. A test holds them against each other.
"""

from typing import Any

import orjson

from proxy.assembly.completion import MAX_CHOICES, Completion, read_index, reply_flags
from proxy.assembly.request import MAX_MESSAGES, Request
from store.json_text import JsonValue
from store.trace import Flag, JsonText, Reply

_MALFORMED = frozenset({Flag.REQUEST_MALFORMED})
_NOT_JSON = frozenset({Flag.RESPONSE_NOT_JSON})
_NO_FLAGS: frozenset[Flag] = frozenset()
_BLANK: tuple[JsonValue, ...] = ("", {}, [])


def read_request_value(fields: dict[str, Any]) -> Request:
    """Read a request as `read_chat_request` does."""
    parameters = fields.copy()
    messages: tuple[JsonText, ...] | None = None
    tools = response_format = None
    sent = fields.get("messages")
    if type(sent) is list and len(sent) <= MAX_MESSAGES and set(map(type, sent)) <= {dict}:
        messages = tuple([orjson.dumps(message) for message in sent])
        del parameters["messages"]
    if type(fields.get("tools")) is list:
        tools = orjson.dumps(parameters.pop("tools"))
    if type(fields.get("response_format")) is dict:
        response_format = orjson.dumps(parameters.pop("response_format"))
    metadata = fields.get("metadata")
    return Request(
        messages=messages or (),
        tools=tools,
        response_format=response_format,
        parameters=orjson.dumps(parameters),
        model=_text(fields.get("model")),
        user=_text(fields.get("user")),
        metadata=orjson.dumps(metadata) if type(metadata) is dict else None,
        is_streaming=fields.get("stream") is True,
        is_opted_out=fields.get("store") is False,
        flags=_MALFORMED if messages is None else _NO_FLAGS,
    )


def read_completion_value(fields: dict[str, Any]) -> Completion:
    """Read a plain answer as `read_completion` does."""
    sent = fields.get("choices")
    choices = [choice for choice in sent if type(choice) is dict] if type(sent) is list else []
    if len(choices) > MAX_CHOICES:
        return Completion(flags=_NOT_JSON)
    replies = _replies(choices)
    usage = fields.get("usage")
    error = fields.get("error")
    has_error = not (error is None or error is False or error in _BLANK)
    return Completion(
        replies=replies,
        usage=orjson.dumps(usage) if type(usage) is dict else None,
        served_model=_text(fields.get("model")),
        upstream_id=_text(fields.get("id")),
        system_fingerprint=_text(fields.get("system_fingerprint")),
        error=orjson.dumps(fields).decode() if has_error else None,
        flags=reply_flags(replies),
    )


def _replies(choices: list[dict[str, Any]]) -> tuple[Reply, ...]:
    indexes = [read_index(choice.get("index"), place) for place, choice in enumerate(choices)]
    if len(set(indexes)) < len(indexes):
        indexes = list(range(len(choices)))
    replies = []
    for index, choice in zip(indexes, choices, strict=True):
        message = choice.get("message")
        if message is None and type(text := choice.get("text")) is str:
            message = {"role": "assistant", "content": text}  # a text completion
        if type(message) is dict:
            logprobs = choice.get("logprobs")
            logprobs_text = None if logprobs is None else orjson.dumps(logprobs)
            replies.append(Reply(index, orjson.dumps(message), _text(choice.get("finish_reason")), logprobs_text))
    if len(replies) > 1:
        replies.sort(key=lambda reply: reply.index)
    return tuple(replies)


def _text(value: JsonValue) -> str | None:
    return value or None if type(value) is str else None
