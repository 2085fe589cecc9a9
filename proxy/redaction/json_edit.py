"""Redacting inside JSON text: only the characters of what was found change, all others stay as they were written.

A secret may be written with escapes, and may stand in a JSON text that is itself a string, as the arguments of a tool
call are. So each string is decoded, what is found in it is led back to the characters as written, and a placeholder is
escaped as often as what it replaces was. A number cannot hold a placeholder: it becomes a string, so the text stays
JSON.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from proxy.redaction.shape import Match
from store import json_text
from store.json_text import JsonTextError

Find = Callable[[str, str], list[Match]]
"""Finds in a decoded text that stands under a key, "" for none."""
Write = Callable[[Match], str]
"""Gives the placeholder of a match and counts it."""

_TOKEN = re.compile(
    r'"(?P<string>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?<![0-9A-Za-z.+-])(?P<number>[0-9]{9,34})(?![0-9A-Za-z.+-])', re.DOTALL
)
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[^u]", re.DOTALL)
_ASCII_ESCAPE = re.compile(r"\\u00(?:[2-7][0-9A-Fa-f]|[aA]0)")
"""In a text that is no JSON: half a tool call's arguments, say. Only what no writer escapes by need."""
_KEY_END = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_BASE64 = re.compile(r"(?:data:[^,]{0,256};base64,|[A-Za-z0-9+/_-]{1024})[A-Za-z0-9+/_=-]*")
_MAX_NESTING = 8
_WIRE_WORDS = frozenset(
    {"assistant", "content", "developer", "function", "role", "system", "text", "tool", "tool_calls", "type", "user"}
)
"""What gives a message its form, whatever a rule says."""


class Edit(NamedTuple):
    """What stands instead of some characters."""

    start: int
    end: int
    text: str


def edit_json(text: str, find: Find, write: Write) -> str:
    """Redact all strings of a JSON text, keys too, and its long integers."""
    return _apply(text, list(_json_edits(text, find, write, 0)))


def edit_text(text: str, find: Find, write: Write) -> str:
    """Redact a text that is no JSON text as far as the store goes, but may be one for its reader."""
    return _apply(text, _text_edits(text, "", find, write, 0))


def _apply(text: str, edits: list[Edit]) -> str:
    if not edits:
        return text
    pieces: list[str] = []
    position = 0
    for edit in edits:
        pieces += (text[position : edit.start], edit.text)
        position = edit.end
    pieces.append(text[position:])
    return "".join(pieces)


def _json_edits(text: str, find: Find, write: Write, nesting: int) -> Iterator[Edit]:
    key, value_start = "", -1
    for token in _TOKEN.finditer(text):
        name = key if token.start() == value_start else ""
        if token["string"] is None:
            matches = find(token["number"], name)
            if matches:
                yield Edit(*token.span("number"), f'"{write(_whole(matches[0], token["number"]))}"')
            continue
        content = token["string"]
        if end := _KEY_END.match(text, token.end()):
            key, value_start = content, end.end()
            name = ""
        start = token.start("string")
        for edit in _string_edits(content, name, find, write, nesting):
            yield Edit(start + edit.start, start + edit.end, json.dumps(edit.text)[1:-1])


def _whole(match: Match, number: str) -> Match:
    is_whole = match.end - match.start == len(number)
    return match._replace(start=0, end=len(number), value=match.value if is_whole else number)


def _string_edits(content: str, name: str, find: Find, write: Write, nesting: int) -> list[Edit]:
    """Find what to change between the quotes of a string, in places of the text as written."""
    if content in _WIRE_WORDS or _BASE64.fullmatch(content):
        return []
    if "\\" not in content:
        return _text_edits(content, name, find, write, nesting)
    decoded = _Decoded(content, _ESCAPE)
    return [decoded.edit_as_written(edit) for edit in _text_edits(decoded.text, name, find, write, nesting)]


def _text_edits(text: str, name: str, find: Find, write: Write, nesting: int) -> list[Edit]:
    """Find what to change in a decoded text."""
    if nesting < _MAX_NESTING and text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return list(_json_edits(text, find, write, nesting + 1))
    if "\\u00" in text and _ASCII_ESCAPE.search(text):
        decoded = _Decoded(text, _ASCII_ESCAPE)
        return [
            decoded.edit_as_written(Edit(match.start, match.end, write(match))) for match in find(decoded.text, name)
        ]
    return [Edit(match.start, match.end, write(match)) for match in find(text, name)]


def _is_json(text: str) -> bool:
    try:
        json_text.loads(text.encode())
    except (JsonTextError, UnicodeEncodeError):
        return False
    return True


class _Decoded:
    """A text without its escapes, and the way back to where each character is written."""

    def __init__(self, written: str, escape: re.Pattern[str]) -> None:
        pieces: list[str] = []
        # Behind each escape the two texts run in step again: from there on, one place tells the other.
        self._decoded_ends = [0]
        self._written_ends = [0]
        position = length = 0
        for match in escape.finditer(written):
            character = _character(match[0])
            pieces += (written[position : match.start()], character)
            length += match.start() - position + len(character)
            position = match.end()
            self._decoded_ends.append(length)
            self._written_ends.append(position)
        pieces.append(written[position:])
        self.text = "".join(pieces)

    def edit_as_written(self, edit: Edit) -> Edit:
        return Edit(self._as_written(edit.start), self._as_written(edit.end), edit.text)

    def _as_written(self, place: int) -> int:
        nearest = bisect_right(self._decoded_ends, place) - 1
        return self._written_ends[nearest] + place - self._decoded_ends[nearest]


_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _character(escape: str) -> str:
    if escape[1] != "u":
        return _SIMPLE.get(escape[1], escape[1])
    first = int(escape[2:6], 16)
    if len(escape) == 6:
        return chr(first)
    return chr(0x10000 + ((first & 0x3FF) << 10) + (int(escape[8:], 16) & 0x3FF))
