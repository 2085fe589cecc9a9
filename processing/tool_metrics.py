"""How alike two sets of tool calls are.

Parallel calls are compared as a multiset: their order says nothing. No calls on either side is agreement and scores 1.
A prediction that cannot be read as calls scores 0 and is marked; a reference that cannot be read scores nothing, since
there is nothing to be right about.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from store.recorded.message import Json, Message
from store.recorded.message_form import text_of

OTHER_NAME = 0.25
OTHER_KEYS = 0.5
OTHER_VALUES = 0.75
_WRAPPED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


class Call(NamedTuple):
    """A tool call with its arguments read."""

    name: str
    arguments: dict[str, Json]


class ToolScores(NamedTuple):
    """Scores of one prediction, each in [0, 1]; None when the reference cannot be read.

    Attributes:
        equivalence: 1 when the calls are equal once schema defaults are filled in.
        binary: 1 when names and arguments are equal, key order aside.
        staged: 0 unparsable or no call, .25 other name, .5 other argument names, .75 other values, 1 equal; the mean
            over the best pairing when there are several calls, a missing or superfluous one counting 0.
        is_unparsable: The prediction, or the reference, cannot be read as calls.
    """

    equivalence: float | None
    binary: float | None
    staged: float | None
    is_unparsable: bool


def calls_of(message: Message) -> list[Call] | None:
    """Read the calls of an assistant message, or of its text when a model wrote them there.

    Returns None when the message calls tools in a way that cannot be read; text that is no call is no call.
    """
    if message.tool_calls:
        calls = [_call(call.name, call.arguments) for call in message.tool_calls]
        return _all_or_none(calls)
    text = text_of(message)
    if "<tool_call>" not in text:
        return parse_calls(text) or []
    return parse_calls(text)


def parse_calls(text: str) -> list[Call] | None:
    """Read calls written as text; None when it holds none that can be read.

    Understood are `{"name", "parameters" or "arguments"}`, arrays of them, OpenAI's `{"function": {…}}`, and each of
    these between `<tool_call>` tags.
    """
    wrapped = _WRAPPED.findall(text)
    values: list[Json] = []
    for piece in wrapped or [text]:
        try:
            value = json.loads(piece)
        except (ValueError, RecursionError):
            return None
        values += value if isinstance(value, list) else [value]
    return _all_or_none([_from_value(value) for value in values]) if values else None


def score_calls(
    prediction: Sequence[Call] | None, reference: Sequence[Call] | None, tools: Sequence[Json] | None = None
) -> ToolScores:
    """Compare two sets of calls.

    Args:
        prediction: None when it cannot be read.
        reference: None when it cannot be read.
        tools: Definitions in OpenAI form, for their defaults.
    """
    if reference is None:
        return ToolScores(None, None, None, is_unparsable=True)
    if prediction is None:
        return ToolScores(0.0, 0.0, 0.0, is_unparsable=True)
    if not prediction and not reference:
        return ToolScores(1.0, 1.0, 1.0, is_unparsable=False)
    schemas = {name: schema for tool in tools or [] for name, schema in _schema(tool)}
    filled = [_multiset([_filled(call, schemas) for call in calls]) for calls in (prediction, reference)]
    return ToolScores(
        equivalence=float(filled[0] == filled[1]),
        binary=float(_multiset(prediction) == _multiset(reference)),
        staged=_staged(prediction, reference),
        is_unparsable=False,
    )


def canonical(value: Json) -> str:
    """Write a JSON value so that equal values are equal texts: sorted keys, 1.0 as 1; true is not 1."""
    return json.dumps(_plain(value), sort_keys=True)


def _staged(prediction: Sequence[Call], reference: Sequence[Call]) -> float:
    """Pair calls level by level, the most alike first; the levels are nested, so no better pairing exists."""
    left, right = list(prediction), list(reference)
    total = 0.0
    for score, key in ((1.0, _whole), (OTHER_VALUES, _keys), (OTHER_KEYS, _name), (OTHER_NAME, _any)):
        waiting = Counter(key(call) for call in right)
        unpaired: list[Call] = []
        for call in left:
            if waiting[key(call)] > 0:
                waiting[key(call)] -= 1
                total += score
            else:
                unpaired.append(call)
        remaining: list[Call] = []
        for call in reversed(right):
            if waiting[key(call)] > 0:
                waiting[key(call)] -= 1
                remaining.append(call)
        left, right = unpaired, remaining
    return total / max(len(prediction), len(reference))


def _whole(call: Call) -> str:
    return canonical([call.name, call.arguments])


def _keys(call: Call) -> str:
    return canonical([call.name, sorted(call.arguments)])


def _name(call: Call) -> str:
    return call.name


def _any(_call: Call) -> str:
    return ""


def _multiset(calls: Sequence[Call]) -> Counter[str]:
    return Counter(_whole(call) for call in calls)


def _from_value(value: Json) -> Call | None:
    if not isinstance(value, dict):
        return None
    function = value["function"] if isinstance(value.get("function"), dict) else value
    arguments = next((function[name] for name in ("arguments", "parameters") if name in function), None)
    return _call(function.get("name"), arguments)


def _call(name: Json, arguments: Json) -> Call | None:
    if not isinstance(name, str):
        return None
    if isinstance(arguments, str):
        # Servers write "" for a tool without arguments.
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return None
    return Call(name, arguments) if isinstance(arguments, dict) else None


def _all_or_none(calls: Sequence[Call | None]) -> list[Call] | None:
    read = [call for call in calls if call is not None]
    return read if len(read) == len(calls) else None


def _schema(tool: Json) -> list[tuple[str, Mapping[str, Json]]]:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return []
    parameters = function.get("parameters")
    return [(function["name"], parameters)] if isinstance(parameters, dict) else []


def _filled(call: Call, schemas: Mapping[str, Mapping[str, Json]]) -> Call:
    return Call(call.name, _with_defaults(call.arguments, schemas.get(call.name, {})))


def _with_defaults(value: Mapping[str, Json], schema: Mapping[str, Json]) -> dict[str, Json]:
    properties = schema.get("properties")
    filled = dict(value)
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(inner, dict):
            continue
        if name not in filled and "default" in inner:
            filled[name] = inner["default"]
        elif isinstance(filled.get(name), dict):
            filled[name] = _with_defaults(filled[name], inner)
    return filled


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
