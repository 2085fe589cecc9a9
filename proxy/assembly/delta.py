"""Putting deltas together again: the rules by which fragments of a message grow into the message.

Texts grow by concatenation, lists by their new entries, objects member by member, and null adds nothing. Some texts
name a thing instead of being part of one (`id`, `name`, `type`, ...): they are set once and repeated by careless
servers, so they never grow. A growing text is kept in pieces (`_Text`) until the end: joining on every delta would cost
the square of the reply's length.

Tool calls need more, since servers disagree about how a fragment says which call it belongs to:

- a fragment's `index` wins: it belongs to the call last opened at that index;
- but an id that differs from that call's opens a new call, for the servers that send `index: 0` with every call;
- without an index the id decides; without an id too, the call touched last;
- a fragment that names a function after that call's arguments are already one whole object opens a new call.
"""

import json
from typing import Any

from store.json_text import JsonValue

_SET_ONCE = frozenset({"format", "id", "index", "name", "role", "type"})


class _Text(list[str]):
    """A text that still grows."""

    def so_far(self) -> str:
        """Give the text; what is joined once is not joined again."""
        text = "".join(self)
        self[:] = [text]
        return text


class _Entries(list[Any]):
    """A list that still grows; an entry with the `index` of one already there goes on with that one."""

    def __init__(self) -> None:
        super().__init__()
        # Searching the list for each entry would cost the square of its length.
        self._by_index: dict[int | str, Any] = {}

    def take(self, item: JsonValue) -> None:
        index = item.get("index") if isinstance(item, dict) else None
        if isinstance(index, int | str) and (same := self._by_index.get(index)) is not None:
            _grown("", same, item)
            return
        drafted = _draft("", item)
        self.append(drafted)
        if isinstance(index, int | str):
            self._by_index[index] = drafted


class MessageDraft:
    """An assistant message while its deltas arrive; fields stay in the order in which they first came."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}

    def add(self, delta: dict[str, Any]) -> None:
        """Grow the message by one delta."""
        for name, value in delta.items():
            known = self._fields.get(name)
            if name == "tool_calls" and _is_list_of_objects(value) and (known is None or isinstance(known, ToolCalls)):
                calls = self._fields[name] = known or ToolCalls()
                calls.add(value)
            elif name == "content" and isinstance(value, list | str) and isinstance(known, _Text | _Entries):
                self._fields[name] = _grown_content(known, value)
            else:
                self._fields[name] = _grown(name, known, value)

    def settle(self) -> dict[str, Any]:
        """Give the message as plain JSON values.

        The role is put in when no delta named it: the message of a choice is the assistant's by the format's own rule.
        """
        fields = {name: _settled(value) for name, value in self._fields.items()}
        return fields if fields.get("role") else {"role": "assistant", **fields}


class ToolCalls:
    """The tool calls of one message while their fragments arrive."""

    def __init__(self) -> None:
        self._calls: list[_ToolCall] = []
        self._by_id: dict[tuple[int | None, str], _ToolCall] = {}
        self._latest: dict[int | None, _ToolCall] = {}

    def add(self, fragments: list[dict[str, Any]]) -> None:
        """Give each fragment of one delta to the call it belongs to."""
        for fragment in fragments:
            index = fragment.get("index")
            index = index if type(index) is int else None
            call_id = fragment.get("id")
            call_id = call_id if isinstance(call_id, str) and call_id else None
            call = self._find(fragment, index, call_id) or self._open(index)
            call.add(fragment)
            self._latest[index] = self._latest[None] = call
            if call_id is not None:
                self._by_id.setdefault((index, call_id), call)
                self._by_id.setdefault((None, call_id), call)

    def settle(self) -> list[dict[str, Any]]:
        """Give the calls by index, those that share one in the order they were opened."""
        return [call.settle() for call in sorted(self._calls, key=lambda call: call.position)]

    def _find(self, fragment: dict[str, Any], index: int | None, call_id: str | None) -> "_ToolCall | None":
        latest = self._latest.get(index)
        if call_id is not None and (known := self._by_id.get((index, call_id))) is not None:
            return known
        if latest is None or (call_id is not None and latest.has_id) or latest.is_followed_by(fragment):
            return None
        return latest

    def _open(self, index: int | None) -> "_ToolCall":
        before = self._latest.get(None)
        position = index if index is not None else before.position if before is not None else 0
        call = _ToolCall(position)
        self._calls.append(call)
        return call


class _ToolCall:
    def __init__(self, position: int) -> None:
        self.position = position
        self._fields: dict[str, Any] = {}

    @property
    def has_id(self) -> bool:
        return bool(self._fields.get("id"))

    def add(self, fragment: dict[str, Any]) -> None:
        for name, value in fragment.items():
            if name != "index":
                self._fields[name] = _grown(name, self._fields.get(name), value)

    def is_followed_by(self, fragment: dict[str, Any]) -> bool:
        """Whether a fragment starts another call although nothing in its index or id says so."""
        own, new = self._fields.get("function"), fragment.get("function")
        if not (isinstance(own, dict) and isinstance(new, dict) and new.get("name") and new.get("arguments")):
            return False
        arguments = own.get("arguments")
        return isinstance(arguments, _Text) and _is_whole_object(arguments.so_far())

    def settle(self) -> dict[str, Any]:
        return {name: _settled(value) for name, value in self._fields.items()}


def _grown(name: str, known: JsonValue, value: JsonValue) -> JsonValue:
    if value is None:
        return known
    if known is None or (name in _SET_ONCE and known == ""):
        return _draft(name, value)
    if name in _SET_ONCE:
        return known
    if isinstance(known, _Text) and isinstance(value, str):
        known.append(value)
        return known
    if isinstance(known, dict) and isinstance(value, dict):
        for key, item in value.items():
            known[key] = _grown(key, known.get(key), item)
        return known
    if isinstance(known, _Entries) and isinstance(value, list):
        return _grown_list(known, value)
    return _draft(name, value)


def _grown_list(known: _Entries, value: list[Any]) -> _Entries:
    for item in value:
        known.take(item)
    return known


def _grown_content(known: _Text | _Entries, value: list[Any] | str) -> JsonValue:
    """Add to content that is, or becomes, a list of parts.

    Some servers stream reasoning as parts and the text after it as plain text; a plain answer of theirs has text parts.
    """
    if isinstance(known, _Text):
        if isinstance(value, str):
            return _grown("content", known, value)
        text, known = known, _Entries()
        if any(text):
            known.append({"type": "text", "text": text})
    if isinstance(value, list):
        return _grown_list(known, value)
    last = known[-1] if known else None
    if isinstance(last, dict) and last.get("type") == "text" and isinstance(last.get("text"), _Text):
        last["text"].append(value)
    elif value:
        known.take({"type": "text", "text": value})
    return known


def _draft(name: str, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value if name in _SET_ONCE else _Text([value])
    if isinstance(value, dict):
        return {key: _draft(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return _grown_list(_Entries(), value)
    return value


def _settled(value: JsonValue) -> JsonValue:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, ToolCalls):
        return value.settle()
    if isinstance(value, dict):
        return {key: _settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settled(item) for item in value]
    return value


def _is_list_of_objects(value: JsonValue) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_whole_object(text: str) -> bool:
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
