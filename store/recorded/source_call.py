"""One call as a source tells it: taken apart, and not yet brought into one form.

Every format's reader ends here. From here one way leads to the values that processing works on (`store.recorded.call`),
the other to a trace (`store.recorded.imported_trace`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from store.recorded.message import Json
from store.trace import Flag, Outcome


@dataclass(frozen=True, slots=True)
class SourceReply:
    """One reply of a call.

    Attributes:
        message: The assistant message as the source wrote it, in any known form.
        finish_reason: As the source told it.
        model: The model that the reply itself names.
        index: The choice's index.
    """

    message: Json
    finish_reason: str | None = None
    model: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class SourceCall:
    """One call; whatever the source does not tell is None, or empty where a collection stands.

    Attributes:
        messages: The request's messages as the source wrote them, in any known form.
        replies: One per choice; empty when the source has none.
        tools: Tool definitions in OpenAI form.
        response_format: As recorded, an object or whatever else stood there.
        metadata: What the client said besides.
        about: What only the source knows of the call (its own ids and names), to be kept beside the metadata.
        parameters: Every other field of the request.
        id: The source's own id of the call.
        trace_id: The call's id in a store of ours, which exported it.
        choice: Which of several replies of that trace this line holds.
        requested_model: The model that was asked for.
        served_model: The model that answered.
        outcome: How the call ended.
        error: What went wrong.
        created_at: When it was made, UTC.
        usage: The `usage` object.
        flags: What the source says is missing or odd.
    """

    messages: Sequence[Json]
    replies: tuple[SourceReply, ...] = ()
    tools: list[Json] | None = None
    response_format: Json | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    about: Mapping[str, Json] = field(default_factory=dict)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    id: str | None = None
    trace_id: UUID | None = None
    choice: int | None = None
    requested_model: str | None = None
    served_model: str | None = None
    outcome: Outcome | None = None
    error: str | None = None
    created_at: datetime | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    usage: Mapping[str, Json] | None = None
    upstream_id: str | None = None
    system_fingerprint: str | None = None
    session: str | None = None
    user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[Flag] = frozenset()


def part_reply(messages: Json, finish_reason: str | None = None) -> tuple[Sequence[Json], tuple[SourceReply, ...]]:
    """Part an array of messages into the request's and the reply, which is the last one if an assistant wrote it."""
    if not isinstance(messages, list) or not messages:
        return (), ()
    last = messages[-1]
    if isinstance(last, dict) and last.get("role") == "assistant":
        return messages[:-1], (SourceReply(last, finish_reason),)
    return messages, ()
