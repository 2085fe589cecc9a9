"""Which fields may follow a body, and which may stand in an interim answer: none that a reader could frame or route by.

Whoever merges trailers into the head would otherwise be told another length, host or key than the one we checked
(RFC 9110, 6.5.1). A 1xx has no body, so what speaks of one is no part of it (RFC 9110, 8.6; RFC 9112, 6.1).
"""

from proxy.calls.field_names import HOP_BY_HOP, OUR_PREFIX
from proxy.calls.headers import RawHeaders, forwarded

_NEVER_BEHIND = HOP_BY_HOP | {
    b"authorization", b"api-key", b"x-api-key", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"expect", b"host", b"max-forwards", b"set-cookie", b"trailer",
}  # fmt: skip


def passed_trailers(trailers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the trailer fields that go on to the other side."""
    return [
        (name, value)
        for name, value in trailers
        if (lower := name.lower()) not in _NEVER_BEHIND and not lower.startswith(OUR_PREFIX)
    ]


def passed_interim(fields: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the fields of an interim answer that go on to the client; those of a 101 are asked for apart."""
    return [(name, value) for name, value in forwarded(fields) if name.lower() != b"content-length"]
