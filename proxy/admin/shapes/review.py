"""Reviews: the rows worth a person's time, and what the person decides."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.dataset import Row, RowDecision
from proxy.admin.shapes.shape import Given, JsonObject, Taken
from store.datasets.review import Why


class DecisionAsked(StrEnum):
    """What can be decided about a row."""

    ACCEPT = "accept"
    EDIT = "edit"
    REJECT = "reject"
    SKIP = "skip"
    UNDO = "undo"


class QueuedRow(Row):
    """A row that a person is to look at."""

    why: Annotated[list[str], Field(description=f"What makes it worth the time: {', '.join(Why)}.")]
    decision: Annotated[RowDecision | None, Field(description="What was decided already; null while it waits.")]


class ReviewPrecision(Given):
    """How many of the kept rows are good, by those that were drawn at random."""

    good: Annotated[int, Field(ge=0, description="Accepted as they were.")]
    decided: Annotated[int, Field(ge=0, description="Accepted, edited or rejected.")]
    drawn: Annotated[int, Field(ge=0, description="All that were drawn.")]


class ReviewQueue(Given):
    """The rows that were chosen for review, in the order in which they are best looked at."""

    data: list[QueuedRow]
    waiting: Annotated[int, Field(ge=0, description="Rows without a decision, those that are not listed too.")]
    precision: ReviewPrecision


class DecisionTaken(Taken):
    """A decision about a row."""

    kind: DecisionAsked
    by: Annotated[
        str | None,
        Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="Who; the token's name."),
    ] = None
    note: Annotated[str | None, Field(max_length=10_000, description="Why, in the person's words.")] = None
    messages: Annotated[
        list[JsonObject] | None,
        Field(description="Of an edit: all messages of the row, of which the learned ones may differ."),
    ] = None
