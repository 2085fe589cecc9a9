"""Large bodies in both directions pass through little memory; streamed blocks pass at once."""

import hashlib
import socket
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from tests.acceptance.differential.answer_cases import CHUNKED, EVENTS, GET
from tests.acceptance.differential.case import head, request, whole
from tests.acceptance.test_transparency import SocketUpstream, grows_at_most, read_until, worker
from tests.process_state import MIB
from tests.raw_client import RawClient
from tests.raw_upstream import RawUpstream
from tests.server import Server
from tests.upstream import STREAM_END, Pause, event, framed

SIZE = 200 * MIB
PIECE = bytes(range(256)) * 4096
GROWTH = 60 * MIB
DIGEST = hashlib.sha256(PIECE * (SIZE // len(PIECE))).hexdigest()


@pytest.fixture(scope="module")
def bare() -> Iterator[SocketUpstream]:
    upstream = SocketUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def bare_server(bare: SocketUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(f"http://127.0.0.1:{bare.port}/v1", tmp_path_factory.mktemp("volume") / "data") as running:
        yield running


def read_body(connection: socket.socket, framing: str) -> tuple[int, str]:
    """Read a head and a body of 200 MB; return the size and the hash of the content."""
    digest, size = hashlib.sha256(), 0
    with connection.makefile("rb", MIB) as wire:
        while wire.readline() != b"\r\n":
            pass
        while True:
            missing = SIZE - size if framing == "sized" else int(wire.readline(), 16) if framing == "chunked" else -1
            if missing == 0:
                return size, digest.hexdigest()
            while missing and (block := wire.read(min(missing, MIB) if missing > 0 else MIB)):
                size += len(block)
                missing -= len(block) if missing > 0 else 0
                digest.update(block)
            if framing == "until_close":
                return size, digest.hexdigest()
            assert framing == "sized" or wire.readline() == b"\r\n"


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_an_upload_of_200_mb_passes_through_little_memory(
    bare: SocketUpstream, bare_server: Server, framing: str
) -> None:
    """A multipart file; servers that collect a body first hold it twice."""
    arrived: SimpleQueue[tuple[int, str]] = SimpleQueue()

    def play(connection: socket.socket) -> None:
        arrived.put(read_body(connection, framing))
        connection.sendall(whole(b"ok"))

    bare.play = play
    fields = (CHUNKED,) if framing == "chunked" else (b"Content-Length: %d" % SIZE,)
    with grows_at_most(worker(bare_server), GROWTH), RawClient(bare_server.port, timeout_s=30) as client:
        client.send(request(b"POST /v1/files", b"Content-Type: multipart/form-data; boundary=b", *fields))
        for _ in range(SIZE // len(PIECE)):
            client.send(framed(PIECE) if framing == "chunked" else PIECE)
        client.send(STREAM_END if framing == "chunked" else b"")
        assert client.read_answer(b"POST").body == b"ok"
    assert arrived.get(timeout=10) == (SIZE, DIGEST)


@pytest.mark.parametrize("framing", ["sized", "chunked", "until_close"])
def test_a_download_of_200_mb_passes_through_little_memory(
    bare: SocketUpstream, bare_server: Server, framing: str
) -> None:
    fields = {"sized": (b"Content-Length: %d" % SIZE,), "chunked": (CHUNKED,), "until_close": ()}[framing]

    def play(connection: socket.socket) -> None:
        read_until(connection, b"\r\n\r\n")
        connection.sendall(head(b"200 OK", *fields))
        for _ in range(SIZE // len(PIECE)):
            connection.sendall(framed(PIECE) if framing == "chunked" else PIECE)
        connection.sendall(STREAM_END if framing == "chunked" else b"")

    bare.play = play
    with grows_at_most(worker(bare_server), GROWTH), RawClient(bare_server.port, timeout_s=30) as client:
        client.send(request(b"GET /v1/files/a/content", b"Connection: close"))
        # Without a length it comes in chunks of ours.
        assert read_body(client.socket, "sized" if framing == "sized" else "chunked") == (SIZE, DIGEST)


def test_each_streamed_block_arrives_before_the_next_one_is_made(raw_upstream: RawUpstream, raw_server: Server) -> None:
    """Gateways have held streams back per 16 KB, or for a timer (LiteLLM #26102, ray #59681)."""
    pauses = [Pause() for _ in range(12)]
    blocks = [event({"n": number}) for number in range(12)]
    steps = [step for pair in zip((framed(block) for block in blocks), pauses, strict=True) for step in pair]
    raw_upstream.script = lambda _request: [head(b"200 OK", EVENTS, CHUNKED), *steps, STREAM_END]
    waits = []
    with RawClient(raw_server.port, timeout_s=5) as client:
        client.send(GET)
        for block, pause in zip(blocks, pauses, strict=True):
            assert pause.reached.wait(5)
            began = time.monotonic()
            client.wait_for(block)
            waits.append(time.monotonic() - began)
            pause.let_go()
        answer = client.read_answer(b"GET")
    assert answer.body == b"".join(blocks)
    assert answer.values(b"x-accel-buffering") == [b"no"]
    assert sorted(waits)[len(waits) // 2] < 0.02, waits
