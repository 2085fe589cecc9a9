"""One answer that a model is asked for: a row of a version, up to one of its assistant messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processing.datasets.row_form import RowFormError, example_of
from processing.errors import InputError
from processing.example import Example
from processing.metrics import answer_text
from processing.tool_metrics import parse_calls
from store import json_text
from store.datasets.row import Row
from store.recorded.message import Message, ToolCall

_TURNS_NAMED = 5
"""Answers of a row that are a stratum each; the later ones are one together."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer to be given.

    Attributes:
        row_id: The row it belongs to.
        row_hash: Of that row, for erasing.
        target: Position of the reference in the row's messages.
        example: The whole row.
        recorded: What the original model answered at this place; None where nobody knows.
        original_model: Which model that was; None where nobody knows.
        strata: Kind and name of every group of rows that it is counted in.
    """

    row_id: str
    row_hash: str
    target: int
    example: Example
    recorded: Message | None
    original_model: str | None
    strata: tuple[tuple[str, str], ...]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the answer."""
        return self.example.messages[: self.target]

    @property
    def reference(self) -> Message:
        """The answer that is right."""
        return spoken(self.example.messages[self.target])

    @property
    def conversation_id(self) -> str:
        """What is drawn together: answers of one conversation, or of one group where no conversation is known."""
        example = self.example
        return example.group if example.conversation_id == example.id else example.conversation_id


def items_of(row: Row, *, expands: bool) -> list[Item]:
    """Cut a row into the answers to be given.

    Args:
        row: A kept row.
        expands: One item per answer that is learned; else the last one alone.

    Raises:
        InputError: The row is not of the form that every row has.
    """
    content = row.content
    try:
        example = example_of(content)
    except RowFormError as exc:
        raise InputError(f"row {content.get('row_id')}", f"cannot be asked: {exc.detail}.") from exc
    metadata: Mapping[str, Any] = content.get("metadata") or {}
    targets = example.targets if expands else example.targets[-1:]
    recorded = _recorded(metadata, example)
    shared = _row_strata(metadata, row)
    return [
        Item(
            row_id=example.id,
            row_hash=row.row_hash,
            target=target,
            example=example,
            recorded=recorded.get(target),
            original_model=_text(metadata.get("original_model")),
            strata=(*shared, *_answer_strata(example, target)),
        )
        for target in targets
    ]


def spoken(message: Message) -> Message:
    """The message with a refusal as its text, so that refusing is compared with refusing."""
    if message.refusal and not message.content and not message.tool_calls:
        return Message("assistant", message.refusal)
    return message


def _recorded(metadata: Mapping[str, Any], example: Example) -> dict[int, Message]:
    """The original answers by the position of their reference, as far as the row knows them."""
    said = metadata.get("original_responses")
    if not isinstance(said, list) or len(said) != len(example.targets):
        said = [None] * (len(example.targets) - 1) + [metadata.get("original_response")]
    return {
        target: _message(text, has_tools=bool(example.tools))
        for target, text in zip(example.targets, said, strict=True)
        if isinstance(text, str)
    }


def _message(text: str, *, has_tools: bool) -> Message:
    """A recorded answer from its text; one that is written as calls becomes calls where tools were there to call."""
    calls = parse_calls(text) if has_tools else None
    if not calls:
        return Message("assistant", text)
    named = tuple(ToolCall(call.name, json_text.dumps(call.arguments).decode()) for call in calls)
    return Message("assistant", None, named)


def _row_strata(metadata: Mapping[str, Any], row: Row) -> tuple[tuple[str, str], ...]:
    found = [("part", "train" if row.part is None else str(row.part))]
    cluster = metadata.get("cluster_id")
    if cluster is not None:
        found.append(("cluster", _text(metadata.get("cluster_name")) or str(cluster)))
    tags = metadata.get("tags")
    if isinstance(tags, Mapping):
        found += [("tag", f"{name}={value}") for name, value in tags.items() if isinstance(value, str | int | bool)]
    elif isinstance(tags, list):
        found += [("tag", tag) for tag in tags if isinstance(tag, str)]
    return tuple(dict.fromkeys(found))


def _answer_strata(example: Example, target: int) -> tuple[tuple[str, str], ...]:
    reference = example.messages[target]
    names = ", ".join(sorted({call.name for call in reference.tool_calls}))
    number = example.targets.index(target) + 1
    turn = f"answer {number}" if number <= _TURNS_NAMED else f"after answer {_TURNS_NAMED}"
    return (("tools", names or "no call"), ("turn", turn))


def label_of(message: Message) -> str:
    """The label that an answer is; a call is no label but has a text too."""
    return answer_text(spoken(message)).strip()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
