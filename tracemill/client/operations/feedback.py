"""Feedback on traces."""

import json
from collections.abc import Mapping
from typing import Any

from proxy.admin.shapes.feedback import Feedback, FeedbackLater, FeedbackList
from tracemill.client.call import API, Asked, Call, as_json, as_shape, part

FeedbackValue = bool | float | str | Mapping[str, Any] | None


def give_feedback(
    trace: str,
    value: FeedbackValue,
    *,
    name: str | None = None,
    message: int | None = None,
    choice: int | None = None,
    by: str | None = None,
    id: str | None = None,  # noqa: A002
) -> Call[Feedback | FeedbackLater]:
    """Say what somebody thinks of a trace, of one of its messages, or of one of its replies.

    Args:
        trace: The trace's id, or the completion's, or the answer's `x-request-id`; it need not be stored yet.
        value: True or false; a number; a text; an assistant message, which is the answer as it should have been; or
            None, which takes back what the same person said under this name.
        name: What it is about, such as `helpful`; texts and messages need none.
        message: Position of the request's message that it is about, from 0.
        choice: Index of the reply that it is about.
        by: Who thinks so; None for the name of the token.
        id: A UUID of the entry: asked again under the same id, it is given once.

    Returns:
        The entry; a `FeedbackLater` where it is on the disk and cannot be read yet.
    """
    given = {"value": value, "name": name, "message": message, "choice": choice, "by": by, "id": id}
    body = json.dumps({key: one for key, one in given.items() if one is not None or key == "value"}).encode()
    path = f"{API}/traces/{part(trace)}/feedback"
    return Call(Asked("give_feedback", "POST", path, body=body), _read_feedback)


def feedback(trace: str) -> Call[FeedbackList]:
    """Give all feedback on a trace in its order, what no longer counts too.

    Args:
        trace: As for `give_feedback`.
    """
    path = f"{API}/traces/{part(trace)}/feedback"
    return Call(Asked("list_feedback", "GET", path), as_shape(FeedbackList))


def _read_feedback(body: bytes) -> Feedback | FeedbackLater:
    return as_shape(Feedback)(body) if "kind" in as_json(body) else as_shape(FeedbackLater)(body)
