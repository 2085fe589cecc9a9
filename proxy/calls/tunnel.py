"""A connection that changed its protocol (101): bytes both ways until one side ends, no content recorded."""

import asyncio

from proxy.calls.exchange import Exchange
from proxy.calls.headers import TRACE_ID_HEADER
from proxy.calls.upstream import Answer
from proxy.wire.client_call import ClientCall
from proxy.wire.head import RequestHead


def is_offered(head: RequestHead) -> bool:
    """Tell whether a request offers WebSocket; any other offer is ignored, as RFC 9110 (7.8) allows.

    Java's client offers HTTP/2 with every first request, and expects an answer in HTTP/1.1.
    """
    return (
        head.method == b"GET"
        and head.version == b"1.1"
        and (head.field(b"upgrade") or b"").lower() == b"websocket"
        and b"upgrade" in (head.field(b"connection") or b"").lower()
    )


async def run_tunnel(call: ClientCall, exchange: Exchange, answer: Answer) -> None:
    """Pass bytes both ways until either side has ended its own."""
    stream = answer.tunnel
    fields = [*answer.fields, (TRACE_ID_HEADER, str(exchange.trace_id).encode())]
    call.on_departure = lambda: call.end_body([])
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
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.wait(directions)
        await stream.close()
    for direction in directions:
        if not direction.cancelled() and (error := direction.exception()) is not None:
            raise error
    await exchange.complete()
    call.finish([])
