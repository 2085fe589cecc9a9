"""Single values as sources write them: JSON inside of text, tools in several forms, times, counts."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from store import json_text
from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_TOKENS: Final = 2**40


def text_of_value(value: Json) -> str | None:
    """Give a text that says something; None for anything else."""
    return value if isinstance(value, str) and value else None


def first_text(value: Mapping[str, Json], *names: str) -> str | None:
    """Give the first of these fields that is a text."""
    return next((text for name in names if (text := text_of_value(value.get(name)))), None)


def first_value(value: Mapping[str, Json], *names: str) -> Json:
    """Give the first of these fields that is there and not null."""
    return next((value[name] for name in names if value.get(name) is not None), None)


def unwrapped(value: Json) -> Json:
    """Give the value, or what its text holds when it is JSON text and not nested too deep."""
    if not isinstance(value, str):
        return value
    if value.strip() == "null":
        return None
    parsed = parsed_or_none(value)
    return value if parsed is None else parsed


def parsed_or_none(text: Json) -> Json:
    """Give what JSON text of an object or array holds; None for anything else."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        parsed = json.loads(text, parse_constant=str, parse_float=read_float)
    except (ValueError, RecursionError):
        return None
    return None if json_text.is_too_deep(parsed) else parsed


def read_float(text: str) -> float | str:
    """Read a number; one too large for a double (1e400) stays text, so that it can be written again."""
    number = float(text)
    return number if math.isfinite(number) else text


def read_tools(tools: Json, functions: Json = None) -> list[Json] | None:
    """Read tool definitions given as objects or as JSON text, or the legacy `functions`; None when there are none.

    Raises:
        LineError: `bad_tools`.
    """
    value = unwrapped(tools)
    if value is None and functions is not None:
        value = unwrapped(functions)
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        raise LineError(RejectReason.BAD_TOOLS, "tools is not an array")
    return [_read_tool(tool, number) for number, tool in enumerate(value)]


def read_metadata(metadata: Json) -> dict[str, Json]:
    """Read metadata given as an object or as JSON text; any other value is kept under `metadata`."""
    value = unwrapped(metadata)
    if value is None:
        return {}
    return dict(value) if isinstance(value, dict) else {"metadata": value}


def read_tags(tags: Json) -> dict[str, str]:
    """Read tags given as an object, or as a list of names; a value that is no text is written as JSON."""
    value = unwrapped(tags)
    if isinstance(value, dict):
        return {name: _tag_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return {item: "" for item in value if isinstance(item, str)}
    return {}


def read_time(value: Json) -> datetime | None:
    """Read a time: ISO 8601, or `YYYY-MM-DD hh:mm:ss` in UTC, or a count since 1970 in s, ms, µs or ns.

    The unit of a count is told by its size, which is without doubt for all years from 1973 to 2262.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and math.isfinite(value):
            return _since_1970(value)
    except (ValueError, OverflowError):
        return None
    return None


def milliseconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Tell how long something took; None when either end is unknown or they stand the wrong way round."""
    if start is None or end is None or end < start:
        return None
    return (end - start) / timedelta(milliseconds=1)


def read_count(value: Json) -> int | None:
    """Read a count of tokens given as a number or as digits; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 13:
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def _since_1970(count: float) -> datetime | None:
    for limit, micros in ((1e11, 1e6), (1e14, 1e3), (1e17, 1), (1e20, 1e-3)):
        if 0 < count < limit:
            # Integers stay integers: a double holds nanoseconds of our days to a quarter of a microsecond only.
            exact = count // 1000 if micros < 1 else count * int(micros)
            return _EPOCH + timedelta(microseconds=exact)
    return None


def _tag_value(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json_text.dumps(value).decode()


def _read_tool(tool: Json, number: int) -> Json:
    value = unwrapped(tool)
    if not isinstance(value, dict):
        raise LineError(RejectReason.BAD_TOOLS, f"tools[{number}] is not an object")
    function = value.get("function", {name: field for name, field in value.items() if name != "type"})
    if isinstance(function, dict) and value.get("type", "function") != "function":
        return value
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise LineError(RejectReason.BAD_TOOLS, f"tools[{number}] has no name")
    if not isinstance(function.get("parameters", {}), dict | None):
        raise LineError(RejectReason.BAD_TOOLS, f"tools[{number}].parameters is not an object")
    return value if "function" in value else {"type": "function", "function": function}
