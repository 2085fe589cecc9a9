"""A row as the exports see it: its messages read once, and which of them are learned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processing.exports.reason import CannotHoldError, LeftOut
from store import json_text
from store.recorded.errors import MessageFormError
from store.recorded.message import Json, Message
from store.recorded.message_form import read_messages

SYSTEM_ROLES: Final = ("system", "developer")
COMMON: Final = ("row_id", "messages", "tools", "response_format", "prompt", "response", "metadata")
"""The fields that rows have; others are columns of a run, such as message traces."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A kept row of a version.

    Attributes:
        content: The row as it is stored.
        messages: Its messages in normal form, without their weights.
        targets: Positions of the assistant messages that are learned, in order; empty for an unstructured row.
    """

    content: Mapping[str, Json]
    messages: tuple[Message, ...]
    targets: tuple[int, ...]

    @property
    def id(self) -> str:
        """The row's id."""
        return str(self.content["row_id"])

    @property
    def tools(self) -> list[Json] | None:
        """The tool definitions; None where there are none."""
        return self.content.get("tools") or None

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The metadata; empty where there are none."""
        found = self.content.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def columns(self) -> list[str]:
        """Names of the row's fields that other rows need not have."""
        return [name for name in self.content if name not in COMMON]


def read_row(content: Mapping[str, Json]) -> ExportRow:
    """Read a stored row.

    Raises:
        CannotHoldError: `not_a_row` or `no_answer`.
    """
    row = read_conversation(content)
    if not row.targets:
        raise CannotHoldError(LeftOut.NO_ANSWER)
    return row


def read_conversation(content: Mapping[str, Json]) -> ExportRow:
    """Read a stored row that need not have an answer; `context` may stand for the messages, as text.

    Raises:
        CannotHoldError: `not_a_row`.
    """
    raw = content.get("messages")
    if raw is None and isinstance(content.get("context"), str):
        try:
            raw = json_text.loads(content["context"].encode("utf-8", "surrogatepass"))
        except ValueError as exc:
            raise CannotHoldError(LeftOut.NOT_A_ROW, "context is not JSON") from exc
    if not isinstance(raw, list):
        raise CannotHoldError(LeftOut.NOT_A_ROW, "there is no array of messages")
    try:
        messages = [message for value in raw for message in _read_one(value)]
    except MessageFormError as exc:
        raise CannotHoldError(LeftOut.NOT_A_ROW, str(exc)) from exc
    return ExportRow(
        content,
        tuple(message for message, _ in messages),
        tuple(position for position, (_, is_learned) in enumerate(messages) if is_learned),
    )


def _read_one(value: Json) -> Iterator[tuple[Message, bool]]:
    """Rows hold messages in normal form, so each is read alone: nothing is paired or filled in on the way out."""
    weight = value.get("weight") if isinstance(value, dict) else None
    bare = {name: field for name, field in value.items() if name != "weight"} if weight is not None else value
    for message in read_messages([bare]).messages:
        yield message, weight == 1 and message.role == "assistant"


def leading_system(messages: Sequence[Message]) -> int:
    """Count the system messages at the beginning."""
    return next((at for at, message in enumerate(messages) if message.role not in SYSTEM_ROLES), len(messages))
