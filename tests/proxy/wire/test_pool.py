"""One call through the pool: what goes out, what comes back, and how it can fail."""

import asyncio
import socket
import threading
import time

import httpx2 as httpx
import pytest

from proxy.wire.pool import Pool
from tests.proxy.wire.calls import each, read, request
from tests.proxy.wire.raw_upstream import RawUpstream, read_exactly, read_head, wait_gone
from tests.upstream import STREAM_END, STREAM_HEAD, Hangup, Pause, Reset, ScriptedUpstream, Stall, framed, plain

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def url(upstream: ScriptedUpstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


async def test_a_request_is_sent_exactly_as_it_was_given(pool: Pool) -> None:
    heads: list[bytes] = []

    def script(connection: socket.socket, _: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(OK)

    with RawUpstream(script) as upstream:
        fields = [(b"X-Twice", b"1"), (b"aCCept", b"\xe9"), (b"X-Twice", b"2"), (b"X-Empty", b"")]
        call = request("GET", upstream.url, fields=fields, target=b"/a%2Fb/../c?q=%zz&")
        call.method = "M-Search"
        assert await read(await pool.handle_async_request(call)) == [b"ok"]
    (head,) = heads
    assert head.split(b"\r\n") == [
        b"M-Search /a%2Fb/../c?q=%zz& HTTP/1.1",
        b"Host: upstream.test",
        b"X-Twice: 1",
        b"aCCept: \xe9",
        b"X-Twice: 2",
        b"X-Empty: ",
        b"",
        b"",
    ]


async def test_an_answer_is_given_exactly_as_it_came(pool: Pool, upstream: ScriptedUpstream) -> None:
    head = b"HTTP/1.1 299 Quite OK\r\nSet-Cookie: a\r\nX-a: \xff\r\nset-cookie: b\r\nContent-Encoding: gzip\r\n"
    upstream.script = lambda _call: [head + b"Content-Length: 4\r\n\r\n\x1f\x8b\x00\x00"]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    assert (response.status_code, response.extensions["reason_phrase"]) == (299, b"Quite OK")
    assert response.extensions["http_version"] == b"HTTP/1.1"
    assert response.headers.raw[:4] == [
        (b"Set-Cookie", b"a"), (b"X-a", b"\xff"), (b"set-cookie", b"b"), (b"Content-Encoding", b"gzip")
    ]  # fmt: skip
    assert await read(response) == [b"\x1f\x8b\x00\x00"]


async def test_the_head_is_there_before_the_body_and_each_block_before_the_next(
    pool: Pool, upstream: ScriptedUpstream
) -> None:
    pauses = [Pause(), Pause()]
    upstream.script = lambda _call: [STREAM_HEAD, pauses[0], framed(b"one"), pauses[1], framed(b"two"), STREAM_END]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    blocks = aiter(response.stream)
    pauses[0].let_go()
    assert await anext(blocks) == b"one"
    pauses[1].let_go()
    assert await anext(blocks) == b"two"
    with pytest.raises(StopAsyncIteration):
        await anext(blocks)
    await response.aclose()


async def test_what_has_come_is_read_without_a_turn_of_the_loop(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [STREAM_HEAD + b"".join(framed(b"%d" % n) for n in range(50)) + STREAM_END]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    while response.stream.unread_bytes < 90:  # type: ignore[union-attr]
        await asyncio.sleep(0.001)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    assert len(await read(response)) == 50
    assert turns == 1


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "200 OK"])
async def test_an_answer_without_a_body_ends_with_its_head(
    pool: Pool, upstream: ScriptedUpstream, method: str, status: str
) -> None:
    length = b"" if status == "200 OK" and method == "GET" else b"content-length: 5\r\n"
    ending = b"content-length: 0\r\n" if not length else b""
    upstream.script = lambda _call: [b"HTTP/1.1 %b\r\n%b%b\r\n" % (status.encode(), length, ending)]
    for _ in range(2):
        assert await read(await pool.handle_async_request(request(method, url(upstream)))) == []
    assert upstream.connections == 1


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
async def test_a_body_that_is_whole_arrives_whole(pool: Pool, upstream: ScriptedUpstream, size: int) -> None:
    upstream.script = lambda call: plain(call.body)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    answer = await read(await pool.handle_async_request(request("POST", url(upstream), body=body)))
    assert b"".join(answer) == body == upstream.calls[0].body


async def test_a_whole_body_may_be_httpxs_own_and_may_be_chunked(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(call.body)
    call = httpx.Request(
        "POST",
        url(upstream),
        headers=[(b"Host", b"h"), (b"transfer-encoding", b"Chunked")],
        stream=httpx.ByteStream(b"whole"),
    )
    assert await read(await pool.handle_async_request(call)) == [b"whole"]


async def test_interim_answers_are_told_and_do_not_end_the_call(pool: Pool, upstream: ScriptedUpstream) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\nLink: <b>\r\n\r\n"
    upstream.script = lambda _call: [interim, *plain(b"done")]
    told: list[object] = []
    call = request("GET", url(upstream), informational=lambda *given: told.append(given))
    assert await read(await pool.handle_async_request(call)) == [b"done"]
    assert told == [(102, b"Processing", []), (103, b"Early Hints", [(b"Link", b"<a>"), (b"Link", b"<b>")])]


async def test_interim_answers_without_an_end_end_the_call(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, Stall()]
    with pytest.raises(httpx.RemoteProtocolError, match="more than 32 interim answers"):
        await pool.handle_async_request(request("GET", url(upstream)))


async def test_trailers_are_there_when_the_stream_has_ended(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [STREAM_HEAD, framed(b"x") + b"0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    trailers = response.extensions["trailers"]
    assert await read(response) == [b"x"]
    assert trailers == [(b"X-Sum", b"1"), (b"x-sum", b"2")]


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
async def test_an_answer_that_ends_with_its_connection_is_whole(
    pool: Pool, upstream: ScriptedUpstream, head: bytes
) -> None:
    upstream.script = lambda _call: [head, b"all ", b"of it", Hangup()]
    assert b"".join(await read(await pool.handle_async_request(request("GET", url(upstream))))) == b"all of it"


@pytest.mark.parametrize(
    ("begun", "then", "words"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"", "5 bytes of a body of 9 are missing"),
        (STREAM_HEAD + framed(b"half"), b"", "ended before its last chunk"),
        (STREAM_HEAD + framed(b"half"), b"zz\r\n", "no hexadecimal number"),
    ],
)
async def test_an_answer_that_is_cut_or_broken_fails_behind_what_had_come(
    pool: Pool, upstream: ScriptedUpstream, begun: bytes, then: bytes, words: str
) -> None:
    pause = Pause()
    upstream.script = lambda _call: [begun, pause, then, Hangup()]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    blocks = aiter(response.stream)
    assert await anext(blocks) == b"half"
    pause.let_go()
    with pytest.raises(httpx.RemoteProtocolError, match=words):
        await anext(blocks)
    await response.aclose()
    assert pool.connections == 0


async def test_a_reset_within_an_answer_is_a_read_error(pool: Pool, upstream: ScriptedUpstream) -> None:
    pause = Pause()
    upstream.script = lambda _call: [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", pause, Reset()]
    response = await pool.handle_async_request(request("GET", url(upstream)))
    pause.let_go()
    with pytest.raises(httpx.ReadError, match="broke the connection within its answer"):
        await read(response)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "breaks the grammar"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "breaks the grammar"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "no single number"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "other than chunked"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 2000 + b"\r\n", "more than 1000 header fields"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 300_000, "more than 262144 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "did not ask for"),
    ],
)
async def test_a_head_that_is_none_is_a_protocol_error_and_never_quoted(
    pool: Pool, upstream: ScriptedUpstream, answer: bytes, words: str
) -> None:
    upstream.script = lambda _call: [answer, Stall()]
    with pytest.raises(httpx.RemoteProtocolError, match=words) as caught:
        await pool.handle_async_request(request("GET", url(upstream)))
    assert "no colon" not in str(caught.value)
    assert pool.connections == 0


async def test_a_head_that_trickles_in_is_read_and_costs_no_more(pool: Pool) -> None:
    head = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\ncontent-length: 2\r\n\r\nok"

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(head), 7):
            connection.sendall(head[place : place + 7])

    with RawUpstream(script) as upstream:
        response = await pool.handle_async_request(request("GET", upstream.url))
        assert len(response.headers["x"]) == 20_000
        assert b"".join(await read(response)) == b"ok"


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([Hangup()], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 200", Hangup()], httpx.RemoteProtocolError),
        ([Reset()], httpx.ReadError),
    ],
)
async def test_an_upstream_that_leaves_before_it_answers_is_an_error(
    pool: Pool, upstream: ScriptedUpstream, steps: list[object], error: type[Exception]
) -> None:
    upstream.script = lambda _call: steps  # type: ignore[assignment, return-value]
    with pytest.raises(error, match=f"127.0.0.1:{upstream.port}"):
        await pool.handle_async_request(request("GET", url(upstream)))
    assert len(upstream.calls) == 1
    assert pool.connections == 0


async def test_nobody_listening_is_a_connect_error(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(httpx.ConnectError, match=rf"127\.0\.0\.1:{port}: .*[Rr]efused"):
        await pool.handle_async_request(request("GET", f"http://127.0.0.1:{port}"))


async def test_a_name_that_nobody_knows_is_a_connect_error(pool: Pool) -> None:
    with pytest.raises(httpx.ConnectError, match=r"nowhere\.invalid:80: "):
        await pool.handle_async_request(request("GET", "http://nowhere.invalid"))


async def test_connecting_is_bounded_by_its_own_time(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.2 s"):
            await pool.handle_async_request(
                request("GET", f"http://127.0.0.1:{address[1]}", timeouts={"connect": 0.2, "first_byte": None})
            )
        for filler in fillers:
            filler.close()


async def test_the_first_byte_has_a_time_of_its_own(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [Stall()]
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout, match=r"began no answer within 0.3 s"):
        await pool.handle_async_request(request("GET", url(upstream), timeouts={"first_byte": 0.3, "read": 0.01}))
    assert 0.29 < time.monotonic() - began < 3
    assert pool.connections == 0


async def test_an_interim_answer_begins_the_wait_anew(pool: Pool, upstream: ScriptedUpstream) -> None:
    pauses = [Pause(), Pause()]
    upstream.script = lambda _call: [pauses[0], b"HTTP/1.1 102 Processing\r\n\r\n", pauses[1], *plain(b"ok")]
    threading.Timer(0.35, pauses[0].let_go).start()
    threading.Timer(0.7, pauses[1].let_go).start()
    call = request("GET", url(upstream), timeouts={"first_byte": 0.6})
    assert await read(await pool.handle_async_request(call)) == [b"ok"]


async def test_silence_within_an_answer_ends_it(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda _call: [STREAM_HEAD, framed(b"one"), Stall()]
    response = await pool.handle_async_request(request("GET", url(upstream), timeouts={"read": 0.2}))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    assert await anext(aiter(response.stream)) == b"one"
    with pytest.raises(httpx.ReadTimeout, match=r"sent no more of its answer within 0\.2 s"):
        await anext(aiter(response.stream))
    assert await asyncio.to_thread(upstream.departures.acquire, timeout=5)


async def test_a_reader_that_is_slow_holds_the_upstream_and_is_no_silence(pool: Pool) -> None:
    sent = 0

    def script(connection: socket.socket, _: int) -> None:
        nonlocal sent
        read_head(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            connection.sendall(b"x" * 65536)
            sent += 65536

    with RawUpstream(script) as upstream:
        response = await pool.handle_async_request(request("GET", upstream.url, timeouts={"read": 0.2}))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert response.stream.unread_bytes <= 128 * 1024 + 256 * 1024  # type: ignore[union-attr]
        assert sent < 16 * 1024 * 1024
        assert sum(map(len, await read(response))) == 64 * 1024 * 1024


async def test_an_upgraded_connection_is_a_stream_both_ways(pool: Pool) -> None:
    def script(connection: socket.socket, _: int) -> None:
        assert b"Upgrade: websocket" in read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst")
        assert read_exactly(connection, 200_000) == b"c" * 200_000
        connection.sendall(b"s" * 300_000)

    with RawUpstream(script) as upstream:
        fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        response = await pool.handle_async_request(
            request("GET", upstream.url, fields=fields, timeouts={"read": 0.1, "first_byte": 0.1})
        )
        assert response.status_code == 101
        stream = response.extensions["network_stream"]
        assert await stream.read(3) == b"fir"
        assert await stream.read(100) == b"st"
        with pytest.raises(httpx.ReadTimeout):
            await stream.read(100, timeout=0.2)
        await stream.write(b"c" * 200_000)
        received = 0
        while data := await stream.read(65536):
            received += len(data)
        assert received == 300_000
        with pytest.raises(httpx.WriteError):
            await stream.write(b"late")
        await response.aclose()


async def test_closing_an_upgraded_connection_closes_it_for_the_upstream(pool: Pool) -> None:
    gone = threading.Event()

    def script(connection: socket.socket, _: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        if wait_gone(connection):
            gone.set()

    with RawUpstream(script) as upstream:
        response = await pool.handle_async_request(request("GET", upstream.url, fields=[(b"Upgrade", b"x")]))
        await response.aclose()
        assert await asyncio.to_thread(gone.wait, 5)
    assert pool.connections == 0


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/a b", []),
        (b"/a\r\nEvil: 1", []),
        (b"/", [(b"X", b"a\r\nEvil: 1")]),
        (b"/", [(b"X", b"a\nEvil: 1")]),
        (b"/", [(b"X\0", b"a")]),
        (b"/", [(b"Content-Length", b"1"), (b"Content-Length", b"1")]),
        (b"/", [(b"Content-Length", b"+5")]),
        (b"/", [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]),
        (b"/", [(b"Content-Length", b"5")]),
        (b"/", [(b"Transfer-Encoding", b"chunked, gzip")]),
    ],
)
async def test_a_request_that_would_be_another_one_is_never_sent(
    pool: Pool, upstream: ScriptedUpstream, target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    call = request("GET", url(upstream), fields=fields, body=b"", target=target)
    with pytest.raises(httpx.LocalProtocolError) as caught:
        await pool.handle_async_request(call)
    assert "Evil" not in str(caught.value)
    assert upstream.connections == 0


async def test_httpxs_client_works_over_the_pool(pool: Pool, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda call: plain(b"%b|%b" % (call.target, call.body), headers=[("x", "y")])
    async with httpx.AsyncClient(transport=pool, trust_env=False) as client:
        for n in range(5):
            response = await client.post(f"{url(upstream)}/p?n={n}", json={"n": n})
            assert response.text == f'/p?n={n}|{{"n":{n}}}'
        streamed = await client.put(f"{url(upstream)}/s", content=each([b"a", b"b"]))
        assert streamed.text == "/s|ab"
        answers = await asyncio.gather(*(client.get(f"{url(upstream)}/{n}") for n in range(40)))
        assert [answer.text for answer in answers] == [f"/{n}|" for n in range(40)]
        async with client.stream("GET", f"{url(upstream)}/raw") as response:
            assert [block async for block in response.aiter_raw()] == [b"/raw|"]
    with pytest.raises(RuntimeError, match="closed"):
        await pool.handle_async_request(request("GET", url(upstream)))
