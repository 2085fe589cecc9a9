"""What a person decided about a row. They are added, never changed, and follow the row to later versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = Any


class DecisionKind(StrEnum):
    """What was decided."""

    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"
    SKIP = "skip"
    UNDO = "undo"
    """Takes back the last decision about the row that still stands."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about what a row teaches, whichever version holds the row.

    Attributes:
        dataset: Name of the dataset.
        learned_hash: Of the row as it was shown, before any edit; hexadecimal.
        kind: What was decided.
        who: Who decided.
        row_id: Of the row that was shown.
        note: Why, in the person's words.
        messages: Of an edit: the messages as they are to be, weights included.
        at: UTC, RFC 3339; None has the store write the time.
        is_erased: What was written with it was erased with a trace.
    """

    dataset: str
    learned_hash: str
    kind: DecisionKind
    who: str
    row_id: str | None = None
    note: str | None = None
    messages: list[Json] | None = None
    at: str | None = None
    is_erased: bool = False


def standing(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """Give the decision that stands for each row, from all of a dataset in the order they were made."""
    made: dict[str, list[Decision]] = {}
    for decision in decisions:
        of_row = made.setdefault(decision.learned_hash, [])
        if decision.kind is not DecisionKind.UNDO:
            of_row.append(decision)
        elif of_row:
            of_row.pop()
    return {hash_: of_row[-1] for hash_, of_row in made.items() if of_row}
