"""A request as an upstream's connection sends it: its head in bytes, and how its body goes behind it."""

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import cast

import httpx2 as httpx

from proxy.wire.call_timeouts import CallTimeouts
from proxy.wire.fields import Fields, names_of
from proxy.wire.framing import encode_chunk, encode_last_chunk
from proxy.wire.head import encode_head
from proxy.wire.httpx_messages import fields_of

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""The methods that are idempotent (RFC 9110, 9.2.2)."""

OnInformational = Callable[[int, bytes, Fields], None]


@dataclass(slots=True)
class UpstreamRequest:
    """One request, ready to be sent.

    Attributes:
        head: From the request line to the blank line.
        body: The whole body as it goes over the wire; empty when it comes in blocks.
        blocks: The body's content as it comes; None when `body` holds it.
        length: What `Content-Length` declares; None for a chunked body.
        make_trailers: Asked for the trailer fields when a chunked body has ended.
        on_informational: Told about each interim answer.
        is_repeatable: Whether sending it twice does what sending it once does (RFC 9110, 9.2.2).
        is_last: Whether it asks the upstream to close the connection.
        asks_upgrade: Whether a 101 may answer it.
    """

    method: bytes
    head: bytes
    body: bytes
    blocks: AsyncIterable[bytes] | None
    length: int | None
    timeouts: CallTimeouts
    make_trailers: Callable[[], Fields] | None
    on_informational: OnInformational | None
    is_repeatable: bool
    is_last: bool
    asks_upgrade: bool


def read_request(request: httpx.Request, origin: bytes = b"", added: Fields | None = None) -> UpstreamRequest:
    """Make the bytes of a request; nothing is added to its fields but what a proxy needs.

    Args:
        request: With its framing among its fields; `extensions["target"]` is sent as it stands.
        origin: Put before the target, for a proxy that takes the absolute form (RFC 9112, 3.2.2).
        added: Fields for that proxy.

    Raises:
        httpx.LocalProtocolError: Head or framing break the rules; the message quotes no field.
    """
    extensions = request.extensions
    target: bytes = extensions.get("target") or request.url.raw_path
    method = request.method.encode()
    fields = fields_of(request)
    if added:
        fields = fields + added
    start_line = b"%b %b%b HTTP/1.1" % (method, origin, target)
    head = encode_head(start_line, fields)
    line_ends = len(fields) + 2
    if (
        head.count(b"\n") != line_ends
        or head.count(b"\r") != line_ends
        or b"\0" in head
        or start_line.count(b" ") != 2
        or not target
    ):
        raise httpx.LocalProtocolError(
            "the request's method, target or a field holds a character that it must not hold"
        )
    length, is_chunked, is_last, asks_upgrade = _framing(fields)
    body, blocks = _body(request.stream, length, is_chunked=is_chunked)
    make_trailers = extensions.get("trailers")
    if is_chunked and blocks is None:
        body = (encode_chunk(body) if body else b"") + encode_last_chunk(make_trailers() if make_trailers else [])
    return UpstreamRequest(
        method=method,
        head=head,
        body=body,
        blocks=blocks,
        length=length,
        timeouts=read_timeouts(extensions.get("timeout")),
        make_trailers=make_trailers,
        on_informational=extensions.get("informational"),
        is_repeatable=blocks is None and method in _REPEATABLE,
        is_last=is_last,
        asks_upgrade=asks_upgrade,
    )


def _framing(fields: Fields) -> tuple[int | None, bool, bool, bool]:
    """Return declared length, whether the body is chunked, whether the call is the last one, whether it upgrades."""
    places = names_of(fields).places
    is_chunked = False
    for place in places.get(b"transfer-encoding", ()):
        is_chunked = fields[place][1].lower().rpartition(b",")[2].strip() == b"chunked"
        if not is_chunked:
            raise httpx.LocalProtocolError("the request's last Transfer-Encoding has to be chunked")
    lengths = places.get(b"content-length")
    length: int | None = None
    if lengths is not None:
        said = fields[lengths[0]][1]
        if len(lengths) > 1 or not said.isdigit():
            raise httpx.LocalProtocolError("the request's Content-Length has to be one decimal number, said once")
        if is_chunked:
            raise httpx.LocalProtocolError("the request has both Content-Length and Transfer-Encoding")
        length = int(said)
    options = places.get(b"connection")
    is_last = options is not None and any(b"close" in fields[place][1].lower() for place in options)
    return length, is_chunked, is_last, b"upgrade" in places


def _body(stream: object, length: int | None, *, is_chunked: bool) -> tuple[bytes, AsyncIterable[bytes] | None]:
    """Return the body when it is there as a whole, else its blocks."""
    whole: bytes | None = getattr(stream, "body", None)
    if isinstance(stream, httpx.ByteStream):
        whole = b"".join(stream)
    if whole is None:
        return b"", cast("AsyncIterable[bytes]", stream) if length or is_chunked else None
    if not is_chunked and len(whole) != (length or 0):
        raise httpx.LocalProtocolError(
            f"the request's body has {len(whole)} bytes, its fields declare {length or 0}: set Content-Length to the"
            " size of the body, or Transfer-Encoding to chunked"
        )
    return whole, None


def read_timeouts(given: CallTimeouts | dict[str, float | None] | None) -> CallTimeouts:
    """Read `extensions["timeout"]`; httpx's own clients know no `first_byte`, for them `read` says it."""
    if isinstance(given, CallTimeouts):
        return given
    if not given:
        return CallTimeouts(None, None, None, None)
    read = given.get("read")
    return CallTimeouts(given.get("connect"), given.get("first_byte", read), read, given.get("write"))
