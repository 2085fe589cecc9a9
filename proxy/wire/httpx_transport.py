"""httpx's own transport, for what our pool does not speak: HTTP/2, SOCKS, proxies that are reached over TLS.

It keeps the pool's contract as far as it can: fields and target go out as given and blocks come raw, but interim
answers and trailers are not told, and the time-out for the first byte is the one for every other.

A connection carries one call at a time, over HTTP/2, too. To end a call there, its stream would have to be reset, which
httpx has no way to ask for: the upstream would go on with an answer that nobody reads, and is paid for. So the call's
connection is closed, and nobody else's call is on it.
"""

import importlib.util
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx2 as httpx

from proxy.errors import SettingsError
from proxy.wire.upstream_proxy import UpstreamProxy
from proxy.wire.upstream_request import read_timeouts


def check_http2() -> None:
    """Check that HTTP/2 can be spoken.

    Raises:
        SettingsError: A package is missing.
    """
    if importlib.util.find_spec("h2") is None:
        raise SettingsError(
            "HTTP/2 to the upstreams needs the package h2: pip install 'tracemill[http2]', or leave it off."
        )


class HttpxTransport(httpx.AsyncBaseTransport):
    """Connections of httpx's behind the pool's reading of time-outs; the one used last is used next."""

    def __init__(self, tls: ssl.SSLContext, keepalive_s: float, *, proxy: UpstreamProxy | None, http2: bool) -> None:
        """Open nothing yet.

        Raises:
            httpx.ProxyError: A SOCKS proxy needs a package that is missing.
        """
        self._tls = tls
        self._keepalive_s = keepalive_s
        self._proxy = proxy
        self._has_http2 = http2
        self._open: set[_Connection] = set()
        self._idle: deque[_Connection] = deque()
        """The one that became idle last is at the end."""
        self._make()  # a package that is missing is to be said before a call is taken

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer when the head is there."""
        given = read_timeouts(request.extensions.get("timeout"))
        longest = None if given.read is None or given.first_byte is None else max(given.read, given.first_byte)
        timeout = {"connect": given.connect, "write": given.write, "read": longest, "pool": None}
        request.extensions = {**request.extensions, "timeout": timeout}
        whole = getattr(request.stream, "body", None)
        if isinstance(whole, bytes):
            request.stream = httpx.ByteStream(whole)
        connection = await self._take_idle() or _Connection(self._make(), self._idle.append, self._open.discard)
        self._open.add(connection)
        return await connection.call(request)

    async def aclose(self) -> None:
        """Close every connection."""
        self._idle.clear()
        for connection in list(self._open):
            await connection.close()

    async def _take_idle(self) -> "_Connection | None":
        """Take the one used last, and close those that nobody has taken for long."""
        while self._idle and self._idle[0].idle_s > self._keepalive_s:
            await self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_left_alone():
                return connection
            await connection.close()
        return None

    def _make(self) -> httpx.AsyncHTTPTransport:
        proxy = self._proxy
        try:
            return httpx.AsyncHTTPTransport(
                verify=self._tls,
                http2=self._has_http2,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=self._keepalive_s),
                proxy=None
                if proxy is None
                else httpx.Proxy(proxy.url, ssl_context=self._tls if proxy.scheme == "https" else None),
                trust_env=False,
            )
        except ImportError as error:
            raise httpx.ProxyError(
                f"the proxy {proxy.host if proxy else ''} speaks SOCKS, which needs the package socksio:"
                " pip install 'httpx2[socks]'"
            ) from error


class _Connection:
    """A transport of httpx's with one connection at most."""

    def __init__(
        self,
        transport: httpx.AsyncHTTPTransport,
        on_idle: Callable[["_Connection"], None],
        on_gone: Callable[["_Connection"], None],
    ) -> None:
        self._transport = transport
        self._on_idle = on_idle
        self._on_gone = on_gone
        self._stream: Any = None
        self._idle_since = 0.0

    @property
    def idle_s(self) -> float:
        """How long it has carried no call."""
        return time.monotonic() - self._idle_since

    def is_left_alone(self) -> bool:
        """Tell whether the upstream has left the idle connection alone, as far as this machine knows."""
        return not self._stream.get_extra_info("is_readable")

    async def call(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the connection is free again when its answer has been read to the end and closed."""
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            await self.close()
            raise
        self._stream = response.extensions["network_stream"]
        response.stream = _Answer(cast("httpx.AsyncByteStream", response.stream), self)
        return response

    def release(self) -> None:
        """Wait for the next call."""
        self._idle_since = time.monotonic()
        self._on_idle(self)

    async def close(self) -> None:
        """Close, whatever is under way."""
        self._on_gone(self)
        await self._transport.aclose()


class _Answer(httpx.AsyncByteStream):
    """An answer's blocks; closed before their end, it takes its connection with it."""

    def __init__(self, stream: httpx.AsyncByteStream, connection: _Connection) -> None:
        self._stream = stream
        self._connection = connection
        self._is_whole = self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._stream:
            yield block
        self._is_whole = True

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_whole:
            await self._connection.close()
            return
        await self._stream.aclose()
        self._connection.release()
