"""One line of a file, read into a JSON object."""

import json
import re

from store import json_text
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.source_value import read_float

_HUGE_EXPONENT = re.compile(r"\d[eE]\+?\d{3}")

_KINDS = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}


def load_line(line: bytes) -> dict[str, Json]:
    """Read one line into a JSON object, big integers and lone surrogates kept; of a key that stands twice the last.

    Infinity and NaN, which some exporters write and JSON does not have, become text, and so does a number too large for
    a double.

    Raises:
        LineError: `not_utf8`, `not_json`, `too_deep` or `not_object`.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise LineError(RejectReason.NOT_UTF8, f"byte {exc.start} is not UTF-8") from exc
    try:
        value = json.loads(text, parse_constant=str, parse_float=read_float if _HUGE_EXPONENT.search(text) else None)
    except RecursionError as exc:
        raise LineError(RejectReason.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}") from exc
    except json.JSONDecodeError as exc:
        raise LineError(RejectReason.NOT_JSON, f"not one JSON value: {exc.msg} at character {exc.pos}") from exc
    except ValueError as exc:  # an integer past Python's limit of digits
        raise LineError(RejectReason.NOT_JSON, "holds a number with too many digits") from exc
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), "a number")
        hint = ": write each of its items on a line of its own" if isinstance(value, list) else ""
        raise LineError(RejectReason.NOT_OBJECT, f"the line is {kind} and not an object{hint}")
    if json_text.is_too_deep(value):
        raise LineError(RejectReason.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
    return value
