"""How much of a call is kept: the least of what its route allows, what its client wants and what chance gives it.

Chance is a hash, so it is the same in every worker and after every restart, and a larger share only ever adds. What is
hashed is the session that the client names, else its user, else the trace id: of a client that names its sessions,
whole conversations are in or out; of one that names neither, single calls are.
"""

import hashlib
from uuid import UUID

from proxy.calls.headers import RawHeaders
from proxy.calls.route import Capture, Route
from proxy.wire.fields import first

SESSION_HEADERS = (b"x-tracemill-session", b"helicone-session-id", b"x-portkey-trace-id", b"x-litellm-session-id")
USER_HEADERS = (b"x-tracemill-user", b"helicone-user-id")
_CAPTURE_HEADER = b"x-tracemill-capture"
_FROM_MOST_TO_LEAST = tuple(Capture)
_DOMAIN = b"tracemill sample 1\0"


def allowed_capture(route: Route, headers: RawHeaders) -> Capture:
    """Return how much may be kept of a call; a client lowers what the route says, and never raises it.

    A wish that is none of the three words counts as `metadata`: whoever sends the header wants less kept.
    """
    wish = first(headers, _CAPTURE_HEADER)
    if wish is None:
        return route.capture
    try:
        wanted = Capture(wish.decode("latin-1").strip().lower())
    except ValueError:
        wanted = Capture.METADATA
    return max(route.capture, wanted, key=_FROM_MOST_TO_LEAST.index)


def is_sampled(route: Route, headers: RawHeaders, trace_id: UUID) -> bool:
    """Tell whether a call is among the share that the route records."""
    if route.sample >= 1:
        return True
    return _position(_unit(headers, trace_id)) < route.sample


def _unit(headers: RawHeaders, trace_id: UUID) -> bytes:
    """Return what is in or out as a whole."""
    for kind, names in ((b"session ", SESSION_HEADERS), (b"user ", USER_HEADERS)):
        for name in names:
            value = (first(headers, name) or b"").strip()
            if value:
                return kind + value
    return trace_id.bytes


def _position(unit: bytes) -> float:
    """Return a place in [0, 1) that depends on the unit alone."""
    return int.from_bytes(hashlib.sha256(_DOMAIN + unit).digest()[:6]) / (1 << 48)
