"""The message tree: messages addressed by content, each with its parent, as git's commits are.

Two hashes run along a chain of messages, from the first to the last:

- the *node id* covers the exact JSON text, so equal ids mean equal text, and a whole history is stored once;
- the *stitch key* covers what a message means, so that a reply as the upstream wrote it and the client's echo of it in
  the next request meet, although ids, white space, key order and forms of writing differ.

Both are contracts (`docs/trace-format.md`, with test vectors): a change of either needs a new version tag.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

import orjson

from store.json_text import JsonTextError, loads
from store.trace import JsonText

ID_BYTES = 20
_NODE_TAG = b"tracemill node 1\n"
_STITCH_TAG = b"tracemill stitch 1\n"
_NO_PARENT = bytes(ID_BYTES)
# Integral floats up to here are the same number in every language that counts in doubles (2**53).
_EXACT_INTEGERS = 9007199254740992
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_MEANING_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class Link(NamedTuple):
    """One message in its chain.

    Attributes:
        id: Node id.
        parent_id: Node id of the message before; None for the first.
        key: Stitch key.
        message: The message's JSON text.
        role: The message's role; None when it names none as text.
        has_tool_calls: Whether the message calls at least one tool.
    """

    id: bytes
    parent_id: bytes | None
    key: bytes
    message: JsonText
    role: str | None = None
    has_tool_calls: bool = False


class HashedMessages:
    """What hashing gave for the messages seen lately, by node id: a chat sends its whole history with each call.

    A node id stands for one history, so what is kept here can never become wrong, whatever the database holds or loses.
    """

    def __init__(self, size: int = 20_000) -> None:
        """Keep at least the last `size` messages and at most twice as many; some 200 bytes each."""
        self._size = size
        self._young: dict[bytes, _Hashed] = {}
        self._old: dict[bytes, _Hashed] = {}

    def find(self, id_: bytes) -> "_Hashed | None":
        """Give what is known of a message; what was asked for stays longer."""
        hashed = self._young.get(id_)
        if hashed is None and (hashed := self._old.get(id_)) is not None:
            self.keep(id_, hashed)
        return hashed

    def keep(self, id_: bytes, hashed: "_Hashed") -> None:
        """Remember a message, and forget the oldest."""
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[id_] = hashed


class _Hashed(NamedTuple):
    key: bytes
    role: str | None
    has_tool_calls: bool


def node_id(parent: bytes | None, message: JsonText) -> bytes:
    """Hash a message's exact text under its parent's node id; None is the parent of a first message."""
    return blake2b(_NODE_TAG + (parent or _NO_PARENT) + message, digest_size=ID_BYTES).digest()


def stitch_key(parent: bytes | None, message: Mapping[str, Any]) -> bytes:
    """Hash what a message means under its parent's stitch key; None is the parent of a first message.

    Raises:
        JsonTextError: The message is nested too deep.
    """
    return _hash_meaning(parent, _meaning(message))


def message_key(message: JsonText) -> bytes:
    """Give the stitch key of a message as if it were a first one: what it means, whatever came before it.

    Raises:
        JsonTextError: The text is not one JSON value.
    """
    return _hash(None, message).key


def chain(messages: Sequence[JsonText], after: Link | None = None, hashed: HashedMessages | None = None) -> list[Link]:
    """Hash messages in their order, each under the one before.

    Args:
        messages: Compact JSON texts. A text that is no object is tolerated and stands for itself.
        after: The link the first message follows, such as the request's last message for a reply.
        hashed: Spares the work for messages that were hashed before, and remembers these.

    Raises:
        JsonTextError: A text is not one JSON value.
    """
    links: list[Link] = []
    last = after
    for message in messages:
        parent_id, parent_key = (last.id, last.key) if last else (None, None)
        id_ = node_id(parent_id, message)
        known = hashed.find(id_) if hashed else None
        if known is None:
            known = _hash(parent_key, message)
            if hashed:
                hashed.keep(id_, known)
        last = Link(id_, parent_id, known.key, message, known.role, known.has_tool_calls)
        links.append(last)
    return links


def _hash(parent_key: bytes | None, message: JsonText) -> _Hashed:
    plain = _hash_plain(parent_key, message)
    if plain is not None:
        return plain
    value = loads(message)
    if not isinstance(value, dict):
        return _Hashed(_hash_meaning(parent_key, [None, value, []]), None, has_tool_calls=False)
    role, content, calls = _meaning(value)
    key = _hash_meaning(parent_key, [role, content, calls])
    return _Hashed(key, role if isinstance(role, str) else None, bool(calls))


def _hash_plain(parent_key: bytes | None, message: JsonText) -> _Hashed | None:
    """Hash a message of a role, a text and no calls, which nearly all are; None when it is another.

    A parser that is not exact will do: all it may change are numbers, and a plain message has none that count.
    """
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or value.get("tool_calls") or value.get("function_call") is not None:
        return None
    role, content = value.get("role"), value.get("content")
    if type(role) is not str or type(content) is not str:
        return None
    if role == "assistant":
        content = content.strip()
        if not content:
            return None
    return _Hashed(_hash_text(parent_key, _plain_meaning(role, content)), role, has_tool_calls=False)


def _hash_meaning(parent: bytes | None, meaning: list[Any]) -> bytes:
    role, content, calls = meaning
    if isinstance(role, str) and isinstance(content, str) and not calls:
        return _hash_text(parent, _plain_meaning(role, content))
    try:
        return _hash_text(parent, _MEANING_WRITER.encode(meaning))
    except RecursionError as exc:
        raise JsonTextError("a message is nested too deep") from exc


def _plain_meaning(role: str, content: str) -> str:
    """Write a meaning without calls; the set-up of an encoder would cost more than its work."""
    return f"[{encode_basestring_ascii(role)},{encode_basestring_ascii(content)},[]]"


def _hash_text(parent: bytes | None, meaning: str) -> bytes:
    return blake2b(_STITCH_TAG + (parent or _NO_PARENT) + meaning.encode(), digest_size=ID_BYTES).digest()


def _meaning(message: Mapping[str, Any]) -> list[Any]:
    content = _content(message.get("content"))
    if message.get("role") == "assistant" and isinstance(content, str):
        refusal = message.get("refusal")
        # Clients echo a refusal in its own field or as plain content.
        if not content and isinstance(refusal, str):
            content = refusal
        content = content.strip()
    return [message.get("role"), content, _calls(message)]


def _content(content: object) -> object:
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = [_part_text(part) for part in content]
    return "".join(text for text in texts if text is not None) if None not in texts else content


def _part_text(part: object) -> str | None:
    if not isinstance(part, dict):
        return None
    kind = part.get("type")
    text = part.get("text") if kind in _TEXT_PARTS else part.get("refusal") if kind == "refusal" else None
    return text if isinstance(text, str) else None


def _calls(message: Mapping[str, Any]) -> list[Any]:
    calls = message.get("tool_calls")
    found = [_call(call) for call in calls] if isinstance(calls, list) else []
    legacy = message.get("function_call")
    if not found and isinstance(legacy, dict):
        found = [_function(legacy)]
    return found


def _call(call: object) -> object:
    if not isinstance(call, dict):
        return call
    if isinstance(function := call.get("function"), dict):
        return _function(function)
    if isinstance(custom := call.get("custom"), dict):
        return [custom.get("name"), "raw", custom.get("input")]
    return [call.get("name"), "raw", call.get("input")]


def _function(function: Mapping[str, Any]) -> list[Any]:
    arguments = function.get("arguments")
    if arguments is None or arguments == "":
        return [function.get("name"), "json", {}]
    try:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return [function.get("name"), "json", json.loads(text, parse_float=_number)]
    except (ValueError, RecursionError):
        return [function.get("name"), "raw", arguments]


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= _EXACT_INTEGERS else value
