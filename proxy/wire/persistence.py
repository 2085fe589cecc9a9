"""Whether a connection outlives a message (RFC 9112, 9.3 and 9.6)."""

from proxy.wire.fields import names_of
from proxy.wire.head import RequestHead, ResponseHead

_COMMON_OPTIONS = (b"keep-alive", b"Keep-Alive")


def wants_close(head: RequestHead) -> bool:
    """Tell whether a request says that its connection ends with it."""
    for place in names_of(head.fields).places.get(b"connection", ()):
        value = head.fields[place][1]
        if value not in _COMMON_OPTIONS and b"close" in [token.strip() for token in value.lower().split(b",")]:
            return True
    return head.version == b"1.0"


def keeps_alive(head: ResponseHead) -> bool:
    """Tell whether the upstream will take another request on this connection."""
    is_kept = head.version != b"1.0"
    for place in names_of(head.fields).places.get(b"connection", ()):
        options = head.fields[place][1].lower()
        if b"close" in options:
            return False
        is_kept = is_kept or b"keep-alive" in options
    return is_kept
