"""A connection that changed its protocol (101): bytes both ways until one side ends, no content recorded."""

import asyncio

from proxy.calls.exchange import Exchange
from proxy.calls.headers import TRACE_ID_HEADER
from proxy.calls.upstream import Answer
from proxy.wire.client_call import ClientCall
from proxy.wire.fields import first
from proxy.wire.head import RequestHead

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
"""What a 101 may not say, and some readers would believe (RFC 9110, 8.6; RFC 9112, 6.1)."""
_LAST_BYTES_S = 2.0
"""How long an upstream may take to read what a client sent before it left."""


def is_offered(head: RequestHead) -> bool:
    """Tell whether a request offers WebSocket; any other offer is ignored, as RFC 9110 (7.8) allows.

    Java's client offers HTTP/2 with every first request, and expects an answer in HTTP/1.1.
    """
    return (
        head.method == b"GET"
        and head.version == b"1.1"
        and (first(head.fields, b"upgrade") or b"").lower() == b"websocket"
        and b"upgrade" in (first(head.fields, b"connection") or b"").lower()
        and not _has_body(head)
    )


def _has_body(head: RequestHead) -> bool:
    # Behind the switch, nobody could tell the rest of it from the other protocol.
    return (
        first(head.fields, b"transfer-encoding") is not None
        or (first(head.fields, b"content-length") or b"0").strip(b"0") != b""
    )


async def run_tunnel(call: ClientCall, exchange: Exchange, answer: Answer) -> None:
    """Pass bytes both ways until either side has ended its own."""
    stream = answer.tunnel
    fields = [(name, value) for name, value in answer.fields if name.lower() not in _FRAMING]
    fields.append((TRACE_ID_HEADER, str(exchange.trace_id).encode()))
    call.begin_tunnel(fields, answer.reason)

    async def to_upstream() -> None:
        while block := await call.read():
            exchange.capture_request(block)
            await stream.write(block)

    async def to_client() -> None:
        while block := await stream.read():
            exchange.capture_response(block)
            call.send(block)
            if call.is_full:
                await call.drained()

    directions = [asyncio.create_task(to_upstream()), asyncio.create_task(to_client())]
    call.on_departure = lambda: _end_client(call, directions[0])
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.wait(directions)
        errors = [direction.exception() for direction in directions if not direction.cancelled()]
        await stream.close()
    for error in errors:
        if error is not None:
            raise error
    await exchange.complete()
    call.finish([])


def _end_client(call: ClientCall, to_upstream: asyncio.Task[None]) -> None:
    """Let what a client that left has sent go on, but not for ever: the upstream may read nothing."""
    call.end_body([])
    asyncio.get_running_loop().call_later(_LAST_BYTES_S, to_upstream.cancel)
