"""Getting the one JSON value out of an answer, and checking it against a schema.

Only what surrounds the value is taken off: code fences and prose. The value itself is never mended.
"""

import json
import re
from functools import lru_cache
from typing import NamedTuple, NoReturn

import jsonschema_rs

from store import json_text
from store.recorded.message import Json

MAX_ERROR_CHARS = 200
_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


class Found(NamedTuple):
    """The JSON value of an answer.

    Attributes:
        value: The value.
        text: Its text as the model wrote it, without what surrounded it.
        was_wrapped: Whether fences or prose had to be taken off.
    """

    value: Json
    text: str
    was_wrapped: bool


class RepairError(ValueError):
    """An answer does not have the form it should; the text is short enough to send back to the model."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem[:MAX_ERROR_CHARS])


def find_json(text: str) -> Found:
    """Find the one JSON value of an answer: strictly, then inside fences, then as the one object or array in prose.

    Raises:
        RepairError: There is none, or more than one.
    """
    try:
        return Found(_parse(text), text.strip(), was_wrapped=False)
    except (ValueError, RecursionError) as exc:
        problem = str(exc)
    fenced = _FENCE.findall(text)
    if len(fenced) == 1:
        try:
            return Found(_parse(fenced[0]), fenced[0].strip(), was_wrapped=True)
        except (ValueError, RecursionError) as exc:
            raise RepairError(f"the fenced block is not JSON: {exc}") from exc
    found = _in_prose(text)
    if len(found) != 1:
        raise RepairError(f"the answer is not one JSON value: {problem}")
    return found[0]


def check(value: Json, schema: Json) -> None:
    """Check a value against a JSON Schema.

    Raises:
        RepairError: It does not fit; tells the path and the rule of the first fault. A schema that is no schema, or
            that refers to another document, fits nothing that could be checked and is passed over.
    """
    validator = _validator(json_text.dumps(schema))
    if validator is None:
        return
    for error in validator.iter_errors(value):
        path = "/".join(str(part) for part in error.instance_path)
        raise RepairError(f"at /{path}: {_rule(error)}")


def _rule(error: jsonschema_rs.ValidationError) -> str:
    # The validator quotes the whole instance first; the rule stands at the end of its sentence.
    message = str(error.message)
    return message if len(message) <= 120 else f"… {message[-120:]}"


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> jsonschema_rs.Validator | None:
    try:
        return jsonschema_rs.validator_for(json_text.loads(schema), retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return None


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"schemas are not fetched: {uri}")


def _parse(text: str) -> Json:
    return json_text.loads(text.strip().encode("utf-8", "surrogatepass"))


def _in_prose(text: str) -> list[Found]:
    decoder = json.JSONDecoder()
    found: list[Found] = []
    position = 0
    while len(found) < 2 and (start := _next_bracket(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            position = start + 1
        else:
            found.append(Found(value, text[start:position], was_wrapped=True))
    return found


def _next_bracket(text: str, position: int) -> int | None:
    match = re.compile(r"[\[{]").search(text, position)
    return match.start() if match else None
