"""Request bodies that come block by block, and answers that do not wait for their end."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from proxy.wire.pool import Pool
from tests.proxy.wire.calls import each, read, request
from tests.proxy.wire.raw_upstream import RawUpstream, read_exactly, read_head, reset, wait_gone
from tests.upstream import ScriptedUpstream, plain

EARLY = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large"


def url(upstream: ScriptedUpstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536
        await asyncio.sleep(0)


async def test_blocks_are_sent_as_they_come_each_as_a_chunk_with_trailers_behind(pool: Pool) -> None:
    received: list[bytes] = []
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(connection: socket.socket, _: int) -> None:
        received.append(read_head(connection))
        received.append(read_exactly(connection, 8))
        loop.call_soon_threadsafe(go_on.set)
        received.append(read_exactly(connection, 8 + 3 + 6 + 2))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def blocks() -> AsyncIterator[bytes]:
        yield b"one"
        await go_on.wait()
        yield b""
        yield b"two"

    with RawUpstream(script) as upstream:
        call = request("POST", upstream.url, body=blocks(), trailers=lambda: [(b"X", b"1")])
        assert await read(await pool.handle_async_request(call)) == []
    assert received[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\nX: 1\r\n\r\n"]


async def test_a_sized_body_in_blocks_goes_out_bare(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(call.body)
    call = request("PUT", url(upstream), fields=[(b"Content-Length", b"6")], body=each([b"one", b"two"]))
    assert await read(await pool.handle_async_request(call)) == [b"onetwo"]
    assert pool.connections == 1


@pytest.mark.parametrize("length", [b"5", b"7"])
async def test_a_body_that_belies_its_length_ends_the_call(pool: Pool, length: bytes) -> None:
    with RawUpstream(lambda connection, _: wait_gone(connection)) as upstream:
        call = request("PUT", upstream.url, fields=[(b"Content-Length", length)], body=each([b"one", b"two"]))
        with pytest.raises(httpx.LocalProtocolError, match="declared"):
            await pool.handle_async_request(call)
    assert pool.connections == 0


async def test_without_framing_no_body_is_sent_or_asked_for(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(call.body)

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    call = request("GET", url(upstream), body=never())
    call.headers = httpx.Headers([(b"Host", b"h")])
    assert await read(await pool.handle_async_request(call)) == []


async def test_what_the_body_raises_is_what_the_caller_gets_and_the_upstream_gets_no_end(pool: Pool) -> None:
    received: list[bytes] = []

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        while block := connection.recv(65536):
            received.append(block)
        ended.set()

    ended = threading.Event()

    class ClientLeftError(Exception):
        pass

    async def blocks() -> AsyncIterator[bytes]:
        yield b"x"
        raise ClientLeftError

    with RawUpstream(script) as upstream:
        with pytest.raises(ClientLeftError):
            await pool.handle_async_request(request("POST", upstream.url, body=blocks()))
        assert pool.connections == 0
        assert await asyncio.to_thread(ended.wait, 5)
    assert b"".join(received) == b"1\r\nx\r\n"


async def test_an_answer_is_there_while_the_request_is_still_on_its_way(pool: Pool) -> None:
    go_on = asyncio.Event()

    def script(connection: socket.socket, _: int) -> None:
        while True:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while (chunk := read_exactly(connection, 6)) != b"1\r\n!\r\n":
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
            read_exactly(connection, 5)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"a"
        await go_on.wait()
        yield b"b"
        yield b"!"

    with RawUpstream(script) as upstream:
        for _ in range(2):
            go_on.clear()
            response = await pool.handle_async_request(request("POST", upstream.url, body=blocks()))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert await anext(aiter(response.stream)) == b"a"
            go_on.set()
            assert [block async for block in response.stream] == [b"b"]
            async with asyncio.timeout(5):
                while not pool.idle_connections:
                    await asyncio.sleep(0.001)
            await response.aclose()
        assert upstream.connections == 1


async def test_closing_the_answer_ends_the_upload_and_the_connection(pool: Pool) -> None:
    gone = threading.Event()
    closed = asyncio.Event()

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if wait_gone(connection):
            gone.set()

    async def blocks() -> AsyncIterator[bytes]:
        try:
            async for block in endless():
                yield block
        finally:
            closed.set()

    with RawUpstream(script) as upstream:
        response = await pool.handle_async_request(request("POST", upstream.url, body=blocks()))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert [block async for block in response.stream] == [b"ok"]
        assert pool.connections == 1
        await response.aclose()
        assert closed.is_set()
        assert await asyncio.to_thread(gone.wait, 5)
    assert pool.connections == 0


@pytest.mark.parametrize("how", ["close", "reset after", "linger"])
@pytest.mark.parametrize("body", ["blocks", "whole"])
async def test_an_upstream_that_answers_early_and_closes_is_heard(pool: Pool, how: str, body: str) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(EARLY)
        if how == "linger":
            connection.shutdown(socket.SHUT_WR)
            wait_gone(connection)
        elif how == "reset after":
            time.sleep(0.05)
            reset(connection)

    with RawUpstream(script) as upstream:
        for _ in range(20):
            content = endless() if body == "blocks" else b"x" * 20_000_000
            response = await pool.handle_async_request(request("POST", upstream.url, body=content))
            assert response.status_code == 413
            assert b"".join(await read(response)) == b"too large"
    assert pool.connections == 0


@pytest.mark.parametrize("body", ["blocks", "whole"])
async def test_an_upstream_that_answers_at_the_door_and_closes_is_heard(pool: Pool, body: str) -> None:
    """A full server may answer before it is asked; the loop is late, so that the answer is there before the request."""

    def script(connection: socket.socket, _: int) -> None:
        connection.sendall(EARLY)

    async def keep_busy() -> None:
        while True:
            time.sleep(0.02)  # noqa: ASYNC251
            await asyncio.sleep(0)

    busy = asyncio.create_task(keep_busy())
    with RawUpstream(script) as upstream:
        for _ in range(5):
            content = endless() if body == "blocks" else b"x" * 1000
            response = await pool.handle_async_request(request("POST", upstream.url, body=content))
            assert (response.status_code, b"".join(await read(response))) == (413, b"too large")
    busy.cancel()


async def test_an_upload_stops_when_the_upstream_refuses_the_rest(pool: Pool) -> None:
    """RFC 9112, 9.5."""

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(EARLY[:-9])
        connection.settimeout(0.3)
        assert not wait_gone(connection)
        connection.sendall(b"too large")

    with RawUpstream(script) as upstream:
        response = await pool.handle_async_request(request("POST", upstream.url, body=endless()))
        assert b"".join(await read(response)) == b"too large"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_upload_goes_at_the_upstreams_pace(pool: Pool) -> None:
    """What was not taken is in two sockets' buffers and ours: a few megabytes whatever the size of the upload."""
    produced = 0
    go_on = threading.Event()

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        go_on.wait(20)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        wait_gone(connection)

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal produced
        async for block in endless():
            produced += len(block)
            yield block

    with RawUpstream(script) as upstream:
        call = asyncio.create_task(pool.handle_async_request(request("POST", upstream.url, body=blocks())))
        before = -1
        while produced != before or not produced:
            before = produced
            await asyncio.sleep(0.2)
        assert produced < 16_000_000
        go_on.set()
        await (await call).aclose()


@pytest.mark.parametrize("body", ["blocks", "whole"])
async def test_an_upstream_that_takes_nothing_more_is_a_write_timeout(pool: Pool, body: str) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        threading.Event().wait(1)

    with RawUpstream(script) as upstream:
        content = endless() if body == "blocks" else b"x" * 30_000_000
        call = request("POST", upstream.url, body=content, timeouts={"write": 0.3, "first_byte": 20})
        with pytest.raises(httpx.WriteTimeout, match="took no more of the request"):
            await pool.handle_async_request(call)
        assert pool.connections == 0


async def test_a_slow_upstream_that_goes_on_taking_is_no_write_timeout(pool: Pool) -> None:
    size = 4_000_000

    def script(connection: socket.socket, _: int) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        read_head(connection)
        received = 0
        while received < size:
            received += len(connection.recv(min(size - received, 400_000)))
            time.sleep(0.03)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with RawUpstream(script) as upstream:
        call = request("POST", upstream.url, body=b"x" * size, timeouts={"write": 0.25, "first_byte": 5})
        assert (await pool.handle_async_request(call)).status_code == 204


async def test_a_client_that_is_slow_to_send_is_no_silence_of_the_upstream(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda call: plain(call.body)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0.5)
        yield b"b"

    times: dict[str, float | None] = {"write": 0.1, "first_byte": 0.3, "read": 0.1}
    assert await read(
        await pool.handle_async_request(request("POST", url(upstream), body=blocks(), timeouts=times))
    ) == [b"ab"]


async def test_an_expectation_is_the_callers_who_hears_the_100(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(call.body)
    may_send = asyncio.Event()
    told: list[int] = []

    def on_interim(status: int, _reason: bytes, _fields: list[tuple[bytes, bytes]]) -> None:
        told.append(status)
        may_send.set()

    async def blocks() -> AsyncIterator[bytes]:
        await may_send.wait()
        yield b"asked for"

    fields = [(b"Expect", b"100-continue")]
    call = request("POST", url(upstream), fields=fields, body=blocks(), informational=on_interim)
    assert await read(await pool.handle_async_request(call)) == [b"asked for"]
    assert told == [100]
