"""Which connections carry a second call, and which call is sent a second time."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable

import httpx2 as httpx
import pytest

from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.process_state import open_sockets
from tests.proxy.wire.calls import each, read, request
from tests.proxy.wire.raw_upstream import RawUpstream, read_exactly, read_head, reset, wait_gone
from tests.upstream import STREAM_END, STREAM_HEAD, Dawdle, Hangup, Pause, ScriptedUpstream, framed, plain

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def url(upstream: ScriptedUpstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_calls_one_after_the_other_share_a_connection(pool: Pool, upstream: ScriptedUpstream) -> None:
    answers = [plain(b"sized"), [STREAM_HEAD, framed(b"x"), STREAM_END], [b"HTTP/1.1 204 No Content\r\n\r\n"]]
    for method in ["GET", "POST", "HEAD", "PUT"] * 3:
        answer = plain(b"")[:1] if method == "HEAD" else answers[len(upstream.calls) % 3]
        upstream.script = lambda _call, answer=answer: answer  # type: ignore[misc]
        await read(await pool.handle_async_request(request(method, url(upstream), body=b"")))
    assert upstream.connections == 1


async def test_the_connection_used_last_is_used_next(pool: Pool, upstream: ScriptedUpstream) -> None:
    pauses: dict[bytes, Pause] = {b"/1": Pause(), b"/2": Pause()}
    upstream.script = lambda call: [*([pauses[call.target]] if call.target in pauses else []), *plain(b"x")]
    first = asyncio.create_task(pool.handle_async_request(request("GET", url(upstream) + "/1")))
    await wait_until(pauses[b"/1"].reached.is_set)
    second = asyncio.create_task(pool.handle_async_request(request("GET", url(upstream) + "/2")))
    await wait_until(pauses[b"/2"].reached.is_set)
    for number, task in ((b"/2", second), (b"/1", first)):
        pauses[number].let_go()
        await read(await task)
    for _ in range(3):
        await read(await pool.handle_async_request(request("GET", url(upstream))))
    assert [call.connection for call in upstream.calls[2:]] == [upstream.calls[0].connection] * 3


async def test_each_upstream_has_connections_of_its_own(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: plain(b"1")
    with ScriptedUpstream(script=lambda _call: plain(b"2")) as other:
        for _ in range(3):
            assert await read(await pool.handle_async_request(request("GET", url(upstream)))) == [b"1"]
            assert await read(await pool.handle_async_request(request("GET", url(other)))) == [b"2"]
        assert (upstream.connections, other.connections) == (1, 1)


async def test_hundreds_of_streams_wait_for_nobody_and_the_next_calls_still_reuse(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    pause = Pause()
    upstream.script = lambda call: (
        [STREAM_HEAD, framed(b"first"), pause, framed(b"last"), STREAM_END] if call.target == b"/s" else plain(b"ok")
    )
    pause.wait = _waiter(pause)  # type: ignore[method-assign]
    streams = await asyncio.gather(
        *(pool.handle_async_request(request("GET", url(upstream) + "/s", timeouts={"connect": 20})) for _ in range(300))
    )
    assert pool.connections == 300
    for _ in range(10):
        await read(await pool.handle_async_request(request("GET", url(upstream))))
    assert pool.connections == 301
    pause.let_go()
    for answer in await asyncio.gather(*(read(stream) for stream in streams)):
        assert answer == [b"first", b"last"]


def _waiter(pause: Pause) -> Callable[[], "asyncio.Future[None]"]:
    """Wait without a thread for each stream, of which asyncio has a few only."""

    async def wait() -> None:
        while not pause._go.is_set():
            await asyncio.sleep(0.01)

    return wait  # type: ignore[return-value]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 Stranger's\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
    ],
)
async def test_a_connection_that_is_not_clean_carries_no_second_call(
    pool: Pool, upstream: ScriptedUpstream, answer: bytes
) -> None:
    upstream.script = lambda _call: [answer]
    for _ in range(2):
        assert b"".join(await read(await pool.handle_async_request(request("GET", url(upstream))))) in (b"ok", b"")
    assert upstream.connections == 2
    assert pool.connections == 0


async def test_a_request_that_says_close_is_the_last_one(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: plain(b"ok")
    for _ in range(2):
        await read(await pool.handle_async_request(request("GET", url(upstream), fields=[(b"Connection", b"close")])))
    assert upstream.connections == 2


async def test_an_old_server_that_keeps_alive_is_used_again(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"]
    for _ in range(2):
        await read(await pool.handle_async_request(request("GET", url(upstream))))
    assert upstream.connections == 1


async def test_an_answer_that_is_not_read_to_its_end_costs_its_connection(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    pause = Pause()
    upstream.script = lambda _call: [STREAM_HEAD, framed(b"x"), pause, STREAM_END]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    await response.aclose()
    await response.aclose()
    assert pool.connections == 0
    pause.let_go()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    with pytest.raises(httpx.StreamClosed):
        await anext(aiter(response.stream))


async def test_closing_a_read_answer_does_not_touch_the_call_that_came_after_it(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda _call: plain(b"1")
    first = await pool.handle_async_request(request("GET", url(upstream)))
    assert isinstance(first.stream, httpx.AsyncByteStream)
    assert [block async for block in first.stream] == [b"1"]
    pause = Pause()
    upstream.script = lambda _call: [STREAM_HEAD, pause, framed(b"2"), STREAM_END]
    second = await pool.handle_async_request(request("GET", url(upstream)))
    await first.aclose()
    pause.let_go()
    assert await read(second) == [b"2"]
    assert upstream.connections == 1


async def test_an_idle_connection_is_closed_when_its_time_is_over(upstream: ScriptedUpstream) -> None:
    pool = Pool(proxies=UpstreamProxies.from_environment({}), keepalive_s=0.2)
    upstream.script = lambda _call: plain(b"ok")
    before = open_sockets(os.getpid())
    for _ in range(3):
        await read(await pool.handle_async_request(request("GET", url(upstream))))
        await asyncio.sleep(0.1)
    assert upstream.connections == 1
    await wait_until(lambda: pool.connections == 0)
    await wait_until(lambda: open_sockets(os.getpid()) == before)
    await read(await pool.handle_async_request(request("GET", url(upstream))))
    assert upstream.connections == 2
    await pool.aclose()


async def test_a_connection_that_the_upstream_closes_while_idle_is_dropped_at_once(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda _call: [*plain(b"ok"), Dawdle(0.05), Hangup()]
    await read(await pool.handle_async_request(request("GET", url(upstream))))
    assert pool.connections == 1
    await wait_until(lambda: pool.connections == 0)


async def test_bytes_that_nobody_asked_for_are_never_the_next_answer(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: [*plain(b"ok"), Dawdle(0.05), *(plain(b"stranger") if call.target == b"/1" else [])]
    await read(await pool.handle_async_request(request("GET", url(upstream) + "/1")))
    await wait_until(lambda: pool.connections == 0)
    assert await read(await pool.handle_async_request(request("GET", url(upstream) + "/2"))) == [b"ok"]


@pytest.mark.parametrize("unasked", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nstranger"])
async def test_what_arrived_while_the_loop_was_busy_is_seen_before_a_paid_call_is_sent(
    pool: Pool, unasked: bytes
) -> None:
    """The end of the connection, or a stranger's answer, lies in the kernel; the loop has not looked yet."""
    done = threading.Event()
    heads: list[bytes] = []

    def script(connection: socket.socket, number: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(OK)
        if number == 1:
            started.wait(5)
            if unasked:
                connection.sendall(unasked)
            else:
                connection.close()
            done.set()
            wait_gone(connection)

    started = threading.Event()
    with RawUpstream(script) as upstream:
        await read(await pool.handle_async_request(request("POST", upstream.url)))
        assert pool.connections == 1
        started.set()
        assert done.wait(5)  # The loop stands still, on purpose.
        assert await read(await pool.handle_async_request(request("POST", upstream.url))) == [b"ok"]
        assert len(heads) == 2


def _hang_up_on_second_call(how: Callable[[socket.socket], None], heads: list[bytes]) -> RawUpstream:
    def script(connection: socket.socket, number: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(OK)
        if number == 1:
            heads.append(read_head(connection))
            how(connection)

    return RawUpstream(script)


@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
async def test_a_call_that_may_be_repeated_is_sent_once_more_when_a_kept_connection_dies(
    pool: Pool, how: Callable[[socket.socket], None], method: str
) -> None:
    heads: list[bytes] = []
    with _hang_up_on_second_call(how, heads) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        answer = await read(await pool.handle_async_request(request(method, upstream.url)))
        assert answer == ([] if method == "HEAD" else [b"ok"])
    assert [head.split()[0].decode() for head in heads] == ["GET", method, method]


@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "QUERY"])
async def test_a_paid_call_is_never_sent_twice(pool: Pool, how: Callable[[socket.socket], None], method: str) -> None:
    heads: list[bytes] = []
    with _hang_up_on_second_call(how, heads) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError), match="before it answered"):
            await pool.handle_async_request(request(method, upstream.url))
        assert upstream.connections == 1
    assert [head.split()[0].decode() for head in heads] == ["GET", method]


async def test_a_large_paid_call_of_which_a_part_was_sent_is_never_sent_twice(pool: Pool) -> None:
    """Most of it still lies on our side when the connection dies; a part has been read."""
    heads: list[bytes] = []

    def script(connection: socket.socket, number: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(OK)
        if number == 1:
            heads.append(read_head(connection))
            read_exactly(connection, 100)
            connection.shutdown(socket.SHUT_WR)
            wait_gone(connection)

    with RawUpstream(script) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises(httpx.TransportError):
            await pool.handle_async_request(request("POST", upstream.url, body=b"x" * 50_000_000))
        assert upstream.connections == 1
    assert len(heads) == 2


async def test_a_body_that_comes_in_blocks_is_never_sent_twice(pool: Pool) -> None:
    heads: list[bytes] = []
    with _hang_up_on_second_call(socket.socket.close, heads) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises(httpx.TransportError):
            await pool.handle_async_request(request("PUT", upstream.url, body=each([b"x"])))
        assert upstream.connections == 1


async def test_a_call_is_repeated_once_only_and_never_on_a_fresh_connection(pool: Pool) -> None:
    def script(connection: socket.socket, number: int) -> None:
        read_head(connection)
        if number == 1:
            connection.sendall(OK)
            read_head(connection)

    with RawUpstream(script) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises(httpx.RemoteProtocolError):
            await pool.handle_async_request(request("GET", upstream.url))
        assert upstream.connections == 2
        with pytest.raises(httpx.RemoteProtocolError):
            await pool.handle_async_request(request("GET", upstream.url))
        assert upstream.connections == 3


async def test_a_call_is_not_repeated_once_a_byte_of_its_answer_has_come(pool: Pool) -> None:
    def script(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(OK)
        if number == 1:
            read_head(connection)
            connection.sendall(b"H")

    with RawUpstream(script) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises(httpx.RemoteProtocolError):
            await pool.handle_async_request(request("GET", upstream.url))
        assert upstream.connections == 1


async def test_a_time_out_is_no_reason_to_repeat(pool: Pool) -> None:
    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(OK)
        read_head(connection)
        wait_gone(connection)

    with RawUpstream(script) as upstream:
        await read(await pool.handle_async_request(request("GET", upstream.url)))
        with pytest.raises(httpx.ReadTimeout):
            await pool.handle_async_request(request("GET", upstream.url, timeouts={"first_byte": 0.1}))
        assert upstream.connections == 1


async def test_closing_the_pool_ends_calls_and_leaves_no_socket(upstream: ScriptedUpstream) -> None:
    pause = Pause()
    before = open_sockets(os.getpid())
    pool = Pool(proxies=UpstreamProxies.from_environment({}))
    upstream.script = lambda call: [pause, *plain(b"x")] if call.target == b"/wait" else [STREAM_HEAD, framed(b"x")]
    stream = await pool.handle_async_request(request("GET", url(upstream) + "/stream"))
    waiting = asyncio.create_task(pool.handle_async_request(request("GET", url(upstream) + "/wait")))
    await wait_until(pause.reached.is_set)
    await pool.aclose()
    with pytest.raises(httpx.ReadError, match="the pool was closed"):
        await waiting
    with pytest.raises(httpx.ReadError, match="the pool was closed"):
        await read(stream)
    pause.let_go()
    assert pool.connections == 0
    await wait_until(lambda: open_sockets(os.getpid()) == before)
