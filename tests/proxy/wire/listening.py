"""A listener in the test's own process, and clients on bare sockets."""

import asyncio
import logging
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from proxy.wire.client_call import ClientCall
from proxy.wire.client_connections import ClientLimits
from proxy.wire.listener import Listener

Serve = Callable[[ClientCall], Coroutine[None, None, None]]
LIMITS = ClientLimits(
    max_connections=100, max_head_bytes=8192, max_body_bytes=1 << 20, head_timeout_s=10, keep_alive_s=10, silence_s=10
)
GET = b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n"
WAIT_S = 10
BIG = 32 * 1024 * 1024
"""More than the kernel's buffers hold."""


def post(body: bytes, *fields: bytes) -> bytes:
    """Return a request with a sized body."""
    lines = [b"POST /v1/chat HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"POST /v1/chat HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


class Client:
    """One connection of a client."""

    def __init__(self, *, port: int, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.setblocking(False)
        self.port = port
        self._held = b""

    async def connect(self) -> None:
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(WAIT_S):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def until(self, mark: bytes) -> bytes:
        """Read until the mark has come, and return what came up to and with it."""
        async with asyncio.timeout(WAIT_S):
            while mark not in self._held:
                block = await asyncio.get_running_loop().sock_recv(self.socket, 262144)
                assert block, f"the connection ended before {mark!r}: {self._held[-500:]!r}"
                self._held += block
        found, mark, self._held = self._held.partition(mark)
        return found + mark

    async def rest(self, seconds: float = WAIT_S) -> bytes:
        """Read to the end of the connection; a reset is an error."""
        async with asyncio.timeout(seconds):
            blocks = [self._held]
            while block := await asyncio.get_running_loop().sock_recv(self.socket, 262144):
                blocks.append(block)
        self._held = b""
        return b"".join(blocks)

    def has_arrivals(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


@dataclass
class Listening:
    """What is running.

    Attributes:
        refusals: The statuses of the requests that were none.
    """

    listener: Listener
    port: int
    refusals: list[int] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def client(self, *, receive_bytes: int | None = None) -> Client:
        client = Client(port=self.port, receive_bytes=receive_bytes)
        self.clients.append(client)
        await client.connect()
        return client

    async def wait_connections(self, count: int, seconds: float = WAIT_S) -> None:
        """Wait until exactly that many are open."""
        await wait_until(lambda: self.listener.open_connections == count, seconds)


async def wait_until(condition: Callable[[], bool], seconds: float = WAIT_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        self.found.append(f"{record.name}: {record.getMessage()} {error!r}")


@asynccontextmanager
async def listening(serve: Serve, **limits: float) -> AsyncIterator[Listening]:
    """Run a listener; whatever its peers did, nothing of it may be logged, and no connection may stay."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    refusals: list[int] = []
    listener = Listener(serve, replace(LIMITS, **limits), refusals.append)
    bound = socket.create_server(("127.0.0.1", 0))
    await listener.open(bound)
    running = Listening(listener, bound.getsockname()[1], refusals)
    try:
        yield running
        for client in running.clients:
            client.close()
        await running.wait_connections(0)
    finally:
        for client in running.clients:
            client.close()
        await listener.drain(0)
        await listener.close()
        await asyncio.sleep(0)
        logging.getLogger().removeHandler(complaints)
    assert complaints.found == []


async def answer(call: ClientCall, body: bytes = b"ok", *fields: tuple[bytes, bytes], status: int = 200) -> None:
    """Answer with a sized body."""
    call.begin_answer(status, b"OK", [(b"content-length", b"%d" % len(body)), *fields], has_body=True)
    call.send(body)
    call.finish([])


async def echo(call: ClientCall) -> None:
    """Answer with the target and the body, when that has come."""
    blocks = []
    while block := await call.read():
        blocks.append(block)
    await answer(call, call.head.target + b" " + b"".join(blocks))
