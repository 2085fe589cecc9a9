"""Feedback as it is asked for: one JSON object, read and checked without a look at the store.

The same object is the body of a request, and with `trace_id` the body of the change that goes to the journal. The value
stays the very text that came, so a corrected answer survives letter by letter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from store import json_text
from store.json_text import JsonTextError, JsonValue
from store.recorded.errors import MessageFormError
from store.recorded.message_form import read_messages
from store.trace import JsonText

T = TypeVar("T")

MAX_NAME = 100
_MAX_BY = 500
_MAX_POSITION = 2**31
_MEMBERS = ("id", "name", "value", "message", "choice", "by")


class FeedbackKind(StrEnum):
    """What a value says; its JSON type decides. A closed list."""

    BOOLEAN = "boolean"
    """True or false: good or bad, done or not."""
    FLOAT = "float"
    """Any number: a rating, a score."""
    COMMENT = "comment"
    """Text for people."""
    DEMONSTRATION = "demonstration"
    """The answer as it should have been: an assistant message."""
    RETRACTION = "retraction"
    """Null: what the same person said before under this name does not count any more."""


_DEFAULT_NAMES = {FeedbackKind.COMMENT: "comment", FeedbackKind.DEMONSTRATION: "demonstration"}


class FeedbackError(ValueError):
    """What is asked cannot be feedback.

    Attributes:
        member: The member at fault, None for the whole.
    """

    def __init__(self, member: str | None, message: str) -> None:
        super().__init__(message if member is None else f"{member}: {message}")
        self.member = member


@dataclass(frozen=True, slots=True)
class Given:
    """Feedback as somebody gives it.

    Attributes:
        name: What it is about, such as `helpful`; of comments and demonstrations their kind, if none was given.
        value: JSON text.
        message: Position of the request's message that it is about; None for the whole trace, or a choice.
        choice: Index of the reply that it is about.
        by: Who gives it; None when that was not said.
        id: Made by whoever asks, so that asking again does nothing; None to have one made.
    """

    name: str
    kind: FeedbackKind
    value: JsonText
    message: int | None = None
    choice: int | None = None
    by: str | None = None
    id: UUID | None = None

    @property
    def score(self) -> float | None:
        """The value as a number, true being 1; None for what is no number."""
        return float(json_text.loads(self.value)) if self.kind in (FeedbackKind.BOOLEAN, FeedbackKind.FLOAT) else None


def read_feedback(text: bytes) -> Given:
    """Read what is asked.

    Raises:
        FeedbackError: It is not one JSON object, has a member that means nothing, or a value that cannot be.
    """
    return _read(_members(text))


def write_request(trace_id: UUID, given: Given) -> JsonText:
    """Write the body of the change that asks for it; the id goes with the change."""
    plain = json_text.dumps
    fields = {"trace_id": plain(str(trace_id)), "name": plain(given.name), "value": given.value}
    for name in ("message", "choice", "by"):
        if (value := getattr(given, name)) is not None:
            fields[name] = plain(value)
    return b"{" + b",".join(plain(name) + b":" + value for name, value in fields.items()) + b"}"


def read_request(text: bytes) -> tuple[UUID, Given]:
    """Undo `write_request`.

    Raises:
        FeedbackError: The text was not made by it.
    """
    members = _members(text)
    trace_id = _taken(members, "trace_id", _read_id)
    if trace_id is None:
        raise FeedbackError("trace_id", "is missing.")
    del members["trace_id"]
    return trace_id, _read(members)


def _members(text: bytes) -> dict[str, JsonText]:
    try:
        text = json_text.compact(text)
        if not text.startswith(b"{"):
            raise FeedbackError(None, "feedback is one JSON object.")
        found = list(json_text.members(text))
    except JsonTextError as exc:
        raise FeedbackError(None, f"not JSON: {exc}.") from exc
    members = dict(found)
    if len(members) < len(found):
        raise FeedbackError(None, "a member stands twice.")
    return members


def _read(members: dict[str, JsonText]) -> Given:
    for member in members:
        if member not in _MEMBERS:
            raise FeedbackError(member[:80], f"means nothing here; known are {', '.join(_MEMBERS)}.")
    if "value" not in members:
        raise FeedbackError("value", "is missing; null retracts what was said before.")
    kind = _kind_of(members["value"])
    name = _taken(members, "name", _read_name) or _DEFAULT_NAMES.get(kind)
    if name is None:
        raise FeedbackError("name", "is missing: what the value is about, such as helpful.")
    given = Given(
        name,
        kind,
        members["value"],
        message=_taken(members, "message", _read_position),
        choice=_taken(members, "choice", _read_position),
        by=_taken(members, "by", _read_by),
        id=_taken(members, "id", _read_id),
    )
    if given.message is not None and given.choice is not None:
        raise FeedbackError("choice", "one entry is about a message or a choice, not both.")
    return given


def _kind_of(value: JsonText) -> FeedbackKind:
    if value in (b"true", b"false"):
        return FeedbackKind.BOOLEAN
    if value == b"null":
        return FeedbackKind.RETRACTION
    if value.startswith(b'"'):
        if value == b'""':
            raise FeedbackError("value", "a comment needs some text; null retracts one.")
        return FeedbackKind.COMMENT
    if value.startswith(b"{"):
        _check_answer(json_text.loads(value))
        return FeedbackKind.DEMONSTRATION
    if value.startswith(b"["):
        raise FeedbackError("value", "expected true, false, a number, a text, an assistant message or null.")
    try:
        is_finite = math.isfinite(float(json_text.loads(value)))
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise FeedbackError("value", "the number is larger than a double can hold.")
    return FeedbackKind.FLOAT


def _check_answer(message: JsonValue) -> None:
    """Check that processing can read a demonstration, and that it says something."""
    if message.get("role") != "assistant":
        raise FeedbackError("value", 'a demonstration is the answer as it should be: a message with role "assistant".')
    try:
        read = read_messages([message]).messages
    except MessageFormError as exc:
        raise FeedbackError("value", f"the demonstration is no chat message ({exc}).") from exc
    if len(read) != 1:
        raise FeedbackError("value", "the demonstration holds results of tools beside the answer.")
    if not (read[0].content or read[0].tool_calls or read[0].refusal):
        raise FeedbackError("value", "the demonstration has neither content nor tool calls nor a refusal.")


def _taken(members: dict[str, JsonText], name: str, read: Callable[[JsonValue], T | None]) -> T | None:
    """Read one member; null is the same as left out."""
    value = json_text.loads(members.get(name, b"null"))
    return None if value is None else read(value)


def _read_name(value: JsonValue) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise FeedbackError("name", f"expected 1 to {MAX_NAME} characters that can be printed.")
    return value


def _read_by(value: JsonValue) -> str | None:
    if not isinstance(value, str) or len(value) > _MAX_BY:
        raise FeedbackError("by", f"expected at most {_MAX_BY} characters.")
    return value or None


def _read_id(value: JsonValue) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as exc:
        raise FeedbackError("id", "expected a UUID.") from exc


def _read_position(value: JsonValue) -> int:
    if type(value) is not int or not 0 <= value < _MAX_POSITION:
        raise FeedbackError(None, "message and choice: expected a position, from 0.")
    return value
