"""The connections to the upstreams, kept for the next call, behind httpx's transport interface.

There is no bound on how many there are: a pool that makes calls wait for each other's long streams fails them all at
once. Taking and giving back cost the same however many there are. The connection used last is used next, so that the
others can fall idle and close themselves.
"""

import os
import ssl
from pathlib import Path

import httpx2 as httpx

from proxy.wire.dial import Endpoint, dial
from proxy.wire.fields import Fields
from proxy.wire.httpx_transport import HttpxTransport, check_http2
from proxy.wire.upstream_connection import UpstreamConnection
from proxy.wire.upstream_proxy import UpstreamProxies
from proxy.wire.upstream_request import UpstreamRequest, read_request

KEEPALIVE_S = 2.0
"""Many servers close an idle connection after 5 s; a request sent at that moment is lost, and a paid call must not be
sent twice (RFC 9110, 9.2.2), so ours is closed well before."""

_Key = tuple[bytes, bytes, int | None]


class Pool(httpx.AsyncBaseTransport):
    """Connections to any number of upstreams.

    A request's fields are sent exactly as they stand, its framing among them; so is `extensions["target"]`. More of the
    extensions: `timeout` (`CallTimeouts`, or seconds by the same names), `informational` (told status, reason
    and fields of each interim answer), `trailers` (asked for the fields behind a chunked upload). An answer's
    extensions: `http_version`, `reason_phrase`, `trailers` (filled when the stream has ended), `network_stream` (101).
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        ca_file: Path | None = None,
        keepalive_s: float = KEEPALIVE_S,
        proxies: UpstreamProxies | None = None,
        http2: bool = False,
    ) -> None:
        """Make a pool without connections.

        Args:
            tls: How upstreams are verified; by default as the platform does, `SSL_CERT_FILE` and `SSL_CERT_DIR` heard.
            ca_file: Certificates that are trusted beside those.
            keepalive_s: How long a connection may be idle.
            proxies: The proxies on the way; by default those of the environment, read now.
            http2: Whether upstreams over TLS are offered HTTP/2, through httpx's own transport.

        Raises:
            SettingsError: The environment names no proper proxy, or a package for HTTP/2 is missing.
            OSError: `ca_file` cannot be read, or holds no certificate.
        """
        if http2:
            check_http2()
        self._tls = tls or ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)
        self._keepalive_s = keepalive_s
        self._proxies = proxies or UpstreamProxies.from_environment(os.environ)
        self._has_http2 = http2
        self._upstreams: dict[_Key, _Upstream | HttpxTransport] = {}
        self._last_url: httpx.URL | None = None
        self._last_upstream: _Upstream | HttpxTransport
        self._is_closed = False

    @property
    def connections(self) -> int:
        """How many connections of our own are open."""
        return sum(len(each.connections) for each in self._upstreams.copy().values() if isinstance(each, _Upstream))

    @property
    def idle_connections(self) -> int:
        """How many of those carry no call."""
        return sum(each.idle_connections for each in self._upstreams.copy().values() if isinstance(each, _Upstream))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer as soon as its head is there.

        The body of either may still be on its way; closing the response ends both.

        Raises:
            httpx.TransportError: There is no answer.
            RuntimeError: The pool is closed.
        """
        if self._is_closed:
            raise RuntimeError("the pool is closed")
        upstream = self._find_upstream(request.url)
        if isinstance(upstream, HttpxTransport):
            return await upstream.handle_async_request(request)
        return await upstream.call(read_request(request, upstream.form, upstream.added))

    async def aclose(self) -> None:
        """Close every connection, and wait until they are; calls under way end with an error."""
        self._is_closed = True
        upstreams, self._upstreams = self._upstreams, {}
        for upstream in upstreams.values():
            await upstream.aclose()

    def _find_upstream(self, url: httpx.URL) -> "_Upstream | HttpxTransport":
        if url is self._last_url:  # taking it apart costs more than the rest of the search
            return self._last_upstream
        key = (url.raw_scheme, url.raw_host, url.port)
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = self._make_upstream(url)
        self._last_url, self._last_upstream = url, upstream
        return upstream

    def _make_upstream(self, url: httpx.URL) -> "_Upstream | HttpxTransport":
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"an upstream is reached by http or https, not by {url.scheme!r}")
        is_tls = url.scheme == "https"
        host, port = url.raw_host.decode("ascii"), url.port or (443 if is_tls else 80)
        proxy = self._proxies.find(url.scheme, host, port)
        if (is_tls and self._has_http2) or (proxy is not None and proxy.scheme != "http"):
            return HttpxTransport(self._tls, self._keepalive_s, proxy=proxy, http2=is_tls and self._has_http2)
        if proxy is None or is_tls:
            return _Upstream(Endpoint(host, port, self._tls if is_tls else None, proxy), self._keepalive_s)
        added = [(b"Proxy-Authorization", proxy.authorization)] if proxy.authorization is not None else []
        form = b"http://%b" % url.netloc
        return _Upstream(Endpoint(proxy.host, proxy.port, None), self._keepalive_s, form, added)


class _Upstream:
    """The connections to one upstream.

    Attributes:
        form: What a target is put behind: a proxy for plain HTTP takes the absolute form.
        added: Fields for that proxy.
        connections: All that are open, idle or not.
    """

    def __init__(self, endpoint: Endpoint, keepalive_s: float, form: bytes = b"", added: Fields | None = None) -> None:
        self.form = form
        self.added = added
        self.connections: set[UpstreamConnection] = set()
        self._endpoint = endpoint
        self._name = f"{endpoint.host}:{endpoint.port}"
        self._keepalive_s = keepalive_s
        self._idle: dict[UpstreamConnection, None] = {}
        """The one that became idle last is at the end."""
        self._is_closed = False

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    async def call(self, request: UpstreamRequest) -> httpx.Response:
        connection = self._take_idle() or await self._connect(request.timeouts.connect)
        is_first = not connection.has_answered
        try:
            return await connection.send(request)
        except httpx.TransportError:
            if is_first or not connection.may_repeat():
                raise
        connection = await self._connect(request.timeouts.connect)
        return await connection.send(request)

    async def aclose(self) -> None:
        self._is_closed = True
        for connection in list(self.connections):
            connection.abort(httpx.ReadError("the pool was closed while the call was under way"))
            await connection.lost.wait()

    def _take_idle(self) -> UpstreamConnection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def _connect(self, connect_s: float | None) -> UpstreamConnection:
        connection = UpstreamConnection(self._name, self._keepalive_s, on_idle=self._on_idle, on_gone=self._on_gone)
        await dial(self._endpoint, lambda: connection, connect_s)
        self.connections.add(connection)
        if self._is_closed or connection.is_gone:
            connection.abort()
            raise httpx.ConnectError(f"{self._name}: the connection was closed at once")
        return connection

    def _on_idle(self, connection: UpstreamConnection) -> None:
        self._idle[connection] = None

    def _on_gone(self, connection: UpstreamConnection) -> None:
        self._idle.pop(connection, None)
        self.connections.discard(connection)
