"""One finished call as the journal holds it: bytes and facts, nothing parsed yet."""

from datetime import datetime
from uuid import UUID

from store.record import record
from store.trace import Outcome

HeaderList = tuple[tuple[str, str], ...]
"""Header fields in their order, names in lower case, duplicates kept."""


@record(frozen=True, slots=True)
class RawCall:
    """Everything ingest needs to make a trace of one call.

    Attributes:
        path: As the client sent it, percent-encoding kept, without the query.
        request_headers: Only those on the allow-list of `proxy.calls.headers`; never a credential.
        request_body: The body's bytes as sent (any content-encoding still on); cut when `is_request_truncated`.
        request_bytes: The body's full size on the wire, also when cut.
        status: None when no answer's head came.
        response_headers: Only those on the allow-list.
        outcome: As the exchange saw status and connection; an error *event* inside a stream is found by the assembler.
        error: One sentence about what went wrong on our way to the upstream; None otherwise.
        key_fingerprint: Salted fingerprint of the client's credential.
    """

    trace_id: UUID
    started_at: datetime
    method: str
    path: str
    route: str
    upstream: str
    outcome: Outcome
    request_headers: HeaderList = ()
    request_body: bytes = b""
    request_bytes: int = 0
    is_request_truncated: bool = False
    status: int | None = None
    response_headers: HeaderList = ()
    response_body: bytes = b""
    response_bytes: int = 0
    is_response_truncated: bool = False
    ttft_ms: float | None = None
    duration_ms: float | None = None
    key_fingerprint: str | None = None
    error: str | None = None
