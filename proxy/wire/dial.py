"""Opening a connection: name to addresses, the first one that answers, a tunnel if need be, TLS.

Names are looked up by the platform, for each connection anew. Several addresses are tried one after the other without
waiting for each to fail (RFC 8305), which uvloop does not do by itself.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest

import httpx2 as httpx

from proxy.errors import HeadError
from proxy.wire.head import encode_head
from proxy.wire.incoming_head import IncomingHead
from proxy.wire.upstream_proxy import UpstreamProxy

_HEAD_START_S = 0.25
"""How much sooner an address is tried than the next one (RFC 8305, 5)."""
_TLS_GOODBYE_S = 1.0
"""How long a closing connection waits for the peer's closing message; asyncio's 30 s would pile sockets up."""

_Address = tuple[socket.AddressFamily, tuple[object, ...]]


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
    detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return httpx.ConnectError(f"{endpoint.host}:{endpoint.port}: {detail}")


async def _open(endpoint: Endpoint, make_protocol: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    proxy = endpoint.tunnel
    host, port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
    connected = await _connect(host, port)
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


async def _connect(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses."""
    loop = asyncio.get_running_loop()
    waiting = await _addresses(host, port)
    tries: dict[asyncio.Task[None], socket.socket] = {}
    errors: list[OSError] = []
    try:
        while waiting or tries:
            if waiting:
                family, address = waiting.pop(0)
                tried = socket.socket(family, socket.SOCK_STREAM)
                tried.setblocking(False)
                tries[loop.create_task(loop.sock_connect(tried, address), name="connect")] = tried
            done, _ = await asyncio.wait(
                tries, timeout=_HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failure = task.exception()
                if failure is None:
                    return tries.pop(task)
                tries.pop(task).close()
                errors.append(failure if isinstance(failure, OSError) else OSError(str(failure)))
        raise errors[0]
    finally:
        for task in tries:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if tries:
                await asyncio.wait(tries)
        for each in tries.values():
            each.close()


async def _addresses(host: str, port: int) -> list[_Address]:
    """Return the host's addresses in the platform's order, the families taking turns (RFC 8305, 4)."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass
    else:
        return [(socket.AF_INET6 if version == 6 else socket.AF_INET, (host, port))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[_Address] = [(family, address) for family, _, _, _, address in found]
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]
