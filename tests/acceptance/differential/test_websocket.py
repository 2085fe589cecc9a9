"""WebSocket passes: a real client and a real server that speak through the proxy as they do without it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import SimpleQueue
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server as WebSocketServer
from websockets.sync.server import ServerConnection, serve

from tests.acceptance.differential.case import TRACE_ID, end_to_end, head
from tests.process_state import MIB
from tests.raw_client import RawClient
from tests.raw_upstream import Echo, RawRequest, RawUpstream, Step
from tests.server import Server
from tests.upstream import Hangup

CLOSE_S = 2


@dataclass
class RealtimeUpstream:
    """A WebSocket server that answers each message with itself, and a few words with deeds."""

    requests: list[Request] = field(default_factory=list)
    closings: SimpleQueue[tuple[str, int | None, str]] = field(default_factory=SimpleQueue)

    def start(self) -> None:
        self._server: WebSocketServer = serve(
            self._talk,
            "127.0.0.1",
            0,
            process_request=self._admit,
            subprotocols=["realtime"],
            max_size=None,  # type: ignore[list-item]
        )
        self.port: int = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, name="realtime-upstream", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if "refuse" in request.path:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no key\n")
        return None

    def _talk(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                if message == "ping me":
                    connection.send("pong" if connection.ping().wait(CLOSE_S) else "silence")
                elif message == "close":
                    connection.close(4002, "enough")
                elif message == "drop":
                    connection.socket.shutdown(socket.SHUT_RDWR)
                else:
                    connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            assert connection.request is not None
            self.closings.put((connection.request.path, connection.close_code, connection.close_reason or ""))

    def wait_closed(self, path: str, timeout_s: float) -> tuple[int | None, str]:
        """Return code and reason with which the connection of that path was closed."""
        while True:
            closed, code, reason = self.closings.get(timeout=timeout_s)
            if closed == path:
                return code, reason


@pytest.fixture(scope="module")
def realtime() -> Iterator[RealtimeUpstream]:
    upstream = RealtimeUpstream()
    upstream.start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def realtime_server(realtime: RealtimeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(f"http://127.0.0.1:{realtime.port}/v1", tmp_path_factory.mktemp("realtime") / "data") as running:
        yield running


def talk(port: int, path: str = "/v1/realtime?model=m", **options: Any) -> ClientConnection:
    options = {"subprotocols": ["realtime"], **options}
    return connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=5, close_timeout=CLOSE_S, **options)


def test_the_handshake_is_what_it_is_without_the_proxy(realtime: RealtimeUpstream, realtime_server: Server) -> None:
    seen, answers = [], []
    fields = {"Authorization": "Bearer sk-test", "OpenAI-Beta": "realtime=v1"}
    for port in (realtime.port, realtime_server.port):
        with talk(port, subprotocols=["realtime", "other"], additional_headers=fields) as client:
            assert client.subprotocol == "realtime"
            assert client.response is not None
            answers.append([(n, v) for n, v in client.response.headers.raw_items() if n.lower() not in _OF_ONE_CALL])
        request = realtime.requests[-1]
        seen.append((request.path, [(n, v) for n, v in request.headers.raw_items() if n.lower() not in _OF_ONE_CALL]))
    assert seen[1] == seen[0]
    assert answers[1] == answers[0]


_OF_ONE_CALL = {"host", "sec-websocket-key", "sec-websocket-accept", "date", TRACE_ID.decode(), "connection", "upgrade"}


@pytest.mark.parametrize("compression", ["deflate", None], ids=["compressed", "plain"])
def test_messages_of_every_size_come_back_whole_and_in_order(realtime_server: Server, compression: str | None) -> None:
    with talk(realtime_server.port, compression=compression) as client:
        sent = ["", "Grüezi 🙂", b"\x00\xff" * 500, b"a" * MIB, "x" * 70_000, *(f"number {n}" for n in range(300))]
        reader_saw: list[str | bytes] = []
        reader = threading.Thread(target=lambda: reader_saw.extend(client.recv(10) for _ in sent))
        reader.start()
        for message in sent:
            client.send(message)
        reader.join(20)
    assert reader_saw == sent


def test_pings_are_answered_by_the_other_end(realtime_server: Server) -> None:
    with talk(realtime_server.port, ping_interval=None) as client:
        assert client.ping(b"12345").wait(CLOSE_S), "the upstream's pong did not come"
        client.send("ping me")
        assert client.recv(CLOSE_S) == "pong"


def test_the_clients_close_code_reaches_the_upstream(realtime: RealtimeUpstream, realtime_server: Server) -> None:
    with talk(realtime_server.port, "/v1/realtime?closed") as client:
        client.close(4001, "bye")
    assert realtime.wait_closed("/v1/realtime?closed", CLOSE_S) == (4001, "bye")


def test_the_upstreams_close_code_reaches_the_client(realtime_server: Server) -> None:
    with talk(realtime_server.port) as client:
        client.send("close")
        with pytest.raises(ConnectionClosed):
            client.recv(CLOSE_S)
        assert (client.close_code, client.close_reason) == (4002, "enough")


def test_a_connection_that_the_upstream_drops_is_dropped_for_the_client(realtime_server: Server) -> None:
    with talk(realtime_server.port) as client:
        client.send("drop")
        with pytest.raises(ConnectionClosedError):
            client.recv(CLOSE_S)
        assert client.close_code == 1006


def test_a_client_that_vanishes_ends_the_upstreams_connection(
    realtime: RealtimeUpstream, realtime_server: Server
) -> None:
    with talk(realtime_server.port, "/v1/realtime?vanishes") as client:
        client.send("hello")
        assert client.recv(CLOSE_S) == "hello"
        client.socket.shutdown(socket.SHUT_RDWR)
        assert realtime.wait_closed("/v1/realtime?vanishes", 1)[0] == 1006


def test_a_refusal_reaches_the_client_with_its_body(realtime: RealtimeUpstream, realtime_server: Server) -> None:
    bodies = []
    for port in (realtime.port, realtime_server.port):
        with pytest.raises(InvalidStatus) as caught, talk(port, "/v1/realtime?refuse"):
            pytest.fail("the upstream's refusal was lost")
        bodies.append((caught.value.response.status_code, caught.value.response.body))
    assert bodies[1] == bodies[0] == (401, b"no key\n")


def test_a_socket_leaves_one_trace_and_no_content(realtime_server: Server) -> None:
    with talk(realtime_server.port, additional_headers={"x-tracemill-session": "socket"}) as client:
        client.send("never-to-be-stored")
        client.recv(CLOSE_S)
    page = "/admin/api/traces?where=session%20%3D%20'socket'"
    (trace,) = realtime_server.wait_for(lambda: realtime_server.admin(page)["data"], 1, 10)
    assert (trace["status"], trace["outcome"]) == (101, "completed")
    assert "never-to-be-stored" not in str(realtime_server.admin(f"/admin/api/traces/{trace['id']}"))


# On the bare socket ---------------------------------------------------------------------------------------------------

OFFER = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = head(
    b"101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"X-A: 1",
)  # fmt: skip


@pytest.mark.parametrize("behind", [b"", b"at once"], ids=["later", "with_the_head"])
def test_bytes_around_the_switch_are_neither_lost_nor_read_as_http(
    raw_upstream: RawUpstream, raw_server: Server, behind: bytes
) -> None:
    """What comes in one packet with the 101, or with the request, belongs to the new protocol already."""

    def script(_request: RawRequest) -> list[Step]:
        return [ACCEPT + behind, Echo()]

    raw_upstream.script = script
    heads = []
    for port in (raw_upstream.port, raw_server.port):
        with RawClient(port, timeout_s=5) as client:
            client.send(OFFER + b"GET / HTTP/1.1\r\n\r\n")
            answer = client.read_answer(b"GET")
            assert (answer.status, answer.reason) == (101, b"Switching Protocols")
            heads.append([(n, v) for n, v in end_to_end(answer.fields) if n.lower() != TRACE_ID])
            octets = bytes(range(256)) * 64
            client.send(octets)
            client.wait_for(octets[-64:])
            client.half_close()
            assert client.read_rest() == behind + b"GET / HTTP/1.1\r\n\r\n" + octets
    assert heads[1] == heads[0]


def test_what_the_upstream_said_last_arrives_before_the_end(raw_upstream: RawUpstream, raw_server: Server) -> None:
    last = b"last words" * 20_000
    raw_upstream.script = lambda _request: [ACCEPT, last, Hangup()]
    with RawClient(raw_server.port, timeout_s=5) as client:
        client.send(OFFER)
        assert client.read_answer(b"GET").status == 101
        assert client.read_rest() == last


@pytest.mark.parametrize("offer", [b"h2c", b"TLS/1.0", b"websocket2"])
def test_an_offer_of_anything_else_stays_here(raw_upstream: RawUpstream, raw_server: Server, offer: bytes) -> None:
    raw_upstream.script = lambda _request: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    with RawClient(raw_server.port, timeout_s=5) as client:
        client.send(OFFER.replace(b"Upgrade: websocket", b"Upgrade: " + offer))
        assert client.read_answer(b"GET").body == b"ok"
    assert raw_upstream.requests[-1].value(b"upgrade") is None
