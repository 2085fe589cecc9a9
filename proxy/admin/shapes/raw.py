"""A raw call, as the admin side gives it."""

from typing import Annotated, Literal

from pydantic import Field

from proxy.admin.shapes.shape import Given, Id, Time, one_of
from store.trace import Outcome


class RawSide(Given):
    """One direction of a call."""

    headers: Annotated[
        list[list[str]], Field(description="Name and value of those that are kept, in their order; no credential.")
    ]
    body: Annotated[str, Field(description="The body as it crossed the wire, with any content-encoding still on.")]
    body_encoding: Annotated[
        Literal["utf-8", "base64"], Field(description="`base64` where the body is no text in UTF-8.")
    ]
    bytes: Annotated[int, Field(description="The body's size on the wire, also when it is cut.")]
    is_truncated: Annotated[bool, Field(description="Whether the body was cut at `max_capture_bytes`.")]


class RawCall(Given):
    """What was really sent and what came back."""

    id: Id
    started_at: Time
    method: str
    path: Annotated[str, Field(description="As the client sent it, without the query.")]
    route: str
    upstream: str
    outcome: Annotated[str, one_of(Outcome), Field(description="As status and connection were seen.")]
    status: int | None
    ttft_ms: float | None
    duration_ms: float | None
    error: str | None
    request: RawSide
    response: RawSide
