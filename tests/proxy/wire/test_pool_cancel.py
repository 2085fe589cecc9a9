"""Whoever waits may leave at any moment, and nothing of the call stays behind."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import httpx2 as httpx
import pytest

from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.process_state import open_sockets
from tests.proxy.wire.calls import read, request
from tests.proxy.wire.certificates import Authority


class Server(asyncio.Protocol):
    """An upstream on the test's own loop, for thousands of calls: what it does is in the request's target."""

    def __init__(self, open_connections: set["Server"]) -> None:
        self._open = open_connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if not data.startswith((b"GET", b"POST")):
            return
        match data.split(b" ", 2)[1]:
            case b"/now":
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            case b"/slow":
                loop.call_later(0.002, self._write, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            case b"/held":
                self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            case b"/stream":
                self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for n in range(5):
                    loop.call_later(0.001 * n, self._write, b"1\r\nx\r\n")
                loop.call_later(0.005, self._write, b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


async def one_call(pool: Pool, url: str, kind: str) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 10
            await asyncio.sleep(0.001)

    call = request("POST", f"{url}/{kind.removeprefix('upload-')}", body=blocks() if "upload" in kind else b"body")
    await read(await pool.handle_async_request(call))


@pytest.fixture
def tls(tmp_path: Path, request: pytest.FixtureRequest) -> Authority | None:
    return Authority(tmp_path) if request.param else None


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("tls", "calls"), [(False, 3000), (True, 600)], indirect=["tls"], ids=["plain", "tls"])
async def test_thousands_of_departures_at_any_moment_leave_no_socket_task_or_connection(
    tls: Authority | None, calls: int
) -> None:
    chance = random.Random(7)
    at_server: set[Server] = set()
    loop = asyncio.get_running_loop()
    before = open_sockets(os.getpid())
    server = await loop.create_server(
        lambda: Server(at_server), "127.0.0.1", 0, backlog=1024, ssl=tls.server_context() if tls else None
    )
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    pool = Pool(proxies=UpstreamProxies.from_environment({}), tls=tls.client_context() if tls else None)
    ended = {"whole": 0, "cancelled": 0}

    async def depart() -> None:
        task = asyncio.create_task(one_call(pool, url, chance.choice(["now", "slow", "stream", "upload-slow"])))
        moment = chance.random()
        if moment < 0.1:
            await task
        elif moment < 0.5:
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(chance.random() * (0.04 if tls else 0.01))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        ended["cancelled" if task.cancelled() else "whole"] += 1

    async def walk() -> None:
        for _ in range(calls // 20):
            await depart()

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        stack.push_async_callback(pool.aclose)
        await asyncio.gather(*(walk() for _ in range(20)))
        assert min(ended.values()) > calls * 0.05
        for kind in ("now", "slow", "stream", "upload-slow"):
            await one_call(pool, url, kind)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert pool.connections == pool.idle_connections
    await settle(lambda: not at_server)
    await settle(lambda: open_sockets(os.getpid()) == before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_while_a_connection_is_made_leaves_no_socket(pool: Pool) -> None:
    before = open_sockets(os.getpid())
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        here = open_sockets(os.getpid())
        task = asyncio.create_task(
            pool.handle_async_request(request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}"))
        )
        await settle(lambda: open_sockets(os.getpid()) == here + 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await settle(lambda: open_sockets(os.getpid()) == before)


async def test_leaving_a_stream_closes_its_connection_even_unasked(pool: Pool) -> None:
    """A reader that is cancelled may have no chance to close the answer."""
    at_server: set[Server] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Server(at_server), "127.0.0.1", 0)
    # In every way out: uvloop waits for ever for a listening socket that is left behind.
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        response = await pool.handle_async_request(request("POST", f"{url}/held", body=b"x"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        blocks = aiter(response.stream)
        await anext(blocks)
        next_block = asyncio.ensure_future(anext(blocks))
        await asyncio.sleep(0)
        next_block.cancel()
        with pytest.raises(asyncio.CancelledError):
            await next_block
        assert pool.connections == 0
        await settle(lambda: not at_server)
