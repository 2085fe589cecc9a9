"""Feedback, as the admin side takes and gives it."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, Id, Json, Taken, Time, one_of
from store.feedback_form import MAX_NAME, FeedbackKind

Value = bool | float | str | dict[str, Json] | None


class FeedbackTaken(Taken):
    """What somebody thinks of a trace, of one of its messages, or of one of its replies."""

    value: Annotated[
        Value,
        Field(
            description="True or false; a number; a text, which is a comment; an assistant message, which is the "
            "answer as it should have been; or null, which retracts what the same person said under this name."
        ),
    ]
    name: Annotated[
        str | None,
        Field(max_length=MAX_NAME, description="What it is about, such as `helpful`; texts and messages need none."),
    ] = None
    message: Annotated[
        int | None, Field(ge=0, lt=2**31, description="Position of the request's message that it is about, from 0.")
    ] = None
    choice: Annotated[int | None, Field(ge=0, lt=2**31, description="Index of the reply that it is about.")] = None
    by: Annotated[
        str | None, Field(max_length=500, description="Who thinks so; the name of the token where it is left out.")
    ] = None
    id: Annotated[Id | None, Field(description="Of the entry: asked again under the same id, it is given once.")] = None


class Feedback(Given):
    """One entry."""

    id: Id
    trace_id: Id
    name: str
    kind: Annotated[str, one_of(FeedbackKind)]
    value: Annotated[Value, Field(description="The very value that was given.")]
    message: int | None
    choice: int | None
    by: str | None
    at: Annotated[Time, Field(description="When it was given.")]
    is_current: Annotated[
        bool, Field(description="Whether it counts: the last word of that person under this name, and no retraction.")
    ]


class FeedbackList(Given):
    """All that was given on one trace, in its order."""

    data: list[Feedback]


class FeedbackLater(Given):
    """Feedback that is on the disk and will be given as soon as ingest has come to it."""

    id: Id
    trace_id: Id
