"""Credentials in header fields: a client's key goes to no upstream with a key of its own, and none goes elsewhere."""

from proxy.calls.field_names import CREDENTIAL_FIELDS
from proxy.calls.route import Route
from proxy.wire.fields import Fields

SUBPROTOCOLS = b"sec-websocket-protocol"
"""Browsers can set no header fields on a WebSocket, so OpenAI takes the key as the name of a subprotocol."""
_PROTOCOL_KEY = b"openai-insecure-api-key."


def own_key_field(auth: str, key: str) -> tuple[bytes, bytes]:
    """Make the header field that holds an upstream's key.

    Args:
        auth: `bearer`, or the name of the field that takes the bare key.
        key: Printable ASCII.
    """
    return (b"Authorization", b"Bearer " + key.encode()) if auth == "bearer" else (auth.encode(), key.encode())


def for_route(fields: Fields, route: Route) -> Fields:
    """Return the request fields as this route's upstream is to have them.

    A route with a key of its own gets that and no credential of the client; one without gets what the client sent. The
    route's extra fields take the place of the client's of the same name.

    Args:
        fields: What would go to the upstream; order and case are kept.
        route: Where they go.
    """
    if route.credential is None and not route.headers:
        return fields
    replaced = {name.lower() for name, _ in route.headers}
    kept = [(name, value) for name, value in fields if name.lower() not in replaced]
    if route.credential is None:
        return [*kept, *route.headers]
    own = (_without_key(name, value) for name, value in kept if name.lower() not in CREDENTIAL_FIELDS)
    return [*(field for field in own if field is not None), route.credential, *route.headers]


def _without_key(name: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    """Take a key out of the subprotocols that a WebSocket client offers; None when nothing else is offered."""
    if name.lower() != SUBPROTOCOLS or _PROTOCOL_KEY not in value.lower():
        return name, value
    tokens = [token.strip() for token in value.split(b",")]
    rest = [token for token in tokens if not token.lower().startswith(_PROTOCOL_KEY)]
    return (name, b", ".join(rest)) if rest else None
