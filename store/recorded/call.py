"""One line of a trace file, read into a recorded call: the messages with the reply at the end.

Nothing here reads files or knows of other lines. A line that cannot be understood raises `LineError` with one of a
closed list of reasons; the caller counts it and keeps the raw line.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from store import json_text
from store.recorded.errors import LineError, MessageFormError, RejectReason
from store.recorded.message import Json, Message, Turn
from store.recorded.message_form import read_messages

"""Deepest nesting of a line, in arrays and objects. Tool schemas stay below 30; Python's encoders fail near 1000."""
_HUGE_EXPONENT = re.compile(r"\d[eE]\+?\d{3}")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call with its reply, or one whole conversation, as a source told it.

    Attributes:
        messages: The request's messages and, at the end, the reply when there was one. Never empty.
        turn: What is known of the call; it wrote the last message if that is an assistant's.
        source: Where it came from, for a person.
        tools: Tool definitions in OpenAI form.
        response_format: As recorded.
        metadata: Whatever the source said besides.
        flags: What was odd about the messages.
        created_at: When the call was made; None when the source does not say, then the order of the source counts.
    """

    messages: tuple[Message, ...]
    source: str
    turn: Turn = field(default_factory=Turn)
    tools: list[Json] | None = None
    response_format: Json | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    created_at: datetime | None = None


def load_line(line: bytes) -> dict[str, Json]:
    """Read one line into a JSON object, big integers and lone surrogates kept.

    Raises:
        LineError: `not_utf8`, `not_json`, `too_deep` or `not_object`.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise LineError(RejectReason.NOT_UTF8, f"byte {exc.start} is not UTF-8") from exc
    try:
        # Infinity and NaN, which some exporters write and JSON does not have, are kept as text.
        value = json.loads(text, parse_constant=str)
    except RecursionError as exc:
        raise LineError(RejectReason.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}") from exc
    except json.JSONDecodeError as exc:
        raise LineError(RejectReason.NOT_JSON, f"not one JSON value: {exc.msg} at character {exc.pos}") from exc
    except ValueError as exc:  # an integer past Python's limit of digits
        raise LineError(RejectReason.NOT_JSON, "holds a number with too many digits") from exc
    if not isinstance(value, dict):
        raise LineError(RejectReason.NOT_OBJECT, "the line is JSON, but not an object")
    if json_text.is_too_deep(value):
        raise LineError(RejectReason.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
    return _finite(value) if _HUGE_EXPONENT.search(text) else value


def read_openai(value: Mapping[str, Json], source: str) -> RecordedCall:
    """Read a line `{messages, tools?, response_format?, metadata?}`; `metadata` may be our own export's.

    Raises:
        LineError: `no_messages`, `bad_message` or `bad_tools`.
    """
    metadata = read_metadata(value.get("metadata"))
    return make_call(
        value.get("messages"),
        source,
        tools=read_tools(value.get("tools"), value.get("functions")),
        response_format=value.get("response_format"),
        metadata=metadata,
        turn=Turn(
            trace_id=_text(metadata.get("trace_id")),
            model=_text(metadata.get("model")) or _text(value.get("model")),
            finish_reason=_text(metadata.get("finish_reason")),
            outcome=_outcome(metadata),
        ),
    )


def read_unstructured(value: Mapping[str, Json], source: str) -> RecordedCall:
    """Read a line `{context: "<JSON array of messages>"}`; the string may also hold a whole `{messages, tools}`.

    Raises:
        LineError: `bad_context`, or as `read_openai`.
    """
    context = value.get("context")
    inner: Json = context
    if isinstance(context, str):
        try:
            inner = json.loads(context, parse_constant=str)
        except (ValueError, RecursionError) as exc:
            raise LineError(RejectReason.BAD_CONTEXT, "context is a string, but not JSON") from exc
    if json_text.is_too_deep(inner):
        raise LineError(RejectReason.TOO_DEEP, f"context is nested deeper than {json_text.MAX_DEPTH}")
    rest = {name: field for name, field in value.items() if name != "context"}
    if isinstance(inner, list):
        return read_openai({**rest, "messages": inner}, source)
    if isinstance(inner, dict) and "messages" in inner:
        return read_openai({**rest, **inner}, source)
    raise LineError(RejectReason.BAD_CONTEXT, "context must be a string that holds a JSON array of messages")


def make_call(
    messages: Json,
    source: str,
    *,
    turn: Turn,
    tools: list[Json] | None = None,
    response_format: Json | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> RecordedCall:
    """Bring the parts of a call into normal form.

    Raises:
        LineError: `no_messages`, `bad_message` or `bad_response_format`.
    """
    if response_format is not None and not isinstance(response_format, dict):
        raise LineError(RejectReason.BAD_RESPONSE_FORMAT, "response_format is not an object")
    if not isinstance(messages, list) or not messages:
        raise LineError(RejectReason.NO_MESSAGES, "there is no array `messages` with at least one message")
    try:
        read = read_messages(messages)
    except MessageFormError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, str(exc)) from exc
    except ValueError as exc:
        raise LineError(RejectReason.BAD_MESSAGE, "a message holds a value that JSON does not have (NaN)") from exc
    return RecordedCall(read.messages, source, turn, tools, response_format, metadata or {}, read.flags)


def read_tools(tools: Json, functions: Json = None) -> list[Json] | None:
    """Read tool definitions given as objects or as JSON text, or the legacy `functions`; None when there are none.

    Raises:
        LineError: `bad_tools`.
    """
    value = _parsed(tools)
    if value is None and functions is not None:
        value = _parsed(functions)
    if value is None or value == []:
        return None
    if not isinstance(value, list):
        raise LineError(RejectReason.BAD_TOOLS, "tools is not an array")
    return [_read_tool(tool, number) for number, tool in enumerate(value)]


def read_metadata(metadata: Json) -> dict[str, Json]:
    """Read metadata given as an object or as JSON text; any other value is kept under `metadata`."""
    value = _parsed(metadata)
    if value is None:
        return {}
    return dict(value) if isinstance(value, dict) else {"metadata": value}


def _finite(value: Json) -> Json:
    """Keep a number too large for a float (1e400) as text, so that it can be written again."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _read_tool(tool: Json, number: int) -> Json:
    value = _parsed(tool)
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


def _parsed(value: Json) -> Json:
    """The value, or what its text holds when it is JSON text."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value, parse_constant=str)
    except (ValueError, RecursionError):
        return value
    return value if json_text.is_too_deep(parsed) else parsed


def _outcome(metadata: Mapping[str, Json]) -> str | None:
    """Our own export tells outcome and flags of traces that are not whole; such a completed call is `incomplete`."""
    outcome = _text(metadata.get("outcome"))
    return "incomplete" if outcome == "completed" and metadata.get("flags") else outcome


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
