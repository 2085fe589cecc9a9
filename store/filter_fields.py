"""The closed table of what a filter may ask about a trace, and how each kind of value is written."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from store.trace import Outcome
from store.trace_rows import to_micros

Value = bytes | int | float | str

_EQUALITY = frozenset({"=", "!=", "in"})
_TEXT = _EQUALITY | {"~"}
_ORDER = _EQUALITY | {"<", "<=", ">", ">="}


@dataclass(frozen=True, slots=True)
class Kind:
    """How the values of a field are written, and which operators they allow.

    Attributes:
        expects: What a value is, for messages.
        operators: The operators that make sense.
        read: Turns a written value into the column's; raises ValueError for any other.
        null: Whether the field can be missing, so that `= null` makes sense and an order needs a rule for it.
    """

    expects: str
    operators: frozenset[str]
    read: Callable[[str], Value]
    null: bool = True


class Field(NamedTuple):
    """What a filter may ask about.

    Attributes:
        kind: How its values are written.
        sql: Expressions over `traces t`; with several any of them may match.
        meaning: What it is, for the reference page.
    """

    kind: Kind
    sql: tuple[str, ...]
    meaning: str


def _read_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read_outcome(text: str) -> str:
    return Outcome(text).value


def _read_integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError("beyond 64 bits")
    return value


def _read_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _read_truth(text: str) -> int:
    return {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}[text.lower()]


def _read_time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _read_id(text: str) -> bytes:
    return UUID(text).bytes


TEXT = Kind("text", _TEXT, _read_text)
ROUTE = Kind("text", _TEXT, _read_text, null=False)
NAME = Kind("text", _TEXT, lambda text: text)
OUTCOME = Kind("one of " + ", ".join(Outcome), _TEXT, _read_outcome, null=False)
INTEGER = Kind("a whole number", _ORDER, _read_integer)
NUMBER = Kind("a number", _ORDER, _read_number)
TRUTH = Kind("true or false", _EQUALITY, _read_truth, null=False)
TIME = Kind("an ISO 8601 date or time such as 2026-01-31 or 2026-01-31T12:00:00Z", _ORDER, _read_time, null=False)
ID = Kind("a trace id such as 01920a6e-0000-7000-8000-000000000000", _EQUALITY, _read_id, null=False)

FIELDS: dict[str, Field] = {
    "id": Field(ID, ("t.id",), "The trace's id."),
    "created_at": Field(TIME, ("t.created_at",), "When the call arrived; UTC where no zone is given."),
    "outcome": Field(OUTCOME, ("t.outcome",), "How the call ended."),
    "complete": Field(TRUTH, ("t.is_complete",), "Whether the trace holds a whole chat completion."),
    "stream": Field(TRUTH, ("t.is_streaming",), "Whether the client asked for a stream."),
    "has_tool_calls": Field(TRUTH, ("t.has_tool_calls",), "Whether any reply calls a tool."),
    "status": Field(INTEGER, ("t.status",), "Status of the upstream's answer."),
    "model": Field(
        TEXT, ("t.requested_model", "t.served_model"), "The model as requested or as served; either may match."
    ),
    "requested_model": Field(TEXT, ("t.requested_model",), "The model the client asked for."),
    "served_model": Field(TEXT, ("t.served_model",), "The model the upstream says it used."),
    "route": Field(ROUTE, ("t.route",), "Name of the route."),
    "endpoint": Field(
        NAME,
        ("t.endpoint",),
        "`chat.completions`, `completions`, `responses`, `messages`; missing for a call kept as metadata only.",
    ),
    "session": Field(TEXT, ("t.session",), "The session that the client named."),
    "user": Field(TEXT, ("t.user",), "The user that the client named."),
    "finish_reason": Field(
        TEXT,
        ("(SELECT r.finish_reason FROM replies r WHERE r.trace = t.number ORDER BY r.position LIMIT 1)",),
        "Why the first reply ended.",
    ),
    "prompt_tokens": Field(INTEGER, ("t.prompt_tokens",), "Tokens of the request, as reported."),
    "completion_tokens": Field(INTEGER, ("t.completion_tokens",), "Tokens of the reply, as reported."),
    "duration_ms": Field(NUMBER, ("t.duration_ms",), "From the call's arrival to its end, in milliseconds."),
    "ttft_ms": Field(NUMBER, ("t.ttft_ms",), "To the first block of the answer's body, in milliseconds."),
    "upstream_id": Field(TEXT, ("t.upstream_id",), "The completion's own id."),
    "request_id": Field(TEXT, ("t.request_id",), "The answer's `x-request-id`."),
}
TAG_PREFIX = "tag."


def tag_field(parameter: str) -> Field:
    """Give the field of one tag; the tag's name is bound to the named parameter."""
    sql = f"(SELECT g.value FROM tags g WHERE g.trace = t.number AND g.name = :{parameter})"  # noqa: S608
    return Field(TEXT, (sql,), "The value of that tag.")
