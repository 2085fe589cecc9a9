"""JSON text: the exact characters of a JSON value, cut out of a larger text and never written anew.

Parsing and writing again would change key order of duplicates, floats as written (`1E5`, `1e400`), and more. So values
are found by the standard library's scanner, which tells where each one ends, and are cut out as slices; only the white
space between tokens goes. What is accepted is JSON as RFC 8259 defines it: no `NaN`, no `Infinity`, no raw control
characters in strings. A byte order mark at the start is tolerated and goes too.

Most texts take a short way that comes to the same: a text that orjson reads and writes back letter by letter is held
whole by the value it read, so each part of that value, written, is the exact slice. Anything else (a float as nobody
writes it, an integer of many digits, a key twice, an escape without need) comes back different and goes the long way.
"""

import json
import re
from collections.abc import Callable, Iterator
from json import decoder
from typing import Any, Final, NoReturn, TypeAlias, cast

import orjson

from store.trace import JsonText

JsonValue: TypeAlias = Any
"""A parsed JSON value; what it is, only its reader can tell."""

MAX_DEPTH = 200
"""Deeper than any message: what nests further is not taken for one."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Possessive, so that a string of millions of escapes costs neither backtracking nor memory.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_BACKSLASH = ord("\\")
_WHITE_SPACE = re.compile(r"[ \t\n\r]*+")
_KEY = re.compile(r'[ \t\n\r]*+"([^"\\\x00-\x1f]*+)"[ \t\n\r]*+:[ \t\n\r]*+')
_SURROGATE = re.compile("[\ud800-\udfff]")


INEXACT: Final = object()
"""What `exact_value` gives for a text that its value does not hold whole."""


class JsonTextError(ValueError):
    """The text is not one JSON value, or a value that JSON cannot hold was to be written."""


def compact(text: bytes) -> JsonText:
    """Strip the white space between tokens; strings, numbers, order and duplicates stay as they are.

    Raises:
        JsonTextError: `text` is not exactly one JSON value in UTF-8, or is nested too deep for this interpreter.
    """
    return compact_value(text)[0]


def compact_value(text: bytes) -> tuple[JsonText, JsonValue]:
    """Do as `compact`, and give the `exact_value` of what comes out where it is at hand; `INEXACT` elsewhere."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        value = orjson.loads(text)
        written = orjson.dumps(value)
        # As most clients write it, and as OpenAI does: indented by two.
        if written == text or orjson.dumps(value, option=orjson.OPT_INDENT_2) == text.strip():
            return written, value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        value = written = None
    stripped = _strip(text)
    if written == stripped:
        return stripped, value
    loads(text)
    return stripped, INEXACT


def exact_value(text: bytes) -> JsonValue:
    """Parse a text that orjson writes letter by letter from its value; `INEXACT` stands for any other, JSON or not.

    The value is the one that `loads` gives, in a third of the time.
    """
    try:
        value = orjson.loads(text)
        return value if orjson.dumps(value) == text else INEXACT
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return INEXACT


def loads(text: bytes) -> JsonValue:
    """Parse one JSON value as the standard library does: big integers whole, lone surrogates kept, last duplicate wins.

    A float too large for a double becomes infinity, which `dumps` refuses; take the slice from `members` or `elements`
    where the value has to survive.

    Raises:
        JsonTextError: As `compact`; also for an integer above the interpreter's limit (4300 digits by default).
    """
    value = exact_value(text)
    if value is not INEXACT:
        return value
    document = _decode(text)
    start = _skip(document, 0)
    value, end = _scan(document, start)
    if _skip(document, end) != len(document):
        raise JsonTextError(f"more text after the JSON value, at character {_skip(document, end)}")
    return value


def dumps(value: JsonValue) -> JsonText:
    """Write a value as compact JSON in UTF-8; lone surrogates, which UTF-8 cannot hold, become escapes.

    Raises:
        JsonTextError: The value holds NaN or an infinity, contains itself, or is nested too deep.
        TypeError: The value holds something that is no JSON type.
    """
    try:
        document = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as exc:
        raise JsonTextError(f"the value cannot be written as JSON: {exc}") from exc
    try:
        return document.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", document).encode()


def members(text: bytes) -> list[tuple[str, JsonText]]:
    """Cut an object into its members: decoded key and exact compact slice of the value, in order, duplicates kept.

    Raises:
        JsonTextError: `text` is not exactly one JSON object.
    """
    value = exact_value(text)
    if type(value) is dict:
        return [(key, orjson.dumps(item)) for key, item in value.items()]
    document = _decode(text)
    found: list[tuple[str, JsonText]] = []
    position = _enter(document, "{", "object")
    if document.startswith("}", position):
        _expect_end(document, position + 1)
        return found
    while True:
        key, start = _scan_key(document, position)
        _, end = _scan(document, start)
        found.append((key, _cut(document, start, end)))
        position = _skip(document, end)
        if document.startswith("}", position):
            _expect_end(document, position + 1)
            return found
        position = _next(document, position)


def elements(text: bytes) -> list[JsonText]:
    """Cut an array into the exact compact slices of its items, in order.

    Raises:
        JsonTextError: `text` is not exactly one JSON array.
    """
    value = exact_value(text)
    if type(value) is list:
        return [orjson.dumps(item) for item in value]
    document = _decode(text)
    found: list[JsonText] = []
    position = _enter(document, "[", "array")
    if document.startswith("]", position):
        _expect_end(document, position + 1)
        return found
    while True:
        _, end = _scan(document, position)
        found.append(_cut(document, position, end))
        position = _skip(document, end)
        if document.startswith("]", position):
            _expect_end(document, position + 1)
            return found
        position = _next(document, position)


def long_strings(text: JsonText, minimum_bytes: int) -> Iterator[tuple[int, int]]:
    """Find the strings of a JSON text longer than a bound: start and end of what stands between their quotes.

    Args:
        text: One JSON value as `compact` leaves it.
        minimum_bytes: Strings of this many bytes as written, or fewer, are passed over.
    """
    position = 0
    while (opening := text.find(b'"', position)) >= 0:
        closing = text.index(b'"', opening + 1)
        if text[closing - 1] == _BACKSLASH and (string := _STRING.match(text, opening)):
            closing = string.end() - 1
        if closing - opening - 1 > minimum_bytes:
            yield opening + 1, closing
        position = closing + 1


def _refuse_constant(name: str) -> NoReturn:
    raise JsonTextError(f"{name} is not JSON")


# Both are what `json.loads` itself is made of, but the type stubs leave them out.
_scan_once = cast(
    "Callable[[str, int], tuple[JsonValue, int]]",
    getattr(json.JSONDecoder(parse_constant=_refuse_constant), "scan_once"),  # noqa: B009
)
_scan_string = cast("Callable[[str, int], tuple[str, int]]", getattr(decoder, "scanstring"))  # noqa: B009


def _decode(text: bytes) -> str:
    try:
        return text.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as exc:
        raise JsonTextError(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc


def _scan(document: str, start: int) -> tuple[JsonValue, int]:
    try:
        return _scan_once(document, start)
    except StopIteration as exc:
        raise JsonTextError(f"a JSON value was expected at character {exc.value}") from exc
    except json.JSONDecodeError as exc:
        raise JsonTextError(f"{exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise JsonTextError("nested too deep") from exc
    except JsonTextError:
        raise
    except ValueError as exc:
        raise JsonTextError(f"an integer has too many digits: {exc}") from exc


def _scan_key(document: str, position: int) -> tuple[str, int]:
    """Read a key and its colon; tell where the value begins."""
    if match := _KEY.match(document, position):
        return match[1], match.end()
    if not document.startswith('"', position):
        raise JsonTextError(f"a key was expected at character {position}")
    try:
        key, position = _scan_string(document, position + 1)
    except json.JSONDecodeError as exc:
        raise JsonTextError(f"{exc.msg} at character {exc.pos}") from exc
    position = _skip(document, position)
    if not document.startswith(":", position):
        raise JsonTextError(f"':' was expected at character {position}")
    return key, _skip(document, position + 1)


def _skip(document: str, position: int) -> int:
    match = _WHITE_SPACE.match(document, position)
    return match.end() if match else position


def _enter(document: str, bracket: str, kind: str) -> int:
    start = _skip(document, 0)
    if not document.startswith(bracket, start):
        raise JsonTextError(f"not a JSON {kind}: {bracket!r} was expected at character {start}")
    return _skip(document, start + 1)


def _next(document: str, position: int) -> int:
    if not document.startswith(",", position):
        raise JsonTextError(f"',' was expected at character {position}")
    return _skip(document, position + 1)


def _expect_end(document: str, position: int) -> None:
    if _skip(document, position) != len(document):
        raise JsonTextError(f"more text after the JSON value, at character {_skip(document, position)}")


def _cut(document: str, start: int, end: int) -> JsonText:
    text = document[start:end].encode()
    return _strip(text) if text.startswith((b"{", b"[")) else text


def _strip(text: bytes) -> JsonText:
    """Drop the white space outside strings, at the speed of C, from what is JSON but for that."""
    # Valid JSON has no raw control characters, so two of them may stand for the escapes that could hide a string's end.
    has_escapes = b"\\" in text
    if has_escapes:
        text = text.replace(rb"\\", b"\x01").replace(rb"\"", b"\x02")
    pieces = text.split(b'"')
    pieces[::2] = [piece.translate(None, b" \t\n\r") for piece in pieces[::2]]
    text = b'"'.join(pieces)
    return text.replace(b"\x02", rb"\"").replace(b"\x01", rb"\\") if has_escapes else text


def is_too_deep(value: JsonValue) -> bool:
    """Whether a parsed value is nested deeper than any message is.

    The interpreter's own limit depends on how deep the caller stands, so a text it just parsed may fail one function
    further on; a fixed and lower limit gives the same verdict everywhere.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
