"""Reviews: the rows worth a person's time, and what the person decides."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from proxy.admin.shapes.dataset import Row
from proxy.admin.shapes.review import ReviewQueue
from tracemill.client.call import Asked, Call, as_shape
from tracemill.client.call import part as as_part
from tracemill.client.reference import Reference, version_path


def reviews(reference: Reference, *, all: bool = False, limit: int | None = None) -> Call[ReviewQueue]:  # noqa: A002
    """Give the rows of a version that are worth a person's time, the next one first.

    Args:
        reference: `NAME-v3`, or `NAME` for the one that is open.
        all: Whether rows are given, too, about which something was decided already.
        limit: Most rows, up to 500; None for 50.
    """
    path = f"{version_path(reference, 'active')}/reviews"
    return Call(Asked("list_reviews", "GET", path, {"all": all, "limit": limit}), as_shape(ReviewQueue))


def decide(
    reference: Reference,
    row_id: str,
    kind: Literal["accept", "edit", "reject", "skip", "undo"],
    *,
    by: str | None = None,
    note: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
) -> Call[Row]:
    """Decide about a row of an active version; later versions take it up wherever a row teaches the same.

    Args:
        reference: `NAME-v3`, or `NAME` for the one that is open.
        row_id: The row's id.
        kind: What is decided; `undo` takes the last decision back.
        by: Who decides; None for the token's name.
        note: Why.
        messages: Of an edit: all messages of the row, with other answers.
    """
    given = {"kind": kind, "by": by, "note": note, "messages": messages}
    body = json.dumps({name: one for name, one in given.items() if one is not None}).encode()
    path = f"{version_path(reference, 'active')}/rows/{as_part(row_id)}/decisions"
    return Call(Asked("decide", "POST", path, body=body), as_shape(Row))
