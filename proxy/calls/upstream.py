"""The upstream side: one call out, its answer's bytes back. The only module of this room that knows the HTTP client.

The transport is used directly, below httpx's client: a client object would add header fields of its own, keep one
cookie jar for everybody, follow redirects and decode bodies. Its types are the seam, so another transport fits here.
"""

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

import httpx2 as httpx

from proxy.calls.headers import RawHeaders
from proxy.calls.routes import Destination
from proxy.errors import UpstreamError
from store.trace import Outcome

_KEEPALIVE_S = 2.0
"""Many servers close an idle connection after 5 s; a request sent at that moment would be lost, and a paid call must
not be sent twice (RFC 9110, 9.2.2), so ours is closed well before."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no field value may hold (RFC 9110, 5.5)."""
_MAX_DETAIL = 300
"""Most of the client library's words on a failure that are passed on: they quote the upstream's bytes."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for an upstream, in seconds; none bounds the whole call."""

    connect_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream's answer whose body is still coming.

    Attributes:
        headers: As they came: order, case and duplicates kept.
        blocks: The body as it comes, content-encoding still on.
    """

    status: int
    headers: RawHeaders
    blocks: AsyncIterator[bytes]


class Upstream:
    """A pool of connections to the upstreams."""

    def __init__(self, timeouts: Timeouts) -> None:
        """Make the pool; it has no bound of its own.

        httpx's default limits stop reusing connections once 20 calls are active, since busy ones are counted as idle
        (encode/httpcore, PR 1000), and make the 101st stream wait.
        """
        self._timeouts = timeouts
        self._transport = httpx.AsyncHTTPTransport(
            verify=ssl.create_default_context(),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S),
            retries=0,
            trust_env=False,
        )

    @asynccontextmanager
    async def call(
        self, destination: Destination, method: str, headers: RawHeaders, body: bytes | AsyncIterator[bytes]
    ) -> AsyncIterator[Answer]:
        """Send one call and give its answer; leaving the block ends it, whatever is still to come.

        Args:
            destination: Route and target.
            method: As the client sent it.
            headers: The fields to send, all of them, the body's framing among them; nothing is added.
            body: The body, whole or as it comes.

        Raises:
            UpstreamError: No connection, no answer in time, or an answer cut short; also while the body is read.
        """
        request = httpx.Request(
            method,
            destination.route.origin,
            headers=list(headers),
            stream=_RequestStream(body),
            extensions={
                "target": destination.target,
                "timeout": {
                    "connect": self._timeouts.connect_s,
                    "read": self._timeouts.silence_s,
                    "write": self._timeouts.silence_s,
                    "pool": None,
                },
            },
        )
        with _translated(destination.route.upstream, self._timeouts):
            response = await self._transport.handle_async_request(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            _check_head(response, destination.route.upstream)
            async with aclosing(_read(stream, destination.route.upstream, self._timeouts)) as blocks:
                yield Answer(response.status_code, response.headers.raw, blocks)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class _RequestStream(httpx.AsyncByteStream):
    """A request's body, whole or as it comes, handed on block by block."""

    def __init__(self, body: bytes | AsyncIterator[bytes]) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            if self._body:
                yield self._body
            return
        async for block in self._body:
            if block:
                yield block


def _check_head(response: httpx.Response, upstream: str) -> None:
    """Refuse a head that our server could not send: the client's library lets through more than HTTP allows."""
    if response.status_code > 599 or any(_CONTROL.search(value) for _, value in response.headers.raw):
        raise UpstreamError(
            Outcome.UPSTREAM_ABORTED,
            f"upstream {upstream} gave a head that is no HTTP: a status above 599 or a control character in a field.",
        )


async def _read(stream: httpx.AsyncByteStream, upstream: str, timeouts: Timeouts) -> AsyncGenerator[bytes]:
    with _translated(upstream, timeouts):
        async for block in stream:
            yield block


@contextmanager
def _translated(upstream: str, timeouts: Timeouts) -> Iterator[None]:
    """Turn the client library's errors into how the call ends."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        detail = str(error) or f"no connection within {timeouts.connect_s:g} s"
        raise UpstreamError(
            Outcome.UPSTREAM_UNREACHABLE, f"upstream {upstream} cannot be reached: {detail}."
        ) from error
    except httpx.TimeoutException as error:
        raise UpstreamError(
            Outcome.UPSTREAM_TIMEOUT,
            f"upstream {upstream}: no byte for {timeouts.silence_s:g} s. Slow model? Raise --read-timeout-s.",
        ) from error
    except httpx.LocalProtocolError as error:
        # The library's own words quote the field at fault, which may be the client's key.
        raise UpstreamError(
            Outcome.UPSTREAM_ABORTED,
            f"the call cannot be sent to {upstream}: its target, a header field or its body breaks the rules of HTTP.",
        ) from error
    except httpx.TransportError as error:
        detail = str(error)[:_MAX_DETAIL] or type(error).__name__
        raise UpstreamError(Outcome.UPSTREAM_ABORTED, f"upstream {upstream} broke off its answer: {detail}") from error
