"""Opening a connection: name to addresses, the first one that answers, a tunnel if need be, TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx2 as httpx

from proxy.errors import HeadError
from proxy.wire.addresses import connect_first, find_addresses
from proxy.wire.head import encode_head
from proxy.wire.incoming_head import IncomingHead
from proxy.wire.upstream_proxy import UpstreamProxy

_TLS_GOODBYE_S = 1.0
"""How long a closing connection waits for the peer's closing message; asyncio's 30 s would pile sockets up."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an upstream is and how it is reached.

    Attributes:
        tls: None for plain HTTP.
        tunnel: The HTTP proxy that is asked for a tunnel; only with TLS.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    tunnel: UpstreamProxy | None = None


async def dial(endpoint: Endpoint, make_protocol: Callable[[], asyncio.Protocol], connect_s: float | None) -> None:
    """Open a connection and hand it to the protocol; when this fails or is cancelled, nothing stays open.

    Args:
        endpoint: The upstream.
        make_protocol: Called once, for the protocol of the finished connection.
        connect_s: Bounds all of it: name, TCP, tunnel, TLS.

    Raises:
        httpx.ConnectTimeout: It took longer.
        httpx.ConnectError: The name is unknown, nobody listens, or TLS has failed.
        httpx.ProxyError: The proxy does not tunnel.
    """
    try:
        async with asyncio.timeout(connect_s):
            await _open(endpoint, make_protocol)
    except TimeoutError as error:
        if not isinstance(error.__cause__, asyncio.CancelledError):
            raise _connect_error(endpoint, error) from error
        raise httpx.ConnectTimeout(
            f"{endpoint.host}:{endpoint.port}: no connection within {connect_s or 0:g} s"
        ) from error
    except (OSError, UnicodeError) as error:
        raise _connect_error(endpoint, error) from error


def _connect_error(endpoint: Endpoint, error: Exception) -> httpx.ConnectError:
    number = (
        error.errno if isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror)) else None
    )
    detail = os.strerror(number) if number else getattr(error, "strerror", None) or str(error) or type(error).__name__
    return httpx.ConnectError(f"{endpoint.host}:{endpoint.port}: {detail}")


async def _open(endpoint: Endpoint, make_protocol: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    proxy = endpoint.tunnel
    host, port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
    connected = await connect_first(await find_addresses(host, port))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.tls is None:
        await loop.create_connection(make_protocol, sock=connected)
    elif proxy is None:
        await loop.create_connection(
            make_protocol,
            sock=connected,
            ssl=endpoint.tls,
            server_hostname=endpoint.host,
            ssl_shutdown_timeout=_TLS_GOODBYE_S,
        )
    else:
        transport, tunnel = await loop.create_connection(_Tunnel, sock=connected)
        try:
            await tunnel.open(transport, endpoint, proxy)
            await _start_tls(transport, endpoint.tls, endpoint.host, make_protocol())
        except BaseException:
            transport.abort()
            raise


async def _start_tls(transport: asyncio.Transport, tls: ssl.SSLContext, host: str, protocol: asyncio.Protocol) -> None:
    secured = await asyncio.get_running_loop().start_tls(
        transport,
        protocol,
        tls,
        server_hostname=host,
        ssl_shutdown_timeout=_TLS_GOODBYE_S,
    )
    if secured is None:
        raise ConnectionResetError("the connection was closed while TLS began")
    protocol.connection_made(secured)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel (RFC 9110, 9.3.6)."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._incoming_head = IncomingHead()
        self._refusal: str | None = "closed the connection"

    async def open(self, transport: asyncio.Transport, endpoint: Endpoint, proxy: UpstreamProxy) -> None:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        target = f"{host}:{endpoint.port}".encode("ascii")
        fields = [(b"Host", target)]
        if proxy.authorization is not None:
            fields.append((b"Proxy-Authorization", proxy.authorization))
        transport.write(encode_head(b"CONNECT %b HTTP/1.1" % target, fields))
        await self._answered
        if self._refusal is not None:
            raise httpx.ProxyError(
                f"the proxy {proxy.host}:{proxy.port} opens no tunnel to {target.decode()}: {self._refusal}"
            )

    def data_received(self, data: bytes) -> None:
        if self._answered.done():
            return
        try:
            while data and (found := self._incoming_head.feed(data)) is not None:
                head, data = found
                if head.status < 200:
                    continue
                is_open = head.status < 300 and not data
                self._refusal = None if is_open else f"status {head.status}"
                self._answered.set_result(None)
                return
        except HeadError as error:
            self._refusal = str(error)
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._answered.done():
            self._answered.set_result(None)
