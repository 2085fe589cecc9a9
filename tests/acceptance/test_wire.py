"""What the wire can carry beside head and body, and clients that leave where nobody waits for it."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import yaml

from tests.raw_client import RawClient
from tests.raw_upstream import RawRequest, RawUpstream, ReadBody, Step
from tests.server import Server
from tests.upstream import Pause, Stall

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"POST /v1/files HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
NEVER_BEHIND = (
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nHost: i\r\nKeep-Alive: 1\r\n"
    b"Authorization: Bearer x\r\nX-Tracemill-User: x\r\n"
)

EARLY_HINTS = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
FRAMED = (b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(script=lambda _request: [OK]) as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a route that goes by the model in the body."""
    folder = tmp_path_factory.mktemp("wire")
    config = folder / "tracemill.yaml"
    routes = [{"name": "kept", "upstream": upstream.base_url, "path": "/v1/kept", "on_disconnect": "drain"},
              {"name": "local", "upstream": upstream.base_url, "models": ["local*"]}]  # fmt: skip
    config.write_text(yaml.safe_dump({"routes": routes}))
    with Server(upstream.base_url, folder / "data", "--config", str(config)) as running:
        yield running
        assert "error" not in running.log()
        assert "Traceback" not in running.log()


def metric(server: Server, name: str) -> float:
    with urllib.request.urlopen(server.admin_url + "/metrics", timeout=10) as answer:
        found = re.findall(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found))


def wait_metric(server: Server, name: str, is_there: Callable[[float], bool], seconds: float = 10) -> None:
    server.wait_for(lambda: [1] if is_there(metric(server, name)) else [], 1, seconds)


def test_trailers_pass_both_ways_but_for_those_that_frame_or_route(upstream: RawUpstream, server: Server) -> None:
    upstream.script = lambda _request: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: b\r\n" + NEVER_BEHIND + b"\r\n"
    ]
    with RawClient(server.port) as client:
        client.send(CHUNKED + b"2\r\nhi\r\n0\r\nX-Sum: a\r\n" + NEVER_BEHIND + b"\r\n")
        assert client.read_answer(b"POST").trailers == [(b"X-Sum", b"b")]
    assert upstream.requests[-1].trailers == [(b"X-Sum", b"a")]


def test_interim_answers_pass_without_what_concerns_one_connection(upstream: RawUpstream, server: Server) -> None:
    upstream.script = lambda _request: [
        EARLY_HINTS,
        b"HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n",
        OK,
    ]
    with RawClient(server.port) as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        interim = client.read_answer(b"GET").interim
    assert [(each.status, each.fields) for each in interim] == [(103, [(b"Link", b"</a>")]), (102, [])]


def test_a_client_that_waits_for_100_hears_it_once_though_its_model_is_looked_for(
    upstream: RawUpstream, server: Server
) -> None:
    upstream.script = lambda _request: [b"HTTP/1.1 100 Continue\r\n\r\n", ReadBody(), OK]
    body = b'{"model":"local-1"}'
    for path in (b"/v1/chat/completions", b"/v1/kept/chat"):
        with RawClient(server.port) as client:
            head = b"POST %b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            client.send(head % (path, len(body)))
            client.wait_for(b"100 Continue\r\n\r\n")
            client.send(body)
            answer = client.read_answer(b"POST")
            assert (answer.status, [each.status for each in answer.interim]) == (200, [100])
            assert upstream.requests[-1].body == body


def test_a_switch_of_protocols_says_nothing_of_a_body(upstream: RawUpstream, server: Server) -> None:
    upstream.script = lambda _request: [SWITCH + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", Stall()]
    with RawClient(server.port) as client:
        client.send(UPGRADE + b"\r\n")
        answer = client.read_answer(b"GET")
        assert answer.status == 101
        assert [name for name, _ in answer.fields[:-1]] == [b"Connection", b"Upgrade"]


@pytest.mark.parametrize("framing", FRAMED)
def test_a_request_with_a_body_offers_no_other_protocol(upstream: RawUpstream, server: Server, framing: bytes) -> None:
    """Nobody could tell where its body ends and the other protocol begins."""
    upstream.script = lambda _request: [OK]
    with RawClient(server.port) as client:
        client.send(UPGRADE + framing)
        assert client.read_answer(b"GET").status == 200
    assert upstream.requests[-1].value(b"upgrade") is None
    assert upstream.requests[-1].body == b"hi"


def test_a_client_that_leaves_a_tunnel_whose_upstream_reads_nothing_ends_it(
    upstream: RawUpstream, server: Server
) -> None:
    pause = Pause()
    upstream.script = lambda _request: [SWITCH + b"\r\n", pause]
    client = RawClient(server.port, timeout_s=1)
    client.send(UPGRADE + b"\r\n")
    assert client.read_answer(b"GET").status == 101
    with suppress(TimeoutError):
        while True:
            client.socket.sendall(b"x" * 1_000_000)
    wait_metric(server, "tracemill_calls_in_flight", lambda value: value == 1)
    client.abort()
    wait_metric(server, "tracemill_calls_in_flight", lambda value: value == 0)
    pause.let_go()


def leave_politely(client: RawClient) -> None:
    client.socket.close()


@pytest.mark.parametrize("leave", [leave_politely, RawClient.abort, RawClient.half_close])
def test_a_client_that_leaves_before_its_model_is_known_is_counted(
    server: Server, leave: Callable[[RawClient], None]
) -> None:
    """Nobody knows whose call it was, so it leaves no trace; it is no request that was refused, either."""
    name = 'tracemill_capture_dropped_total{reason="left_before_route"}'
    before = metric(server, name)
    with RawClient(server.port) as client:
        client.send(b'POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"model":')
        wait_metric(server, "tracemill_calls_in_flight", lambda value: value == 1)
        leave(client)
        wait_metric(server, name, lambda value: value == before + 1)
        wait_metric(server, "tracemill_calls_in_flight", lambda value: value == 0)
    assert metric(server, 'tracemill_refused_total{status="400"}') == 0


@pytest.mark.parametrize("leave", [leave_politely, RawClient.abort, RawClient.half_close])
def test_an_answer_whose_client_left_is_read_to_its_end_where_the_route_says_so(
    upstream: RawUpstream, server: Server, leave: Callable[[RawClient], None]
) -> None:
    pause = Pause()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"

    def script(_request: RawRequest) -> list[Step]:
        return [head + b"3\r\nabc\r\n", pause, *[chunk] * 20, b"0\r\n\r\n"]

    upstream.script = script
    count = len(server.admin("/admin/api/traces?limit=500")["data"])
    with RawClient(server.port) as client:
        client.send(b"POST /v1/kept/files HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        client.wait_for(b"abc")
        leave(client)
        pause.let_go()
        newest = server.wait_traces(count + 1)[0]
    assert (newest["outcome"], newest["route"]) == ("completed", "kept")


def test_calls_past_the_bound_are_told_to_try_again_and_later_ones_are_served(
    upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pause = Pause()
    upstream.script = lambda request: [pause, OK] if request.target == b"/v1/slow" else [OK]
    folder = tmp_path_factory.mktemp("calls")
    with (
        Server(upstream.base_url, folder / "data", "--max-calls", "1") as server,
        RawClient(server.port) as slow,
        RawClient(server.port) as other,
    ):
        slow.send(b"GET /v1/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        assert pause.reached.wait(10)
        other.send(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        refusal = other.read_answer(b"GET")
        assert (refusal.status, refusal.values(b"retry-after")) == (503, [b"1"])
        assert b'"too_many_calls"' in refusal.body
        pause.let_go()
        assert slow.read_answer(b"GET").status == 200
        other.send(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        assert other.read_answer(b"GET").status == 200
