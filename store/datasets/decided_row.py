"""A row as a person's decision leaves it. Pure; `store.datasets.review` notes decisions and applies them.

A decision is about what a row teaches, not about its place in a version: it is kept under the hash of what was learned
when the row was shown, and holds wherever a row teaches the same. An accepted row is kept whatever judge and rules said
of it, a rejected one is dropped, an edited one is kept with the person's answers, and a skipped one stays as it was.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from store.datasets.covering import REVIEW, cover, uncover
from store.datasets.decision import Decision, DecisionKind
from store.datasets.edit import edited, learned_positions, unedited
from store.datasets.row import Row, RowState, learned_hash
from store.errors import DatasetError

Json = Any
APPLIED: Final = frozenset({DecisionKind.ACCEPT, DecisionKind.EDIT, DecisionKind.REJECT})
"""Decisions that change what becomes of a row."""


class ReviewReason(StrEnum):
    """What a person decided about a row. A closed list."""

    ACCEPTED = "accepted"
    """A person accepted it as it is."""
    EDITED = "edited"
    """A person wrote other answers, which are learned now."""
    REJECTED = "rejected_in_review"
    """A person rejected it."""


def decision_hash(content: Mapping[str, Json]) -> str:
    """The hash under which decisions about a row are kept: of what it taught before any edit."""
    return learned_hash(unedited(content))


def decided(row: Row, decision: Decision) -> Row:
    """Apply a decision to a row, in place of the one that was applied before.

    Raises:
        DatasetError: The row has no answer to be kept, or the edit cannot be one.
    """
    row = undecided(row)
    detail = {"who": decision.who, "at": decision.at}
    if decision.kind is DecisionKind.REJECT:
        return replace(row, end=cover(row.end, RowState.DROPPED, REVIEW, ReviewReason.REJECTED, detail))
    if decision.kind not in APPLIED:
        return row
    if not learned_positions(row.content["messages"]):
        raise DatasetError(f"row {row.row_id} has no answer to learn from, so it can only be rejected or skipped.")
    if decision.kind is DecisionKind.ACCEPT:
        return replace(row, end=cover(row.end, RowState.KEPT, REVIEW, ReviewReason.ACCEPTED, detail))
    if decision.messages is None:
        raise DatasetError(f"the edit of row {row.row_id} has no messages.")
    content = edited(row.content, decision.messages, decision.who)
    return replace(row, content=content, end=cover(row.end, RowState.KEPT, REVIEW, ReviewReason.EDITED, detail))


def after_undo(row: Row, earlier: Decision | None) -> Row:
    """Give a row as the decision leaves it that stands when a later one was taken back; without one as nobody decided.

    Raises:
        DatasetError: As `decided`.
    """
    return undecided(row) if earlier is None or earlier.is_erased else decided(row, earlier)


def undecided(row: Row) -> Row:
    """Give a row as it is without any decision."""
    return replace(row, content=unedited(row.content), end=uncover(row.end, {REVIEW}))


def carried(row: Row, standing: Mapping[str, Decision]) -> Row:
    """Give a row as what people decided about the same content leaves it; the very same row where nothing changes.

    A decision that was taken back is lifted. An edit that no longer fits the row, and one whose text was erased, is
    passed over.

    Args:
        row: Of a version in the making, or of the active one.
        standing: From `DatasetStore.decisions`.
    """
    if not standing and row.end.stage != REVIEW:
        return row
    decision = standing.get(decision_hash(row.content))
    if decision is None or decision.kind not in APPLIED:
        return undecided(row) if row.end != uncover(row.end, {REVIEW}) else row
    if decision.is_erased or _is_applied(row, decision):
        return row
    try:
        return decided(row, decision)
    except DatasetError:
        return row


def _is_applied(row: Row, decision: Decision) -> bool:
    return row.end.stage == REVIEW and row.end.detail.get("at") == decision.at
