"""JSON text: the exact characters of a JSON value, cut out of a larger text and never written anew.

Parsing and writing again would change key order of duplicates, floats as written (`1E5`, `1e400`), and more. So values
are found by the standard library's scanner, which tells where each one ends, and are cut out as slices; only the white
space between tokens goes. What is accepted is JSON as RFC 8259 defines it: no `NaN`, no `Infinity`, no raw control
characters in strings. A byte order mark at the start is tolerated and goes too.
"""

import json
import re
from collections.abc import Callable, Iterator
from json import decoder
from typing import Any, NoReturn, TypeAlias, cast

from store.trace import JsonText

JsonValue: TypeAlias = Any
"""A parsed JSON value; what it is, only its reader can tell."""

MAX_DEPTH = 200
"""Deeper than any message: what nests further is not taken for one."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A token is a whole string or a run of anything else but white space; possessive, so that a string of millions of
# escapes costs neither backtracking nor memory.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^ \t\n\r"]++')
_WHITE_SPACE = re.compile(r"[ \t\n\r]*+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonTextError(ValueError):
    """The text is not one JSON value, or a value that JSON cannot hold was to be written."""


def compact(text: bytes) -> JsonText:
    """Strip the white space between tokens; strings, numbers, order and duplicates stay as they are.

    Raises:
        JsonTextError: `text` is not exactly one JSON value in UTF-8, or is nested too deep for this interpreter.
    """
    loads(text)
    return _strip(text.removeprefix(_BYTE_ORDER_MARK))


def loads(text: bytes) -> JsonValue:
    """Parse one JSON value as the standard library does: big integers whole, lone surrogates kept, last duplicate wins.

    A float too large for a double becomes infinity, which `dumps` refuses; take the slice from `members` or `elements`
    where the value has to survive.

    Raises:
        JsonTextError: As `compact`; also for an integer above the interpreter's limit (4300 digits by default).
    """
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
    document = _decode(text)
    found: list[tuple[str, JsonText]] = []
    position = _enter(document, "{", "object")
    if document.startswith("}", position):
        _expect_end(document, position + 1)
        return found
    while True:
        if not document.startswith('"', position):
            raise JsonTextError(f"a key was expected at character {position}")
        key, position = _scan_key(document, position)
        position = _skip(document, position)
        if not document.startswith(":", position):
            raise JsonTextError(f"':' was expected at character {position}")
        start = _skip(document, position + 1)
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
    for match in _TOKENS.finditer(text):
        start, end = match.start() + 1, match.end() - 1
        if end - start > minimum_bytes and text.startswith(b'"', match.start()):
            yield start, end


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
    try:
        return _scan_string(document, position + 1)
    except json.JSONDecodeError as exc:
        raise JsonTextError(f"{exc.msg} at character {exc.pos}") from exc


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
    return _strip(document[start:end].encode())


def _strip(text: bytes) -> JsonText:
    return b"".join(_TOKENS.findall(text))


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
