"""httpx's own transport, for what our pool does not speak: HTTP/2, SOCKS, proxies that are reached over TLS.

It keeps the pool's contract as far as it can: fields and target go out as given and blocks come raw, but interim
answers and trailers are not told, and the time-out for the first byte is the one for every other.
"""

import importlib.util
import ssl

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
            "HTTP/2 to the upstreams needs the package h2: pip install 'httpx2[http2]', or leave it off."
        )


class HttpxTransport(httpx.AsyncBaseTransport):
    """httpx's transport behind the pool's reading of time-outs."""

    def __init__(self, tls: ssl.SSLContext, keepalive_s: float, *, proxy: UpstreamProxy | None, http2: bool) -> None:
        """Make a pool of httpx's own, without a bound.

        Raises:
            httpx.ProxyError: A SOCKS proxy needs a package that is missing.
        """
        try:
            self._transport = httpx.AsyncHTTPTransport(
                verify=tls,
                http2=http2,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_s),
                proxy=None
                if proxy is None
                else httpx.Proxy(proxy.url, ssl_context=tls if proxy.scheme == "https" else None),
                trust_env=False,
            )
        except ImportError as error:
            raise httpx.ProxyError(
                f"the proxy {proxy.host if proxy else ''} speaks SOCKS, which needs the package socksio:"
                " pip install 'httpx2[socks]'"
            ) from error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer when the head is there."""
        given = read_timeouts(request.extensions.get("timeout"))
        longest = None if given.read is None or given.first_byte is None else max(given.read, given.first_byte)
        timeout = {"connect": given.connect, "write": given.write, "read": longest, "pool": None}
        request.extensions = {**request.extensions, "timeout": timeout}
        whole = getattr(request.stream, "body", None)
        if isinstance(whole, bytes):
            request.stream = httpx.ByteStream(whole)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
