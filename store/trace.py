"""What a trace is: the record of one call, as every room speaks of it.

Text that came from a client or an upstream is kept as *JSON text* (`bytes`, UTF-8): the very characters that came, less
the white space between tokens. So key order, big integers, floats as written, NUL and lone surrogates (which can only
stand there as escapes) survive by construction, and nothing here ever needs to re-serialise them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from store.record import record

JsonText = bytes
"""One JSON value as UTF-8 text without insignificant white space (`store.json_text.compact`)."""


class Outcome(StrEnum):
    """How a call ended. Exactly one per trace, decided by the exchange that owned the call's end."""

    COMPLETED = "completed"
    UPSTREAM_ERROR = "upstream_error"
    """A whole answer with status 400 or more, or an error event inside a stream."""
    UPSTREAM_ABORTED = "upstream_aborted"
    """The upstream cut its answer short."""
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    CLIENT_DISCONNECT = "client_disconnect"
    INTERRUPTED = "interrupted"
    """We died or were stopped while the call was in flight."""


class Flag(StrEnum):
    """What is missing or odd in a trace. A closed list; a flag never changes a stored value."""

    REQUEST_TRUNCATED = "request_truncated"
    RESPONSE_TRUNCATED = "response_truncated"
    REQUEST_NOT_JSON = "request_not_json"
    REQUEST_MALFORMED = "request_malformed"
    """The request is JSON, but its messages cannot be told (no object, no array of message objects, several prompts),
    or it names a field twice."""
    CONTEXT_ELSEWHERE = "context_elsewhere"
    """The request builds on what the upstream keeps (`previous_response_id`, `conversation`, a stored prompt): its
    messages are not all the model read."""
    RESPONSE_NOT_JSON = "response_not_json"
    RESPONSE_UNDECODABLE = "response_undecodable"
    """The content-encoding is unknown, broken, or inflates past the bound."""
    STREAM_UNFINISHED = "stream_unfinished"
    """A stream ended without a finish reason and without the event that ends it (`[DONE]`, `message_stop`, ...)."""
    NO_FINISH_REASON = "no_finish_reason"
    NO_USAGE = "no_usage"
    REPLY_EMPTY = "reply_empty"
    """A reply says nothing, though completion tokens were counted: the model thought unseen up to its limit, or the
    upstream lost what it said."""
    ARGUMENTS_INVALID = "arguments_invalid"
    """The arguments of some tool call are not one JSON object; they are kept as the raw fragment."""
    REDACTED = "redacted"
    """Secrets or personal data were replaced by placeholders before the trace was stored; `logprobs` of a reply that
    held some were left out."""
    CONTENT_EXPIRED = "content_expired"
    """Retention has taken what was said (`content_retention_days`, `max_store_bytes`); what is known of the call
    stays."""
    IMPORTED = "imported"
    """The call was read from a file (`docs/import.md`), and not captured."""
    OUTCOME_UNTOLD = "outcome_untold"
    """The source of an imported call does not say how it ended: `outcome` is `completed` for want of a word against
    it."""
    TIME_UNTOLD = "time_untold"
    """The source of an imported call does not say when it was made: `created_at` is when it was imported."""


ORIGIN_FLAGS = frozenset({Flag.IMPORTED, Flag.OUTCOME_UNTOLD, Flag.TIME_UNTOLD})
"""What tells where a trace comes from, and nothing of what is missing in it."""


@record(frozen=True, slots=True)
class Reply:
    """One choice of a completion.

    Attributes:
        index: The choice's index; 0 unless `n` was above 1.
        message: The assistant message in chat form, as JSON text: of a plain chat completion the upstream's own.
        finish_reason: As the upstream said it; None when it did not. `docs/dialects.md` tells the field it comes from.
        logprobs: The choice's `logprobs` as JSON text, None when absent or null.
    """

    index: int
    message: JsonText
    finish_reason: str | None = None
    logprobs: JsonText | None = None


@record(frozen=True, slots=True)
class Trace:
    """The stored record of one call.

    Attributes:
        id: UUIDv7, made when the call arrived; also the answer's `x-tracemill-trace-id`.
        created_at: When the call arrived, UTC.
        endpoint: `chat.completions`, `completions`, `responses` or `messages`; None for a call that is kept as metadata
            only.
        method: HTTP method as sent.
        path: The path the client asked for, without the query.
        route: Name of the route that chose the upstream.
        upstream: The upstream's base URL.
        status: Status code of the upstream's answer, None when there was none.
        outcome: How the call ended.
        is_streaming: Whether the client asked for a stream.
        requested_model: `model` of the request.
        served_model: `model` of the answer.
        messages: The request's messages in chat form, each as JSON text, in order (`docs/dialects.md`).
        tools: The request's `tools` array as JSON text, functions in chat form. Legacy `functions` have another shape
            and stay in `parameters`.
        response_format: The request's `response_format` as JSON text, or what other dialects have for it.
        parameters: Every other field of the request body, one JSON object as text, fields in their order.
        replies: The completion's choices by index; empty when no part of an answer came.
        usage: The `usage` object verbatim; None when it was not reported.
        prompt_tokens: From usage, where it is `prompt_tokens` or `input_tokens`; None when not reported. The same for
            `completion_tokens`.
        completion_tokens: See `prompt_tokens`.
        ttft_ms: Arrival of the call to the first block of the answer's body.
        duration_ms: Arrival of the call to its end.
        upstream_id: The completion's own `id`.
        request_id: The answer's `x-request-id`.
        system_fingerprint: As in the completion.
        session: Session the client named; None when it named none.
        user: User the client named by header or in the body.
        tags: Tags the client set, text to text; a bare tag has the value "".
        metadata: The body's `metadata` object as JSON text.
        key_fingerprint: Salted fingerprint of the client's key; never the key.
        error: What went wrong, as text or as the upstream's error body; None when nothing did.
        flags: What is missing or odd.
        request_bytes: Size of the request body on the wire.
        response_bytes: Size of the response body on the wire.
    """

    id: UUID
    created_at: datetime
    method: str
    path: str
    route: str
    upstream: str
    outcome: Outcome
    endpoint: str | None = None
    status: int | None = None
    is_streaming: bool = False
    requested_model: str | None = None
    served_model: str | None = None
    messages: tuple[JsonText, ...] = ()
    tools: JsonText | None = None
    response_format: JsonText | None = None
    parameters: JsonText = b"{}"
    replies: tuple[Reply, ...] = ()
    usage: JsonText | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    upstream_id: str | None = None
    request_id: str | None = None
    system_fingerprint: str | None = None
    session: str | None = None
    user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: JsonText | None = None
    key_fingerprint: str | None = None
    error: str | None = None
    flags: frozenset[Flag] = frozenset()
    request_bytes: int = 0
    response_bytes: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the trace holds a whole completion: what an export takes by default.

        A reply that the model itself ended early (`finish_reason` "length") is whole as a record; a reply whose end
        nobody saw is not.
        """
        return (
            self.endpoint is not None
            and self.outcome is Outcome.COMPLETED
            and bool(self.messages)
            and bool(self.replies)
            and not self.flags & _INCOMPLETE
        )


_INCOMPLETE = frozenset(
    {
        Flag.REQUEST_TRUNCATED,
        Flag.CONTEXT_ELSEWHERE,
        Flag.RESPONSE_TRUNCATED,
        Flag.RESPONSE_UNDECODABLE,
        Flag.RESPONSE_NOT_JSON,
        Flag.STREAM_UNFINISHED,
    }
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A journal entry or call that could not be understood, kept with its reason.

    Attributes:
        reason: A stable code: `bad_crc`, `torn` (a writer died in the middle), `orphan` (its call's beginning is lost),
            `derive_failed`, `unstorable`, `unknown_change` (a later version asked for it), `gap` (calls that were shed:
            the body is JSON and tells how many and when).
        detail: One sentence for a person; holds no message content.
        body: The raw bytes.
        trace_id: The call's; of a gap or a damaged stretch, which are no calls, an id of its own, by which it is known
            when it is read again; None when it can only be read once.
    """

    reason: str
    detail: str
    body: bytes
    trace_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class JournalPosition:
    """How far ingest has come in one writer's journal: every entry before it is resolved.

    Attributes:
        writer: Name of the writer's folder under `journal/`.
        segment: Number of the segment file.
        offset: Byte offset in that segment.
    """

    writer: str
    segment: int
    offset: int
