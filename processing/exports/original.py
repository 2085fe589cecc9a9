"""The recorded answers that a row's labels took the place of."""

from collections.abc import Mapping
from typing import NamedTuple

from processing.exports.reason import CannotHoldError, LeftOut
from processing.exports.row import ExportRow
from processing.tool_metrics import calls_of, canonical
from store import json_text
from store.recorded.errors import MessageFormError
from store.recorded.message import Json, Message, ToolCall
from store.recorded.message_form import read_messages, text_of

_ORIGINAL = "original"
"""The source of the recorded answer among the votes of a committee."""


class Pair(NamedTuple):
    """Two answers to the same input.

    Attributes:
        target: Position of the label, the answer to prefer.
        original: The recorded answer.
    """

    target: int
    original: Message


class Pairs(NamedTuple):
    """The pairs of a row.

    Attributes:
        found: At least one, in order.
        refused: Why the other answers have none.
    """

    found: list[Pair]
    refused: list[LeftOut]


def pairs_of(row: ExportRow) -> Pairs:
    """Pair each label with the recorded answer that it took the place of.

    After the first label that differs, later recorded answers belong to another history.

    Raises:
        CannotHoldError: There is no pair; the reason is that of the first answer.
    """
    found: list[Pair] = []
    refused: list[LeftOut] = []
    is_changed = False
    for target, original in zip(row.targets, original_answers(row), strict=True):
        if is_changed:
            refused.append(LeftOut.HISTORY_CHANGED)
        elif original is None:
            is_changed = True
            refused.append(LeftOut.NO_ORIGINAL)
        elif says_the_same(row.messages[target], original):
            refused.append(LeftOut.SAME_AS_ORIGINAL)
        else:
            is_changed = True
            found.append(Pair(target, original))
    if not found:
        raise CannotHoldError(refused[0])
    return Pairs(found, refused)


def original_answers(row: ExportRow) -> list[Message | None]:
    """Give the recorded answer of each target, in their order; None where none is known.

    The committee's votes hold it as it was. Elsewhere there is its text, in which tool calls stand as
    `{"name", "arguments"}`: it is read as calls only when it names tools that the row offers.
    """
    return _of_votes(row) or _of_texts(row) or [None] * len(row.targets)


def says_the_same(one: Message, two: Message) -> bool:
    """Whether two answers are the same to learn: the text, and the calls but for their ids."""
    return _substance(one) == _substance(two)


def _of_votes(row: ExportRow) -> list[Message | None] | None:
    votes = row.metadata.get("votes")
    for vote in votes if isinstance(votes, list) else ():
        answer = vote.get("answer") if isinstance(vote, dict) and vote.get("source") == _ORIGINAL else None
        if isinstance(answer, list) and len(answer) == len(row.targets):
            try:
                return [_spoken(read_messages([message]).messages[0]) for message in answer]
            except (MessageFormError, IndexError):
                return None
    return None


def _of_texts(row: ExportRow) -> list[Message | None] | None:
    texts = row.metadata.get("original_responses")
    if not isinstance(texts, list):
        texts = [row.metadata.get("original_response")]
    if len(texts) != len(row.targets):
        return None
    return [_spoken(_from_text(text, row)) if isinstance(text, str) else None for text in texts]


def _spoken(message: Message) -> Message | None:
    return message if message.tool_calls or message.refusal or text_of(message).strip() else None


def _from_text(text: str, row: ExportRow) -> Message:
    offered = {_name(tool) for tool in row.tools or ()}
    message = Message("assistant", text)
    calls = calls_of(message) if offered else None
    if not calls or not {call.name for call in calls} <= offered:
        return message
    written = tuple(ToolCall(call.name, json_text.dumps(call.arguments).decode()) for call in calls)
    return Message("assistant", None, written)


def _name(tool: Json) -> Json:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    return function.get("name") if isinstance(function, Mapping) else None


def _substance(message: Message) -> object:
    calls = calls_of(message) if message.tool_calls else []
    written = (
        [(call.name, call.arguments) for call in message.tool_calls]
        if calls is None
        else [canonical([call.name, call.arguments]) for call in calls]
    )
    content = message.content if isinstance(message.content, list) else (message.content or "").strip()
    return (content or (message.refusal or "").strip(), written)
