"""What an upstream said in answer to a call, in one form for plain and streamed answers of every dialect."""

import json
from typing import NoReturn

from store import json_text
from store.json_text import JsonValue
from store.record import record
from store.trace import Flag, JsonText, Reply

MAX_CHOICES = 1024
"""Eight times what any upstream offers; each becomes a reply of its own. With more, an answer is not understood."""

_MOST_OF_NOTHING = 512
"""A message of more bytes than this says something: those that say nothing have a dozen null members at most."""

_MAX_INDEX = 2**31
"""Choice indexes are small; anything else is taken by its place in the list."""


@record(frozen=True, slots=True)
class Completion:
    """A completion as far as it came; nothing in it is made up.

    Attributes:
        replies: One per choice that was seen, by index.
        usage: The last `usage` object the upstream gave, None when it gave none.
        served_model: The first non-empty `model`. Azure's first chunk has an empty one.
        upstream_id: The first non-empty `id`.
        system_fingerprint: The last one given.
        error: The upstream's error as it stood in the answer, None when there was none.
        flags: What is missing or odd.
    """

    replies: tuple[Reply, ...] = ()
    usage: JsonText | None = None
    served_model: str | None = None
    upstream_id: str | None = None
    system_fingerprint: str | None = None
    error: str | None = None
    flags: frozenset[Flag] = frozenset()


def read_completion(text: JsonText) -> Completion:
    """Read a plain answer; messages, usage and logprobs stay the very characters that came.

    Args:
        text: One JSON value. An answer that is not an object comes back empty and flagged `response_not_json`.
    """
    if not text.startswith(b"{"):
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))
    members = dict(json_text.members(text))
    choices = _choices(members.get("choices", b"null"))
    if len(choices) > MAX_CHOICES:
        return Completion(flags=frozenset({Flag.RESPONSE_NOT_JSON}))
    replies = _read_choices(choices)
    usage = members.get("usage")
    error = members.get("error", b"null")
    return Completion(
        replies=replies,
        usage=usage if usage is not None and usage.startswith(b"{") else None,
        served_model=read_text(members.get("model")),
        upstream_id=read_text(members.get("id")),
        system_fingerprint=read_text(members.get("system_fingerprint")),
        error=None if is_blank(error) else text.decode("utf-8"),
        flags=reply_flags(replies),
    )


def _choices(text: JsonText) -> list[JsonText]:
    return [choice for choice in json_text.elements(text) if choice.startswith(b"{")] if text.startswith(b"[") else []


def _read_choices(texts: list[JsonText]) -> tuple[Reply, ...]:
    choices = [dict(json_text.members(text)) for text in texts]
    replies = []
    indexes = [read_index(_read_whole_number(choice.get("index")), place) for place, choice in enumerate(choices)]
    if len(set(indexes)) < len(indexes):
        indexes = list(range(len(choices)))
    for index, choice in zip(indexes, choices, strict=True):
        message = choice.get("message", b"null")
        text = choice.get("text", b"null")
        if message == b"null" and text.startswith(b'"'):
            message = b'{"role":"assistant","content":' + text + b"}"  # a text completion
        logprobs = choice.get("logprobs", b"null")
        if message.startswith(b"{"):
            finish_reason = read_text(choice.get("finish_reason"))
            replies.append(Reply(index, message, finish_reason, None if logprobs == b"null" else logprobs))
    return tuple(sorted(replies, key=lambda reply: reply.index))


def reply_flags(replies: tuple[Reply, ...]) -> frozenset[Flag]:
    """Tell what the replies lack: a finish reason, or arguments that are JSON objects."""
    flags: frozenset[Flag] = frozenset()
    for reply in replies:
        if reply.finish_reason is None:
            flags |= {Flag.NO_FINISH_REASON}
        if not _has_valid_arguments(reply.message):
            flags |= {Flag.ARGUMENTS_INVALID}
    return flags


def is_empty(message: JsonText) -> bool:
    """Tell whether a message says nothing: whatever it has beside its role is null or empty."""
    if len(message) > _MOST_OF_NOTHING:
        return False
    return all(name == "role" or is_blank(value) for name, value in json_text.members(message))


def _has_valid_arguments(message: JsonText) -> bool:
    if b'"tool_calls"' not in message and b'"function_call"' not in message:
        return True
    members = dict(json_text.members(message))
    calls = members.get("tool_calls", b"null")
    functions = [members.get("function_call", b"null")]
    if calls.startswith(b"["):
        functions += [
            dict(json_text.members(call)).get("function", b"null")
            for call in json_text.elements(calls)
            if call.startswith(b"{")
        ]
    arguments = [dict(json_text.members(item)).get("arguments", b"null") for item in functions if item.startswith(b"{")]
    return all(_is_object(item) for item in arguments)


def _is_object(arguments: JsonText) -> bool:
    """Whether arguments are one JSON object: as text, which is the rule, or bare, as some servers send them."""
    if arguments.startswith(b"{"):
        return True
    try:
        text = json.loads(arguments)
        return isinstance(text, str) and isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def is_blank(text: JsonText) -> bool:
    """Whether a value says nothing: null, false, or an empty text, object or array."""
    return text in (b"null", b"false", b'""', b"{}", b"[]")


def read_text(text: JsonText | None) -> str | None:
    """Give a JSON string as a non-empty text that UTF-8 can hold, None for anything else.

    The fields read this way are the ones the store looks things up by; half a surrogate pair in one of them becomes
    U+FFFD there, while the body it came from is kept as it is.
    """
    if text is None or not text.startswith(b'"'):
        return None
    if b"\\" not in text:
        return text[1:-1].decode() or None  # without an escape it is what stands between its quotes
    return encodable(json.loads(text)) or None


def encodable(text: str) -> str:
    """Replace half surrogate pairs, which UTF-8 cannot hold, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_whole_number(text: JsonText | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 16 else None


def read_index(value: JsonValue, place: int) -> int:
    """Take an index as given when it is a small whole number, else the place in the list."""
    return value if type(value) is int and 0 <= value < _MAX_INDEX else place
