"""The upstream side: one call out, its answer's bytes back. The only module of this room that knows the HTTP client.

Our own pool is used (`proxy.wire.pool`), below httpx's client: a client object would add header fields of its own, keep
one cookie jar for everybody, follow redirects and decode bodies. httpx's types are the seam: any transport fits here.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import httpx2 as httpx

from proxy.calls.route import Destination, RouteTimeouts
from proxy.errors import UpstreamError
from proxy.wire.answer_stream import AnswerStream, Sink
from proxy.wire.fields import Fields, first
from proxy.wire.httpx_messages import RawRequest, fields_of
from store.trace import Outcome

_TUNNEL_BYTES = 64 * 1024
_MAX_DETAIL = 300
"""Most of the client library's words on a failure that are passed on: they quote the upstream's bytes."""

Interim = Callable[[int, bytes, Fields], None]


@dataclass(slots=True)
class Request:
    """What goes to the upstream.

    Attributes:
        method: As the client sent it.
        fields: The header fields to send, all of them, the body's framing among them; nothing is added.
        body: The body, whole or as it comes.
        interim: Told of each answer that is not the last one (1xx).
        trailers: Asked for the fields behind a chunked body when it has ended.
    """

    method: bytes
    fields: Fields
    body: bytes | AsyncIterator[bytes]
    interim: Interim
    trailers: Callable[[], Fields]


class Answer:
    """An upstream's answer whose body is still coming: its blocks as they came, content-encoding still on.

    Attributes:
        fields: As they came: order, case and duplicates kept.
        is_event_stream: Whether the body is one; its own kind decides, not what the request asked for.
        trailers: The fields behind a chunked body; filled when the last block has come.
    """

    def __init__(self, response: httpx.Response, upstream: str, timeouts: RouteTimeouts) -> None:
        """Take the response that a transport gave."""
        extensions = response.extensions
        self.status = response.status_code
        self.reason: bytes = extensions.get("reason_phrase", b"")
        self.fields = fields_of(response)
        self.trailers: Fields = extensions.get("trailers", [])
        self.is_event_stream = (first(self.fields, b"content-type") or b"").lower().startswith(b"text/event-stream")
        self._response = response
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._blocks = aiter(self._stream)
        self._upstream = upstream
        self._timeouts = timeouts

    @property
    def has_block(self) -> bool:
        """Whether some of the body has come already."""
        return getattr(self._stream, "unread_bytes", 0) > 0

    async def pour(self, sink: Sink) -> bool:
        """Give each block to a sink as it comes, until it wants no more for now; False at the end of the answer.

        Raises:
            UpstreamError: The answer is cut short, or the upstream falls silent.
        """
        try:
            if isinstance(self._stream, AnswerStream):
                return await self._stream.pour(sink)
            async for block in self._blocks:
                if not sink(block):
                    return True
        except httpx.TransportError as error:
            raise _translated(error, self._upstream, self._timeouts) from error
        return False

    @property
    def tunnel(self) -> "Tunnel":
        """The connection as a stream of bytes, after a 101."""
        return Tunnel(self._response.extensions["network_stream"], self._upstream, self._timeouts)

    async def close(self) -> None:
        """End the call at the upstream, whatever is still to come."""
        await self._stream.aclose()


class Tunnel:
    """A connection that speaks another protocol now. Every method raises UpstreamError when the connection breaks."""

    def __init__(self, stream: Any, upstream: str, timeouts: RouteTimeouts) -> None:  # noqa: ANN401 - httpcore's own type
        self._stream = stream
        self._upstream = upstream
        self._timeouts = timeouts

    async def read(self) -> bytes:
        """Return the next bytes; empty when the upstream has ended its side."""
        try:
            return cast("bytes", await self._stream.read(_TUNNEL_BYTES))
        except httpx.TransportError as error:
            raise _translated(error, self._upstream, self._timeouts) from error

    async def write(self, data: bytes) -> None:
        """Send bytes, as fast as the upstream takes them."""
        try:
            await self._stream.write(data)
        except httpx.TransportError as error:
            raise _translated(error, self._upstream, self._timeouts) from error

    async def close(self) -> None:
        """End the connection."""
        await self._stream.aclose()


class Upstream:
    """All upstreams, behind one transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        """Take the transport; it is closed with this."""
        self._transport = transport
        self._urls: dict[str, httpx.URL] = {}

    async def call(self, destination: Destination, request: Request) -> Answer:
        """Send one call and return its answer as soon as the head is there; the caller closes it.

        Raises:
            UpstreamError: No connection, or no answer in time.
        """
        route = destination.route
        timeouts = route.timeouts
        extensions = {
            "target": destination.target,
            "timeout": timeouts.of_call,
            "informational": request.interim,
            "trailers": request.trailers,
        }
        sent = RawRequest(request.method, self._url(route.origin), request.fields, _Body(request.body), extensions)
        try:
            response = await self._transport.handle_async_request(sent)
        except httpx.TransportError as error:
            raise _translated(error, route.upstream, timeouts) from error
        return Answer(response, route.upstream, timeouts)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def _url(self, origin: str) -> httpx.URL:
        # Parsing one costs four times as much as the rest of the request.
        url = self._urls.get(origin)
        if url is None:
            url = self._urls[origin] = httpx.URL(origin)
        return url


class _Body(httpx.AsyncByteStream):
    """A request's body, whole (then `body` has it) or as it comes."""

    def __init__(self, body: bytes | AsyncIterator[bytes]) -> None:
        self.body = body if isinstance(body, bytes) else None
        self._blocks = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._blocks, bytes):
            if self._blocks:
                yield self._blocks
            return
        async for block in self._blocks:
            if block:
                yield block


def _translated(error: httpx.TransportError, upstream: str, timeouts: RouteTimeouts) -> UpstreamError:
    """Say what an error of the transport means to the call."""
    detail = str(error)[:_MAX_DETAIL]
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
        detail = detail or f"no connection within {timeouts.connect_s:g} s"
        return UpstreamError(Outcome.UPSTREAM_UNREACHABLE, f"upstream {upstream} cannot be reached: {detail}.")
    if isinstance(error, httpx.TimeoutException):
        message = f"upstream {upstream}: {detail}. Slow model? Raise first_byte_timeout_s or read_timeout_s."
        return UpstreamError(Outcome.UPSTREAM_TIMEOUT, message)
    if isinstance(error, httpx.LocalProtocolError):
        # The library's own words may quote the field at fault, which may be the client's key.
        return UpstreamError(
            Outcome.UPSTREAM_ABORTED,
            f"the call cannot be sent to {upstream}: its target, a header field or its body breaks the rules of HTTP.",
        )
    detail = detail or type(error).__name__
    return UpstreamError(Outcome.UPSTREAM_ABORTED, f"upstream {upstream} broke off its answer: {detail}")
