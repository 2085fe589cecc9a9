"""Which calls are captured with their bodies: the dialects Tracemill reads, told by method and path alone.

The decision is taken for every call while it is in flight, so it looks at the last segments of the raw path and at
nothing else. That covers every mount (`/v1/…`, `/openai/deployments/NAME/…`, `/u/NAME/v1/…`, `/api/v1/…`).
"""

from enum import StrEnum


class Endpoint(StrEnum):
    """A dialect; the value is what `endpoint` of a trace says."""

    CHAT_COMPLETIONS = "chat.completions"
    COMPLETIONS = "completions"
    """Text completions, the legacy of OpenAI's API."""
    RESPONSES = "responses"
    """OpenAI's Responses API."""
    MESSAGES = "messages"
    """Anthropic's Messages API."""


_BY_LAST_SEGMENT = {
    "completions": Endpoint.COMPLETIONS,
    "responses": Endpoint.RESPONSES,
    "messages": Endpoint.MESSAGES,
}


def endpoint_of(method: bytes | str, path: bytes | str) -> Endpoint | None:
    """Tell which dialect a call speaks, None for one that is kept as metadata only.

    What lies below an endpoint (`/v1/responses/{id}`, `/v1/messages/count_tokens`, `/v1/messages/batches`) is not it,
    and neither are the messages of a thread (`/v1/threads/{id}/messages`).

    Args:
        method: As sent; methods are case-sensitive (RFC 9110, 9.1).
        path: As sent, percent-encoding kept: an encoded slash separates no segments. A query is passed over.
    """
    if method not in ("POST", b"POST"):
        return None
    text = path.decode("latin-1") if isinstance(path, bytes) else path
    before, slash, last = text.partition("?")[0].rpartition("/")
    endpoint = _BY_LAST_SEGMENT.get(last) if slash else None
    if endpoint is Endpoint.COMPLETIONS and before.endswith("/chat"):
        return Endpoint.CHAT_COMPLETIONS
    if endpoint is Endpoint.MESSAGES and before.rpartition("/")[0].endswith("/threads"):
        return None
    return endpoint
