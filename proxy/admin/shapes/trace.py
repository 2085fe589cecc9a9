"""A trace, whole and in short, as the admin side gives it."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.feedback import Feedback
from proxy.admin.shapes.shape import Cursor, Given, Id, Json, Time, one_of
from store.trace import Flag, Outcome


class TraceFacts(Given):
    """What a trace has in short and whole. A member that nobody reported is null."""

    id: Annotated[Id, Field(description="The trace's id; the answer told it in `x-tracemill-trace-id`.")]
    created_at: Annotated[Time, Field(description="When the call arrived.")]
    endpoint: Annotated[
        str | None,
        Field(
            description="`chat.completions`, `completions`, `responses` or `messages`; null for calls kept as metadata."
        ),
    ]
    method: str
    path: Annotated[str, Field(description="The path the client asked for, without the query.")]
    route: Annotated[str, Field(description="Name of the route that chose the upstream.")]
    upstream: Annotated[str, Field(description="The upstream's base URL.")]
    status: Annotated[int | None, Field(description="Status of the upstream's answer; null when there was none.")]
    outcome: Annotated[str, one_of(Outcome), Field(description="How the call ended.")]
    is_streaming: Annotated[bool, Field(description="Whether the client asked for a stream.")]
    is_complete: Annotated[bool, Field(description="Whether the trace holds a whole completion.")]
    requested_model: Annotated[str | None, Field(description="`model` of the request.")]
    served_model: Annotated[str | None, Field(description="`model` of the answer.")]
    prompt_tokens: Annotated[int | None, Field(description="From the answer's usage.")]
    completion_tokens: Annotated[int | None, Field(description="From the answer's usage.")]
    ttft_ms: Annotated[float | None, Field(description="From the call's arrival to the answer's first block.")]
    duration_ms: Annotated[float | None, Field(description="From the call's arrival to its end.")]
    upstream_id: Annotated[str | None, Field(description="The completion's own `id`.")]
    request_id: Annotated[str | None, Field(description="The answer's `x-request-id`.")]
    system_fingerprint: str | None
    session: Annotated[str | None, Field(description="Session that the client named.")]
    user: Annotated[str | None, Field(description="User that the client named.")]
    tags: Annotated[dict[str, str], Field(description="Tags that the client set.")]
    flags: Annotated[list[Annotated[str, one_of(Flag)]], Field(description="What is missing or odd.")]
    request_bytes: Annotated[int, Field(description="Size of the request's body on the wire.")]
    response_bytes: Annotated[int, Field(description="Size of the answer's body on the wire.")]


class TraceSummary(TraceFacts):
    """A trace without its bodies."""

    message_count: Annotated[int, Field(description="Messages of the request.")]
    has_tool_calls: Annotated[bool, Field(description="Whether any reply calls a tool.")]
    finish_reasons: Annotated[list[str | None], Field(description="One for each reply, in order.")]
    cost_usd: Annotated[float | None, Field(description="Null where usage or price is not known.")]


class TracePage(Given):
    """Some traces in short, in their order."""

    data: list[TraceSummary]
    next_cursor: Cursor
    search_behind: Annotated[
        int | None,
        Field(description="Where texts were searched, messages that are stored and not in the index yet."),
    ]
    snippets: Annotated[
        dict[str, str],
        Field(description="Where texts were searched, a short stretch of a message that matches, by trace id."),
    ]


class Reply(Given):
    """One choice of a completion."""

    index: int
    message: Annotated[dict[str, Json], Field(description="The assistant's message in chat form.")]
    finish_reason: str | None
    logprobs: Json


class Trace(TraceFacts):
    """One whole trace, with the very values that went over the wire."""

    messages: Annotated[list[dict[str, Json]], Field(description="The request's messages in chat form, in order.")]
    tools: Annotated[list[Json] | None, Field(description="The request's tools, in chat form.")]
    response_format: Json
    parameters: Annotated[dict[str, Json], Field(description="Every other member of the request, in its order.")]
    replies: Annotated[list[Reply], Field(description="The completion's choices.")]
    usage: Annotated[Json, Field(description="As the upstream reported it.")]
    metadata: Annotated[Json, Field(description="The request's `metadata`.")]
    key_fingerprint: Annotated[str | None, Field(description="Salted fingerprint of the client's key.")]
    error: Annotated[str | None, Field(description="What went wrong, or the upstream's error body.")]
    feedback: Annotated[list[Feedback], Field(description="All that was given, what no longer counts too.")]
