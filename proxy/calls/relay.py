"""The data path: a call in, the same bytes to the upstream, the same bytes back, and a copy to the journal.

`Relay.__call__` tells the life of a call in the order it happens (`docs/life-of-a-call.md`). It is a bare ASGI
application: the frameworks' request and response objects cost time and hide the client's departure.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from proxy.calls.answer_end import AnswerEnd, Mark
from proxy.calls.api_error import error_body
from proxy.calls.client_side import ClientLeft, ClientSide
from proxy.calls.exchange import Exchange, Recorder
from proxy.calls.headers import TRACE_ID_HEADER, RawHeaders, first, forwarded, to_upstream
from proxy.calls.routes import Destination, RouteTable
from proxy.calls.upstream import Upstream
from proxy.errors import RouteError, UpstreamError
from proxy.wire.client_connection import TARGET
from store.trace import Outcome

_log = logging.getLogger("tracemill.relay")

ERROR_HEADER = b"x-tracemill-error"
"""On answers that are ours and not the upstream's: its value is the error's code."""

_STATUS_OF = {Outcome.UPSTREAM_UNREACHABLE: 502, Outcome.UPSTREAM_ABORTED: 502, Outcome.UPSTREAM_TIMEOUT: 504}


class AnswerCut(Exception):  # noqa: N818 - not a fault of ours
    """The answer broke off after its head was sent; the client's connection must break off, too."""


class Relay:
    """The data path of one worker, as an ASGI application."""

    def __init__(self, routes: RouteTable, upstream: Upstream, recorder: Recorder) -> None:
        """Wire the path; everything given is the worker's and closed by it."""
        self._routes = routes
        self._upstream = upstream
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one call and record it."""
        try:
            destination = self._routes.match(scope[TARGET])
        except RouteError as error:
            await _answer_ourselves(send, error.status, error.code, str(error))
            return
        exchange = self._arrive(scope, destination)
        self._recorder.metrics.call_arrived()
        try:
            await self._forward_while_client_stays(exchange, scope, destination, receive, send)
        finally:
            # Whatever was not ended by now was ended by our own stop.
            exchange.end(Outcome.INTERRUPTED)
            self._recorder.metrics.call_left()

    def _arrive(self, scope: Scope, destination: Destination) -> Exchange:
        headers: RawHeaders = scope["headers"]
        wish = (first(headers, b"x-tracemill-capture") or b"full").lower()
        is_chat_call = scope["method"] == "POST" and scope["raw_path"].endswith(b"/chat/completions")
        return Exchange(
            self._recorder,
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            route=destination.route,
            is_recorded=wish != b"off",
            has_body_capture=is_chat_call and wish == b"full",
        )

    async def _forward_while_client_stays(
        self, exchange: Exchange, scope: Scope, destination: Destination, receive: Receive, send: Send
    ) -> None:
        """Run the call and the watch for the client's departure side by side; the first to finish ends both."""
        client = ClientSide(receive)
        headers: RawHeaders = scope["headers"]
        try:
            block, has_more = await client.first_block()
        except ClientLeft:
            exchange.begin(headers, b"")
            exchange.end(Outcome.CLIENT_DISCONNECT)
            return
        exchange.begin(headers, block)
        body = _captured(exchange, client.rest(block)) if has_more else block
        call = asyncio.create_task(self._forward(exchange, scope, destination, body, send), name="call")
        departure = asyncio.create_task(client.watch(has_more=has_more), name="departure")
        try:
            await asyncio.wait({call, departure}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.has_ended:
                # A server reports its own last byte as a departure, too: let the upstream's connection be given back.
                await asyncio.wait({call})
            elif not call.done():
                exchange.end(Outcome.CLIENT_DISCONNECT)
        finally:
            await _cancel(departure)
            await _cancel(call)
        if not call.cancelled():
            call.result()

    async def _forward(
        self,
        exchange: Exchange,
        scope: Scope,
        destination: Destination,
        body: bytes | AsyncIterator[bytes],
        send: Send,
    ) -> None:
        headers = to_upstream(scope["headers"], host=destination.route.host)
        is_head_sent = False
        try:
            async with self._upstream.call(destination, scope["method"], headers, body) as answer:
                exchange.capture_head(answer.status, answer.headers)
                fields = forwarded(answer.headers)
                end = AnswerEnd(scope["method"], answer.status, fields)
                if not end.has_body:
                    await exchange.complete()
                    # Only of HEAD the server knows that its answer may tell a length and have no body; a 304 is the
                    # same (RFC 9110, 8.6).
                    scope["method"] = "HEAD"
                fields.append((TRACE_ID_HEADER, str(exchange.trace_id).encode()))
                await send({"type": "http.response.start", "status": answer.status, "headers": fields})
                is_head_sent = True
                await _relay_body(exchange, end, answer.blocks, send)
        except UpstreamError as error:
            exchange.end(error.outcome, str(error))
            if is_head_sent:
                raise AnswerCut from error
            await _answer_ourselves(send, _STATUS_OF[error.outcome], error.outcome.value, str(error), exchange)


async def _relay_body(exchange: Exchange, end: AnswerEnd, blocks: AsyncIterator[bytes], send: Send) -> None:
    """Send the body on, each block as it comes; what completes it only when the trace is down."""
    async for block in blocks:
        exchange.capture_response(block)
        match end.mark(block):
            case Mark.DONE_EVENT:
                await exchange.answered()
            case Mark.LAST:
                await exchange.complete()
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await exchange.complete()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _captured(exchange: Exchange, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Copy the later blocks of a request's body; the first one was written with the call's beginning."""
    is_first = True
    async for block in blocks:
        if not is_first:
            exchange.capture_request(block)
        is_first = False
        yield block


async def _answer_ourselves(send: Send, status: int, code: str, message: str, exchange: Exchange | None = None) -> None:
    """Answer with an error of ours, in the shape OpenAI clients read."""
    body = error_body(message, code=code)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (ERROR_HEADER, code.encode()),
    ]
    if exchange is not None:
        headers.append((TRACE_ID_HEADER, str(exchange.trace_id).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has cleaned up; what it raised stays in it."""
    task.cancel()
    await asyncio.wait({task})
