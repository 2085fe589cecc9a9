"""Header hygiene: what passes to the other side, what stays here, what may be recorded.

Header fields are kept as the raw list they came as: order and duplicates (two `set-cookie`) are part of the message.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from proxy.journal.raw_call import HeaderList

RawHeaders = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that concern one connection only (RFC 9110, 7.6.1; `proxy-connection` by custom)."""

OUR_PREFIX = b"x-tracemill-"
"""Request fields of this family are read here and never forwarded."""

TRACE_ID_HEADER = b"x-tracemill-trace-id"

_RECORDED_REQUEST = frozenset(
    {
        "content-type",
        "content-encoding",
        "op-tags",
        "traceparent",
        "x-request-id",
        "helicone-session-id",
        "helicone-user-id",
        "x-portkey-trace-id",
        "x-portkey-metadata",
        "x-litellm-session-id",
        "x-litellm-tags",
    }
)
_RECORDED_REQUEST_PREFIXES = ("x-tracemill-", "helicone-property-")
_RECORDED_RESPONSE = frozenset({"content-type", "content-encoding", "x-request-id", "openai-processing-ms"})

_CREDENTIALS = (b"authorization", b"api-key", b"x-api-key")
"""Where OpenAI, Azure and Anthropic clients put their key."""


def forwarded(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the fields that go on to the other side, in their order.

    Hop-by-hop fields stay behind: the fixed list and any field that `Connection` names. So does a length beside
    `Transfer-Encoding`: it does not count, and whoever believed it would be tricked (RFC 9112, 6.3).
    """
    dropped = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    if first(headers, b"transfer-encoding") is not None:
        dropped.add(b"content-length")
    dropped |= HOP_BY_HOP
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def to_upstream(headers: RawHeaders, *, host: bytes) -> list[tuple[bytes, bytes]]:
    """Return the request fields for the upstream: `Host` is the upstream's own, `X-Tracemill-…` stays here.

    The body's framing is the client's: sized, chunked, or none at all. Only the chunks' borders are new.
    """
    framing = [(name, value) for name, value in headers if name.lower() == b"transfer-encoding"]
    kept = [
        (name, value)
        for name, value in forwarded(headers)
        if name.lower() != b"host" and not name.lower().startswith(OUR_PREFIX)
    ]
    return [(b"host", host), *kept, *framing]


def recorded_request(headers: RawHeaders) -> HeaderList:
    """Return the request fields that may be written down: an allow-list, so that no credential ever can be."""
    return tuple(
        (name, value)
        for name, value in _texts(headers)
        if name in _RECORDED_REQUEST or name.startswith(_RECORDED_REQUEST_PREFIXES)
    )


def recorded_response(headers: RawHeaders) -> HeaderList:
    """Return the response fields that may be written down."""
    return tuple((name, value) for name, value in _texts(headers) if name in _RECORDED_RESPONSE)


def key_fingerprint(headers: RawHeaders, salt: bytes) -> str | None:
    """Return a salted fingerprint of the client's key, which tells clients apart and cannot be turned back.

    Returns:
        16 hexadecimal digits, or None when the call held no key.
    """
    for name, value in headers:
        if name.lower() in _CREDENTIALS:
            return hmac.new(salt, value, hashlib.sha256).hexdigest()[:16]
    return None


def first(headers: RawHeaders, name: bytes) -> bytes | None:
    """Return the value of the first field of that name (lower case), None when there is none."""
    return next((value for key, value in headers if key.lower() == name), None)


def _texts(headers: RawHeaders) -> Iterable[tuple[str, str]]:
    # Field values are opaque octets (RFC 9110, 5.5); Latin-1 maps each to one character and back.
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
