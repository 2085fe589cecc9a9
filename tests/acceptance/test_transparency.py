"""What crosses the proxy is what crosses without it: compared on raw sockets, byte by byte."""

import asyncio
import gzip
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]
import httpx2 as httpx
import pytest

from proxy.ingest.content_coding import zstd
from tests import chat
from tests.acceptance.test_ends import newest
from tests.process_state import MIB, forget_peak, peak_bytes, resident_bytes
from tests.server import Server
from tests.upstream import (
    STREAM_END,
    STREAM_HEAD,
    Answer,
    Hangup,
    Pause,
    ReceivedCall,
    ScriptedUpstream,
    Stall,
    event,
    framed,
    plain,
)

_OURS = {b"x-tracemill-trace-id", b"x-accel-buffering"}
_FRAMING = {b"connection", b"transfer-encoding", b"trailer", b"keep-alive"}


class Message(NamedTuple):
    """An answer as it stood on the wire, its chunked framing undone."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    blocks = []
    while block := connection.recv(MIB):
        blocks.append(block)
    return b"".join(blocks)


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    found = b""
    while mark not in found:
        block = connection.recv(65536)
        assert block, f"the connection ended before {mark!r}: {found!r}"
        found += block
    return found


def parse(wire: bytes) -> Message:
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    if (b"transfer-encoding", b"chunked") in fields:
        body = dechunked(body)
    fields = [(name, value) for name, value in fields if name not in _FRAMING | _OURS]
    return Message(int(first.split()[1]), fields, body)


def dechunked(body: bytes) -> bytes:
    blocks = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            return b"".join(blocks)
        blocks.append(body[:length])
        body = body[length + 2 :]


def ask(port: int, wire: bytes) -> bytes:
    """Send one request whose answer ends with its connection."""
    with connect(port) as connection:
        connection.sendall(wire)
        return read_all(connection)


def request(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"host: h", b"connection: close", *fields, b"", body])


def sent(call: ReceivedCall) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes]:
    fields = [(name.lower(), value) for name, value in call.headers]
    return call.method, call.target, [(n, v) for n, v in fields if n not in _FRAMING | {b"host"}], call.body


def both(upstream: ScriptedUpstream, server: Server, wire: bytes) -> tuple[Message, Message]:
    """Ask directly and through the proxy; the upstream must have seen the same."""
    direct = parse(ask(upstream.port, wire))
    through = parse(ask(server.port, wire))
    assert sent(upstream.calls[-1]) == sent(upstream.calls[-2])
    return direct, through


def closing(steps: Answer) -> Answer:
    return [*steps, Hangup()]


BODY = b'{"model":"m","messages":[{"role":"user","content":"\xc3\xa9"}] }\n'
CHUNKED = b"transfer-encoding: chunked"
SIZED = b"content-length: %d" % len(BODY)
REQUESTS = {
    "get": request(b"GET /v1/models HTTP/1.1"),
    "head": request(b"HEAD /v1/models HTTP/1.1"),
    "options": request(b"OPTIONS /v1/models HTTP/1.1", b"origin: http://page"),
    "put": request(b"PUT /v1/files/a HTTP/1.1", SIZED, body=BODY),
    "patch": request(b"PATCH /v1/files/a HTTP/1.1", SIZED, body=BODY),
    "delete": request(b"DELETE /v1/files/a HTTP/1.1"),
    "delete_body": request(b"DELETE /v1/files/a HTTP/1.1", SIZED, body=BODY),
    "propfind": request(b"PROPFIND /v1/files HTTP/1.1"),
    "chunked": request(b"POST /v1/x HTTP/1.1", CHUNKED, body=framed(BODY) + framed(b"x") + STREAM_END),
    "chunked_empty": request(b"POST /v1/x HTTP/1.1", CHUNKED, body=STREAM_END),
    "empty_body": request(b"POST /v1/x HTTP/1.1", b"content-length: 0"),
    "no_body": request(b"POST /v1/x HTTP/1.1"),
    "expect": request(b"POST /v1/x HTTP/1.1", SIZED, b"expect: 100-continue", body=BODY),
    "duplicates": request(b"GET /v1/x HTTP/1.1", b"x-a: 1", b"cookie: a=1", b"x-a: 2", b"X-A: 1", b"cookie: b=2"),
    "odd_values": request(b"GET /v1/x HTTP/1.1", b"x-a: caf\xe9 \xff\x80", b"x-b:", b"x-c: a\tb  c", b'x-d: "\\;,='),
    "percent": request(b"GET /v1/a%2Fb%20c%c3%a9/%41;p=1?q=%2F%3f&b=a+b&&c HTTP/1.1"),
    "odd_query": request(b"GET /v1/a?x=/../..&u=http://e/?a=b?c&j={%22a%22:[1]} HTTP/1.1"),
    "empty_query": request(b"GET /v1/a? HTTP/1.1"),
    "double_slash": request(b"GET /v1//a///b/ HTTP/1.1"),
    "root": request(b"GET /v1/ HTTP/1.1"),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_reaches_the_upstream_as_the_client_wrote_it(
    upstream: ScriptedUpstream, server: Server, name: str
) -> None:
    headers = [("date", "today"), ("x-a", "1"), ("set-cookie", "a=1"), ("x-a", "2"), ("set-cookie", "b=2")]
    steps = plain(b'{"ok": true}', headers=headers)
    if name == "head":
        steps = steps[:1]
    upstream.script = lambda _call: closing(steps)
    if name == "expect":
        answers = [ask(port, REQUESTS[name]) for port in (upstream.port, server.port)]
        informed = [wire.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") for wire in answers]
        direct, through = (parse(wire.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) for wire in answers)
        assert informed[0] == informed[1]
        assert sent(upstream.calls[-1]) == sent(upstream.calls[-2])
    else:
        direct, through = both(upstream, server, REQUESTS[name])
    assert through == direct


def head(status: bytes, *fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([version + b" " + status, *fields, b"", b""])


PLAIN = b'{"a": 1}'
ANSWERS: dict[str, Answer] = {
    "no_content": [head(b"204 No Content", b"x-a: 1")],
    "no_content_with_length": [head(b"204 No Content", b"content-length: 0")],
    "not_modified": [head(b"304 Not Modified", b"etag: x")],
    "not_modified_with_length": [head(b"304 Not Modified", b"etag: x", b"content-length: 1234")],
    "reset_content": [head(b"205 Reset Content", b"content-length: 0")],
    "empty": [head(b"200 OK", b"content-length: 0")],
    "empty_chunked": [head(b"200 OK", CHUNKED), STREAM_END],
    "redirect": [head(b"307 Temporary Redirect", b"location: http://127.0.0.1:1/v1/x", b"content-length: 0")],
    "continue_first": [head(b"100 Continue") + head(b"200 OK", b"content-length: 8"), PLAIN],
    "until_close": [head(b"200 OK", b"content-type: application/json"), PLAIN],
    "http10_until_close": [head(b"200 OK", b"x-a: 1", version=b"HTTP/1.0"), PLAIN[:3], PLAIN[3:]],
    "http10_sized": [head(b"200 OK", b"content-length: 8", version=b"HTTP/1.0"), PLAIN],
    "trailers": [head(b"200 OK", CHUNKED, b"trailer: x-t"), framed(PLAIN), b"0\r\nx-t: 1\r\n\r\n"],
    "chunk_extensions": [head(b"200 OK", CHUNKED), b"8;a=b\r\n" + PLAIN + b"\r\n0;c\r\n\r\n"],
    "odd_values": [head(b"200 OK", b"content-length: 8", b"x-a: caf\xe9\xff", b"x-b:", b"x-c: a\tb", b"x-c: a"), PLAIN],
    "odd_reason": [head(b"299 Caf\xe9 au lait", b"content-length: 8"), PLAIN],
    "named_hop_by_hop": [head(b"200 OK", b"content-length: 8", b"connection: x-hop, close"), PLAIN],
    "gzip": plain(gzip.compress(PLAIN), headers=[("content-encoding", "gzip")]),
    "wrong_coding": plain(PLAIN, headers=[("content-encoding", "gzip")]),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_reaches_the_client_as_the_upstream_gave_it(
    upstream: ScriptedUpstream, server: Server, name: str
) -> None:
    upstream.script = lambda _call: closing(ANSWERS[name])
    wires = [ask(port, REQUESTS["get"]) for port in (upstream.port, server.port)]
    direct, through = (parse(wire.removeprefix(head(b"100 Continue"))) for wire in wires)
    assert through == direct
    assert "Exception" not in server.log()


@pytest.mark.parametrize("broken", [head(b"799 Odd", SIZED), head(b"200 OK", b"x-a: a\x01b")], ids=["status", "field"])
def test_a_head_that_is_no_http_is_ours_to_report(upstream: ScriptedUpstream, server: Server, broken: bytes) -> None:
    upstream.script = lambda _call: closing([broken, BODY])
    answer = parse(ask(server.port, REQUESTS["get"]))
    assert (answer.status, dict(answer.headers)[b"x-tracemill-error"]) == (502, b"upstream_aborted")
    assert "Exception" not in server.log()


def test_a_length_beside_chunked_framing_does_not_count(upstream: ScriptedUpstream, server: Server) -> None:
    """RFC 9112, 6.3: the chunked framing wins, and who forwards the message must take the length away."""
    fields = (b"content-length: 3", CHUNKED)
    upstream.script = lambda _call: closing([head(b"200 OK", *fields), framed(PLAIN), STREAM_END])
    answer = parse(ask(server.port, REQUESTS["get"]))
    assert (answer.status, answer.body) == (200, PLAIN)
    assert b"content-length" not in dict(answer.headers)


def test_connections_are_kept_on_both_sides(upstream: ScriptedUpstream, server: Server) -> None:
    """Answers without a body too: a 304 that names a length, a 204, a HEAD."""
    answers = iter(
        [ANSWERS["not_modified_with_length"], ANSWERS["no_content"], [head(b"200 OK", b"content-length: 9")]]
    )
    upstream.script = lambda _call: next(answers, plain(PLAIN))
    before = upstream.connections
    with connect(server.port) as connection:
        for method in (b"GET", b"GET", b"HEAD"):
            connection.sendall(method + b" /v1/a HTTP/1.1\r\nhost: h\r\n\r\n")
            assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 ")
        for _ in range(20):
            connection.sendall(b"POST /v1/a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
            assert read_until(connection, PLAIN).count(b"HTTP/1.1 ") == 1
    assert upstream.connections - before <= 2


def test_pipelined_requests_are_answered_in_their_order(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = lambda call: plain(call.target + b"!")
    with connect(server.port) as connection:
        for number in range(5):
            connection.sendall(b"GET /v1/%d HTTP/1.1\r\nhost: h\r\n\r\n" % number)
        wire = read_until(connection, b"/v1/4!")
    bodies = [part.partition(b"\r\n\r\n")[2] for part in wire.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"/v1/%d!" % number for number in range(5)]


def test_a_request_that_offers_another_protocol_is_served_in_this_one(
    upstream: ScriptedUpstream, server: Server
) -> None:
    """Java's HTTP client offers HTTP/2 so; uvicorn takes the body for the other protocol and the call fails."""
    upstream.script = lambda call: plain(call.body + b"|" + call.target)
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    with connect(server.port) as connection:
        for number in range(3):
            connection.sendall(b"POST /v1/%d HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n%s\r\nhel" % (number, offer))
            connection.sendall(b"lo")
            assert read_until(connection, b"hello|/v1/%d" % number).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"GET /v1/%d HTTP/1.1\r\nhost: h\r\n%s\r\n" % (number, offer))
            assert read_until(connection, b"|/v1/%d" % number).startswith(b"HTTP/1.1 200 ")
    assert {b"upgrade", b"http2-settings"} & {name for name, _ in upstream.calls[-1].headers} == set()
    assert "upgrade" not in server.log()


def test_no_tunnel_is_made(upstream: ScriptedUpstream, server: Server) -> None:
    before = len(upstream.calls)
    assert parse(ask(server.port, request(b"CONNECT 127.0.0.1:%d HTTP/1.1" % upstream.port))).status == 400
    assert len(upstream.calls) == before


# What moves while it moves --------------------------------------------------------------------------------------------


class SocketUpstream:
    """An upstream that a test plays on the bare socket; each connection in a thread of its own."""

    play: Callable[[socket.socket], None]

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="socket-upstream", daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._play, args=(connection,), daemon=True).start()

    def _play(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError, AssertionError):
            self.play(connection)


@pytest.fixture(scope="module")
def bare() -> Iterator[SocketUpstream]:
    upstream = SocketUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def bare_server(bare: SocketUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("bare") / "data"
    # So much may wait in memory for a disk that is slow, and as much again of a body that is still coming.
    bound = ("--max-pending-bytes", str(8 * MIB))
    with Server(f"http://127.0.0.1:{bare.port}/v1", data_dir, *bound) as running:
        yield running


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_an_upload_reaches_the_upstream_piece_by_piece(bare: SocketUpstream, bare_server: Server, framing: str) -> None:
    """Gateways that collect a body first hold a 200 MB file in memory and add its whole time."""
    arrived = b""
    more = threading.Condition()

    def play(connection: socket.socket) -> None:
        nonlocal arrived
        arrived = b""
        while not arrived.endswith((b"piece 8", STREAM_END)):
            block = connection.recv(65536)
            with more:
                arrived += block
                more.notify()
        connection.sendall(head(b"200 OK", b"content-length: 2") + b"ok")

    bare.play = play
    field = b"content-length: 63" if framing == "sized" else CHUNKED
    with connect(bare_server.port) as connection:
        connection.sendall(request(b"POST /v1/files HTTP/1.1", field))
        for number in range(9):
            piece = b"piece %d" % number
            connection.sendall(piece if framing == "sized" else framed(piece))
            with more:
                assert more.wait_for(lambda piece=piece: piece in arrived, timeout=5), piece
        connection.sendall(b"" if framing == "sized" else STREAM_END)
        assert parse(read_all(connection)).body == b"ok"


def worker(server: Server) -> int:
    (pid,) = server.children("worker")
    return pid


@contextmanager
def grows_at_most(pid: int, bound: int) -> Iterator[None]:
    forget_peak(pid)
    before = resident_bytes(pid)
    yield
    grown = peak_bytes(pid) - before
    assert grown <= bound, f"the worker grew by {grown / MIB:.0f} MiB"


BIG = 96 * MIB
PIECE = bytes(range(256)) * 4096


@pytest.mark.parametrize("path", [b"/v1/files", b"/v1/chat/completions"], ids=["passed", "captured"])
def test_a_large_upload_passes_through_little_memory(bare: SocketUpstream, bare_server: Server, path: bytes) -> None:
    """What is captured may wait for the disk, up to `max_pending_bytes`; what is only passed on waits nowhere."""
    digests: SimpleQueue[tuple[int, str]] = SimpleQueue()

    def play(connection: socket.socket) -> None:
        body = read_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")[2]
        digest, size = hashlib.sha256(body), len(body)
        while size < BIG:
            block = connection.recv(MIB)
            digest.update(block)
            size += len(block)
        digests.put((size, digest.hexdigest()))
        connection.sendall(head(b"200 OK", b"content-length: 2") + b"ok")

    bare.play = play
    sent_digest = hashlib.sha256()
    with grows_at_most(worker(bare_server), 40 * MIB), connect(bare_server.port) as connection:
        connection.sendall(request(b"POST " + path + b" HTTP/1.1", b"content-length: %d" % BIG))
        for _ in range(BIG // len(PIECE)):
            connection.sendall(PIECE)
            sent_digest.update(PIECE)
        assert parse(read_all(connection)).body == b"ok"
    assert digests.get(timeout=5) == (BIG, sent_digest.hexdigest())


@pytest.mark.parametrize("path", [b"/v1/files", b"/v1/chat/completions"], ids=["passed", "captured"])
def test_a_large_download_passes_through_little_memory(bare: SocketUpstream, bare_server: Server, path: bytes) -> None:
    def play(connection: socket.socket) -> None:
        read_until(connection, b"\r\n\r\n")
        connection.sendall(head(b"200 OK", b"content-length: %d" % BIG))
        for _ in range(BIG // len(PIECE)):
            connection.sendall(PIECE)

    bare.play = play
    digest = hashlib.sha256()
    with grows_at_most(worker(bare_server), 40 * MIB), connect(bare_server.port) as connection:
        connection.sendall(request(b"POST " + path + b" HTTP/1.1", b"content-length: 0"))
        body = read_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")[2]
        digest.update(body)
        while block := connection.recv(MIB):
            digest.update(block)
    assert digest.hexdigest() == hashlib.sha256(PIECE * (BIG // len(PIECE))).hexdigest()


def test_a_client_that_does_not_read_slows_its_upstream_and_fills_no_memory(
    bare: SocketUpstream, bare_server: Server
) -> None:
    given = 0
    stopped = threading.Event()

    def play(connection: socket.socket) -> None:
        nonlocal given
        read_until(connection, b"\r\n\r\n")
        connection.sendall(head(b"200 OK", b"content-length: %d" % BIG))
        connection.settimeout(1)
        try:
            while given < BIG:
                given += connection.send(PIECE)
        except TimeoutError:
            stopped.set()

    bare.play = play
    with grows_at_most(worker(bare_server), 16 * MIB), connect(bare_server.port) as connection:
        connection.sendall(request(b"GET /v1/files HTTP/1.1"))
        assert stopped.wait(10), "nothing slowed the upstream"
    assert given < 24 * MIB  # the kernel's buffers on both connections hold most of this


def test_a_head_without_an_end_is_refused(bare_server: Server) -> None:
    """Httptools has no bound: 64 MB of fields cost a gigabyte (the class of CVE-2025-48956)."""
    field = b"x-%d: " + b"a" * 1000 + b"\r\n"
    with grows_at_most(worker(bare_server), 16 * MIB), connect(bare_server.port) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n")
        with suppress(ConnectionError):
            for number in range(64 * MIB // len(field)):
                connection.sendall(field % number)
            read_all(connection)
            pytest.fail("64 MB of header fields were taken")


def test_a_length_beside_chunked_framing_is_refused(upstream: ScriptedUpstream, server: Server) -> None:
    before = len(upstream.calls)
    both_framings = (b"content-length: 5", CHUNKED)
    wire = ask(
        server.port, request(b"POST /v1/x HTTP/1.1", *both_framings, body=b"0\r\n\r\nGET /v1/y HTTP/1.1\r\n\r\n")
    )
    assert parse(wire).status == 400
    assert len(upstream.calls) == before


def test_a_head_that_cannot_be_sent_on_is_said_without_its_content(server: Server) -> None:
    wire = ask(server.port, request(b"GET /v1/models?q=\xff HTTP/1.1", b"authorization: Bearer sk-canary-odd"))
    assert parse(wire).status in (400, 502)
    assert b"canary" not in wire
    assert "canary" not in server.log()


# Codings --------------------------------------------------------------------------------------------------------------

CODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("is_streaming", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("coding", CODERS)
def test_a_coded_answer_passes_raw_and_is_recorded_decoded(
    upstream: ScriptedUpstream, server: Server, coding: str, is_streaming: bool
) -> None:
    marker = f"coded-{coding}-{is_streaming}"
    message = chat.text("Grüezi " * 50)
    kind = "text/event-stream" if is_streaming else "application/json"
    whole = b"".join(event(chunk) for chunk in [*chat.chunks(message), b"[DONE]"])
    coded = CODERS[coding](whole if is_streaming else json.dumps(chat.completion(message)).encode())
    fields = (b"content-type: " + kind.encode(), b"content-encoding: " + coding.encode())
    pieces = [framed(coded[at : at + 100]) for at in range(0, len(coded), 100)]
    upstream.script = lambda _call: closing([head(b"200 OK", *fields, CHUNKED), *pieces, STREAM_END])
    body = json.dumps({"model": "m", "stream": is_streaming, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    size = b"content-length: %d" % len(body)
    wire = request(b"POST /v1/chat/completions HTTP/1.1", size, b"x-tracemill-session: " + marker.encode(), body=body)
    direct, through = parse(ask(upstream.port, wire)), parse(ask(server.port, wire))
    assert through == direct
    assert through.body == coded
    trace = newest(server, marker)
    assert trace["replies"][0]["message"]["content"] == message["content"]
    assert trace["is_complete"] is True


# Many at once, and leaving --------------------------------------------------------------------------------------------


async def test_sixty_streams_at_once_find_no_cliff_and_their_connections_are_used_again(
    upstream: ScriptedUpstream, server: Server
) -> None:
    """Httpx's default limits stop reusing connections at 20 active calls and make the 101st wait."""
    arrived = 0

    def script(_call: ReceivedCall) -> Answer:
        nonlocal arrived
        arrived += 1
        if arrived % 60 == 0:
            everybody_is_here.let_go()
        return [STREAM_HEAD, framed(b"data: 1\n\n"), everybody_is_here, framed(event(b"[DONE]")), STREAM_END]

    async def stream(client: httpx.AsyncClient) -> bytes:
        async with client.stream("POST", f"{server.base_url}/chat/completions", json={}) as response:
            return b"".join([block async for block in response.aiter_raw()])

    upstream.script = script
    before = upstream.connections
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=None)) as client:
        for _ in range(3):
            everybody_is_here = Pause()
            bodies = await asyncio.gather(*(stream(client) for _ in range(60)))
            assert set(bodies) == {b"data: 1\n\n" + event(b"[DONE]")}
    assert upstream.connections - before <= 62


def test_a_client_that_closes_its_sending_side_counts_as_gone(upstream: ScriptedUpstream, server: Server) -> None:
    """As for nginx: nothing tells it from a client that left, and a paid answer must not be made for nobody."""
    upstream.script = lambda _call: [STREAM_HEAD, framed(b"data: 1\n\n"), Stall()]
    body = b'{"messages":[]}'
    fields = (b"content-length: %d" % len(body), b"x-tracemill-session: half-closed")
    with connect(server.port) as connection:
        connection.sendall(request(b"POST /v1/chat/completions HTTP/1.1", *fields, body=body))
        read_until(connection, b"data: 1\n\n")
        connection.shutdown(socket.SHUT_WR)
        assert upstream.departures.acquire(timeout=2)
    assert newest(server, "half-closed")["outcome"] == "client_disconnect"


def test_a_client_that_leaves_with_requests_in_its_pipeline_ends_the_one_being_answered(
    upstream: ScriptedUpstream, server: Server
) -> None:
    """Uvicorn tells only the request that came last."""
    upstream.script = lambda _call: [STREAM_HEAD, framed(b"data: 1\n\n"), Stall()]
    with connect(server.port) as connection:
        connection.sendall(b"GET /v1/a HTTP/1.1\r\nhost: h\r\n\r\n" * 3)
        read_until(connection, b"data: 1\n\n")
    assert upstream.departures.acquire(timeout=2)
