"""The closed table of what a filter may ask about a trace, and how each kind of value is written."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from store.conversation_expressions import CONVERSATION_OF_ID, IS_LEAF
from store.price import to_picodollars
from store.trace import Flag, Outcome
from store.trace_rows import to_micros
from store.tree import ID_BYTES

Value = bytes | int | float | str

_EQUALITY = frozenset({"=", "!=", "in"})
_TEXT = _EQUALITY | {"~"}
_ORDER = _EQUALITY | {"<", "<=", ">", ">="}
_AGO = re.compile(r"-(\d{1,6})([smhdw])")
_TRUTHS = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


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
        sql: Expressions over `traces t`, and over `rows` where there are such; with several any of them may match.
        meaning: What it is, for the reference page.
        rows: Where a trace may have several values: the tables and the condition that give the rows of `t`.
        indexes: For each expression an index that gives the traces of one value in the order of time.
        ranged: The beginning of a statement that gives the numbers of the traces whose value is before, after or equal
            to one, from an index.
        members: A statement that gives the numbers of the traces whose value is `{value}`, and says it by itself.
        label: The kind of label (`store.filter_labels`) by which traces of one value are found in the order of time.
    """

    kind: Kind
    sql: tuple[str, ...]
    meaning: str
    rows: str | None = None
    indexes: tuple[str, ...] = ()
    ranged: str | None = None
    label: bytes | None = None
    members: str | None = None


def _read_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read_outcome(text: str) -> str:
    return Outcome(text).value


def _read_flag(text: str) -> str:
    return Flag(text).value


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
    return _TRUTHS[text.lower()]


def _read_score(text: str) -> float:
    return float(_TRUTHS[text.lower()]) if text.lower() in ("true", "false") else _read_number(text)


def _read_time(text: str) -> int:
    if ago := _AGO.fullmatch(text):
        return to_micros(datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
    moment = datetime.fromisoformat(text)
    return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _read_id(text: str) -> bytes:
    return UUID(text).bytes


def _read_conversation(text: str) -> bytes:
    if len(text) != 2 * ID_BYTES:
        raise ValueError("of another length")
    return bytes.fromhex(text)


TEXT = Kind("text", _TEXT, _read_text)
NAMED = Kind("text", _EQUALITY, _read_text)
ROUTE = Kind("text", _TEXT, _read_text, null=False)
NAME = Kind("text", _TEXT, lambda text: text)
OUTCOME = Kind("one of " + ", ".join(Outcome), _TEXT, _read_outcome, null=False)
FLAG = Kind("one of " + ", ".join(sorted(Flag)), _EQUALITY, _read_flag)
INTEGER = Kind("a whole number", _ORDER, _read_integer)
COUNT = Kind("a whole number", _ORDER, _read_integer, null=False)
NUMBER = Kind("a number", _ORDER, _read_number)
TRUTH = Kind("true or false", _EQUALITY, _read_truth, null=False)
TIME = Kind(
    "an ISO 8601 date or time such as 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago such as -90s, -30m, -12h, "
    "-7d, -4w",
    _ORDER,
    _read_time,
    null=False,
)
DOLLARS = Kind("an amount such as 0.05", _ORDER, to_picodollars)
SCORE = Kind("true, false or a number", _ORDER, _read_score)
ID = Kind("a trace id such as 01920a6e-0000-7000-8000-000000000000", _EQUALITY, _read_id, null=False)
CONVERSATION = Kind("a conversation's id, 40 hexadecimal digits", _EQUALITY, _read_conversation)
WORDS = Kind("words", frozenset({"~", "contains"}), _read_text, null=False)
METADATA = Kind("text; a bare word also a number, true or false", _ORDER | {"~"}, lambda text: text)

_COSTS = "SELECT {} FROM costs c WHERE c.trace = t.number"


def _ranged(column: str) -> str:
    return f"SELECT number FROM traces INDEXED BY traces_by_{column} WHERE {column}"  # noqa: S608 - our own columns


TEXT_FIELD = "text"
FIELDS: dict[str, Field] = {
    "id": Field(ID, ("t.id",), "The trace's id."),
    "created_at": Field(TIME, ("t.created_at",), "When the call arrived; UTC where no zone is given."),
    "outcome": Field(OUTCOME, ("t.outcome",), "How the call ended.", indexes=("traces_by_outcome",)),
    "complete": Field(TRUTH, ("t.is_complete",), "Whether the trace holds a whole chat completion."),
    "stream": Field(TRUTH, ("t.is_streaming",), "Whether the client asked for a stream."),
    "has_tool_calls": Field(TRUTH, ("t.has_tool_calls",), "Whether any reply calls a tool."),
    "has_tools": Field(TRUTH, ("(t.tools_blob IS NOT NULL)",), "Whether the request offers tools."),
    "has_response_format": Field(
        TRUTH, ("(t.response_format_blob IS NOT NULL)",), "Whether the request asks for a form of the reply."
    ),
    "status": Field(INTEGER, ("t.status",), "Status of the upstream's answer.", label=b"status"),
    "model": Field(
        TEXT,
        ("t.requested_model", "t.served_model"),
        "The model as requested or as served; either may match.",
        indexes=("traces_by_requested_model", "traces_by_served_model"),
    ),
    "requested_model": Field(
        TEXT, ("t.requested_model",), "The model the client asked for.", indexes=("traces_by_requested_model",)
    ),
    "served_model": Field(
        TEXT, ("t.served_model",), "The model the upstream says it used.", indexes=("traces_by_served_model",)
    ),
    "route": Field(ROUTE, ("t.route",), "Name of the route."),
    "upstream": Field(ROUTE, ("t.upstream",), "The upstream's base URL."),
    "path": Field(ROUTE, ("t.path",), "The path that the client asked for, without the query."),
    "endpoint": Field(
        NAME,
        ("t.endpoint",),
        "`chat.completions`, `completions`, `responses`, `messages`; missing for a call kept as metadata only.",
    ),
    "session": Field(TEXT, ("t.session",), "The session that the client named.", indexes=("traces_by_session",)),
    "user": Field(TEXT, ("t.user",), "The user that the client named.", indexes=("traces_by_user",)),
    "key": Field(
        TEXT,
        ("t.key_fingerprint",),
        "The salted fingerprint of the client's key, as `key_fingerprint` of a trace tells it.",
        label=b"key",
    ),
    "conversation": Field(
        CONVERSATION,
        ("s.conversation",),
        "The id of the [conversation](conversations.md) that the call is part of, or one that it had before.",
        rows="conversation_traces s WHERE s.trace = t.number",
        members=f"""SELECT s.trace AS number FROM conversation_traces s
                    WHERE s.conversation = {CONVERSATION_OF_ID.format(id="{value}")}""",  # noqa: S608 - a constant
    ),
    "turn": Field(
        INTEGER,
        ("(SELECT s.turn FROM conversation_traces s WHERE s.trace = t.number)",),
        "How many messages of the user's the request holds; missing for a call that is part of no conversation.",
    ),
    "is_leaf": Field(TRUTH, (f"({IS_LEAF})",), "Whether no other call goes on from this one."),
    "finish_reason": Field(
        TEXT,
        ("r.finish_reason",),
        "Why a reply ended; of several replies any may match.",
        rows="replies r WHERE r.trace = t.number",
        label=b"finish_reason",
    ),
    "tool": Field(
        NAMED,
        ("CAST(c.value AS BLOB)",),
        "The name of a tool that a reply calls.",
        rows="replies r JOIN nodes n ON n.number = r.node JOIN json_each(called_tools(n.body)) c "
        "WHERE t.has_tool_calls AND r.trace = t.number",
        label=b"tool",
    ),
    "flag": Field(
        FLAG,
        ("f.value",),
        "What is missing or odd in the trace.",
        rows="""json_each('["' || replace(t.flags, ',', '","') || '"]') f WHERE t.flags <> ''""",
        label=b"flag",
    ),
    "error": Field(
        TEXT,
        ("(SELECT unpacked(b.body) FROM blobs b WHERE b.number = t.error_blob)",),
        "What went wrong, as the upstream or Tracemill said it.",
    ),
    "message_count": Field(COUNT, ("t.message_count",), "Number of the request's messages."),
    "prompt_tokens": Field(
        INTEGER, ("t.prompt_tokens",), "Tokens of the request, as reported.", ranged=_ranged("prompt_tokens")
    ),
    "completion_tokens": Field(
        INTEGER, ("t.completion_tokens",), "Tokens of the reply, as reported.", ranged=_ranged("completion_tokens")
    ),
    "total_tokens": Field(
        INTEGER, ("(t.prompt_tokens + t.completion_tokens)",), "Both together; missing where one of them is."
    ),
    "cached_tokens": Field(
        INTEGER,
        (f"({_COSTS.format('c.cached_tokens')})",),
        "Tokens of the request that the upstream's cache held, as reported.",
    ),
    "reasoning_tokens": Field(
        INTEGER, (f"({_COSTS.format('c.reasoning_tokens')})",), "Tokens of the reply that were reasoning, as reported."
    ),
    "cost": Field(
        DOLLARS,
        (f"({_COSTS.format('c.cost')})",),
        "What the call [cost](cost.md), in dollars; missing where usage or price is not known.",
        ranged="SELECT trace FROM costs INDEXED BY costs_by_cost WHERE cost",
    ),
    "duration_ms": Field(
        NUMBER,
        ("t.duration_ms",),
        "From the call's arrival to its end, in milliseconds.",
        ranged=_ranged("duration_ms"),
    ),
    "ttft_ms": Field(NUMBER, ("t.ttft_ms",), "To the first block of the answer's body, in milliseconds."),
    "request_bytes": Field(COUNT, ("t.request_bytes",), "Size of the request's body on the wire."),
    "response_bytes": Field(COUNT, ("t.response_bytes",), "Size of the answer's body on the wire."),
    "upstream_id": Field(TEXT, ("t.upstream_id",), "The completion's own id.", ranged=_ranged("upstream_id")),
    "request_id": Field(TEXT, ("t.request_id",), "The answer's `x-request-id`.", ranged=_ranged("request_id")),
    "has_feedback": Field(
        TRUTH,
        ("(EXISTS (SELECT 1 FROM feedback e WHERE e.trace_id = t.id AND e.is_current = 1))",),
        "Whether any [feedback](feedback.md) counts.",
    ),
    "has_demonstration": Field(
        TRUTH,
        (
            """(EXISTS (SELECT 1 FROM feedback e
                WHERE e.trace_id = t.id AND e.is_current = 1 AND e.kind = 'demonstration'))""",
        ),
        "Whether any feedback that counts is the answer as it should have been.",
    ),
    TEXT_FIELD: Field(
        WORDS,
        (),
        "The text of the request's messages and the replies: `~` finds messages that have all of these words, "
        '`contains` those that have them one after the other. In `~`, `"two words"` stand together and `refund*` is '
        "the beginning of a word.",
    ),
}
TAG_PREFIX = "tag."
METADATA_PREFIX = "metadata."


def tag_field(parameter: str) -> Field:
    """Give the field of one tag; the tag's name is bound to the named parameter."""
    rows = f"tags g WHERE g.trace = t.number AND g.name = :{parameter}"
    return Field(TEXT, ("g.value",), "The value of that tag.", rows=rows, label=b"tag")


METADATA_FIELD = Field(
    METADATA,
    (),
    "A value of the body's `metadata`; a dot leads into an object, and to an item of a list by its place from 0.",
    label=b"metadata",
)
FEEDBACK_PREFIX = "feedback."


def feedback_field(parameter: str) -> Field:
    """Give the field of the feedback of one name, which is bound to the named parameter; true is 1, false is 0."""
    rows = f"feedback e WHERE e.trace_id = t.id AND e.name = :{parameter} AND e.is_current = 1"
    return Field(SCORE, ("e.score",), "A value that people gave the trace, or a message of it, by feedback.", rows=rows)
