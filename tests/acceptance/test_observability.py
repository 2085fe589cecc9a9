"""What operators see of calls: traces that can be followed, spans, metrics, and lines that tell no secret."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from proxy.journal.writer import JOURNAL_FOLDER
from proxy.metrics.folder import FOLDER_VARIABLE
from tests import chat
from tests.faults.evidence import metrics
from tests.proxy.otlp.receiver import attributes, receiving
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, Answer, Hangup, ReceivedCall, ScriptedUpstream, framed, plain

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
STATE = "vendor=opaque ,other=x"
BODY = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}


def script(call: ReceivedCall) -> Answer:
    wish = call.header(b"x-wish") or b""
    if wish == b"error":
        return plain(b'{"error":{"message":"Incorrect API key provided: %s"}}' % Secrets.UPSTREAM, status="401 No")
    if wish == b"garbage":
        return [Secrets.UPSTREAM + b" is no answer\r\n\r\n", Hangup()]
    if wish == b"bad_stream":
        return [STREAM_HEAD, framed(b"data: {" + Secrets.UPSTREAM + b"\n\n"), STREAM_END]
    if wish == b"cut":
        return [STREAM_HEAD, framed(b"data: " + Secrets.UPSTREAM + b"\n\n"), Hangup()]
    return plain(json.dumps(chat.completion(chat.text("Hello"))).encode())


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


def test_trace_context_passes_untouched_and_the_trace_is_found_by_it(
    upstream: ScriptedUpstream, server: Server
) -> None:
    fields = [("TraceParent", PARENT), ("tracestate", STATE), ("tracestate", "third=y")]
    answer = httpx.post(f"{server.base_url}/chat/completions", json=BODY, headers=fields)
    call = upstream.calls[-1]
    passed = [(name, value) for name, value in call.headers if name.lower() in (b"traceparent", b"tracestate")]
    assert passed == [(name.encode(), value.encode()) for name, value in fields]
    (found,) = server.wait_for(lambda: server.admin(f"/admin/api/traces?where=tag.trace_id%3D{TRACE}")["data"], 1, 20)
    assert found["id"] == answer.headers["x-tracemill-trace-id"]
    assert found["tags"] == {"trace_id": TRACE, "traceparent": PARENT}


def test_a_stored_trace_becomes_a_span_under_the_clients_own(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_HEADERS", "x-key=sk-canary-collector")
    with receiving() as receiver:
        flags = ("--otlp-endpoint", receiver.url, "--otlp-headers-env", "COLLECTOR_HEADERS")
        with Server(upstream.base_url, tmp_path / "data", *flags) as server:
            server.wait_for(lambda: list(server.data_dir.glob("otlp-position")), 1, 10)
            answer = httpx.post(
                f"{server.base_url}/chat/completions", json=BODY, headers={"traceparent": PARENT, "authorization": "x"}
            )
            server.wait_for(lambda: receiver.taken, 1, 20)
            server.wait_for(lambda: [1] * int(metrics(server).total("tracemill_otlp_spans_total")), 1, 5)
    (span,) = receiver.taken
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, SPAN, "chat m-1")
    told = attributes(span)
    assert told["tracemill.trace_id"] == answer.headers["x-tracemill-trace-id"]
    assert (told["gen_ai.request.model"], told["gen_ai.response.finish_reasons"]) == ("m-1", ["stop"])
    assert receiver.headers[0]["x-key"] == "sk-canary-collector"
    assert "sk-canary-collector" not in server.log()


def test_a_collector_that_is_down_holds_up_no_call_and_no_stop(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Server(upstream.base_url, tmp_path / "data", "--otlp-endpoint", url) as server:
            for _ in range(20):
                assert httpx.post(f"{server.base_url}/chat/completions", json=BODY).status_code == 200
            server.wait_traces(20)
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 6


class Secrets:
    """Keys in every place where clients and upstreams put them; the tail of each is the same."""

    TAIL = b"canary-3141592653"
    HEADER = b"sk-header-" + TAIL
    QUERY = b"sk-query-" + TAIL
    BODY = b"sk-body-" + TAIL
    UPSTREAM = b"sk-upstream-" + TAIL


CREDENTIAL_FIELDS = (
    "authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "x-goog-api-key", "x-amz-security-token",
    "x-wish-list",
)  # fmt: skip


def raw(server: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(data)
        while connection.recv(65536):
            pass


def ask_in_every_way(server: Server) -> int:
    """Make calls with secrets in all places, good ones and broken ones; return how many reach the record."""
    fields = dict.fromkeys(CREDENTIAL_FIELDS, Secrets.HEADER.decode())
    fields["x-tracemill-proxy-key"] = Secrets.HEADER.decode()
    url = f"{server.base_url}/chat/completions?key={Secrets.QUERY.decode()}"
    body = {**BODY, "user": Secrets.BODY.decode(), "messages": [{"role": "user", "content": Secrets.BODY.decode()}]}
    wishes = ("", "error", "garbage", "bad_stream", "cut")
    with httpx.Client(timeout=20) as client:
        for wish in wishes:
            for path in (url, url.replace("chat/completions", "responses"), url.replace("chat/completions", "other")):
                try:
                    client.post(path, json=body, headers={**fields, "x-wish": wish})
                except httpx.RemoteProtocolError:
                    assert wish == "cut"
        broken = b'{"messages":[' + Secrets.BODY
        client.post(url, content=broken, headers={**fields, "content-type": "application/json"})
    secret_field = b"Authorization: " + Secrets.HEADER + b"\r\n"
    target = b"/v1/x?key=" + Secrets.QUERY
    raw(server, b"GET " + target + b" HTTP/1.1\r\n" + secret_field + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n")
    raw(server, b"GET " + target + b" HTTP/9\r\n" + secret_field + b"\r\n")
    raw(server, secret_field * 3 + b"\r\n")
    raw(server, b"GET /outside?key=" + Secrets.QUERY + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    return len(wishes) * 3 + 1


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_is_in_any_line_file_or_metric(upstream: ScriptedUpstream, tmp_path: Path, form: str) -> None:
    """Bodies are what is recorded, so they are in the store; keys of headers and queries are nowhere at all."""
    flags = ("--log-level", "debug", "--log-format", form)
    with Server(upstream.base_url, tmp_path / "data", *flags) as server:
        folder = metrics_folder(server)
        count = ask_in_every_way(server)
        server.wait_traces(count)
        server.wait_for(lambda: [1] * int(metrics(server).total("tracemill_calls_total")), count, 5)
        scrape = httpx.get(server.admin_url + "/metrics").content
        journal = files_hold(server.data_dir / JOURNAL_FOLDER)
        snapshots = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {name.split("-")[0] for name in snapshots} >= {"worker", "ingest", "supervisor"}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert folder.stat().st_mode & 0o777 == 0o700
        processes = [pid for role in ("worker", "ingest", "admin") for pid in server.children(role)]
        commands = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in [server.process.pid, *processes])
    assert not folder.exists()
    log = server.log().encode()
    for secret in (Secrets.HEADER, Secrets.QUERY, Secrets.BODY, Secrets.UPSTREAM):
        assert secret not in log + scrape + commands
        assert not any(secret in content for content in snapshots.values())
    exported = json.dumps(server.export("--all")).encode()
    assert Secrets.BODY in exported  # the search finds what is there
    for secret in (Secrets.HEADER, Secrets.QUERY):
        assert secret not in exported + journal + files_hold(server.data_dir)
    assert Secrets.TAIL not in log


def files_hold(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def metrics_folder(server: Server) -> Path:
    environment = Path(f"/proc/{server.children('worker')[0]}/environ").read_bytes().split(b"\0")
    prefix = f"{FOLDER_VARIABLE}=".encode()
    return Path(next(each.removeprefix(prefix).decode() for each in environment if each.startswith(prefix)))


HOSTILE_PATH = "/v1/%1b[2J%0d%0a12:00:00 error forged/\x1b[31mred\u202e"


@pytest.mark.parametrize("form", ["console", "json"])
def test_hostile_calls_write_no_line_of_their_own(upstream: ScriptedUpstream, tmp_path: Path, form: str) -> None:
    with Server(upstream.base_url, tmp_path / "data", "--log-level", "debug", "--log-format", form) as server:
        model = "m\x1b[2J\r\nforged \u2028\u202e"
        httpx.post(f"{server.base_url}/chat/completions", json={**BODY, "model": model})
        for path in (HOSTILE_PATH.encode(), b"/v1/\x1b[2J", b"/v1/a\rb", b"/\xe2\x80\xae"):
            raw(server, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        server.wait_traces(1)
    lines = server.log().split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith(("forged", "12:00:00 error forged")) for line in lines)
    if form == "json":
        assert all(json.loads(line)["level"] for line in lines if line)


def test_without_the_extra_a_server_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.proto'] = None\n"
        "from tracemill.cli import main\n"
        f"sys.argv = ['tracemill', 'serve', '--upstream', 'http://127.0.0.1:1/v1', '--data-dir', {str(tmp_path)!r}, "
        "'--otlp-endpoint', 'http://127.0.0.1:4318']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "pip install 'tracemill[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


def wait_value(server: Server, name: str, condition: Callable[[float], bool], **labels: str) -> None:
    server.wait_for(lambda: [1] * condition(metrics(server).total(name, **labels)), 1, 10)


def test_what_happens_is_counted(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Each line of the page of metrics that a call can move, through the real server."""
    with Server(upstream.base_url, tmp_path / "data") as server:
        for _ in range(5):
            httpx.post(f"{server.base_url}/chat/completions", json=BODY)
        raw(server, b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        wait_value(server, "tracemill_calls_total", lambda value: value == 5, route="default", status="200")
        wait_value(server, "tracemill_refused_total", lambda value: value == 1, status="400")
        wait_value(server, "tracemill_ingest_traces_total", lambda value: value == 5)
        wait_value(server, "tracemill_ingest_lag_seconds", lambda value: value == 0)
        wait_value(server, "tracemill_ingest_behind_bytes", lambda value: value == 0)
        wait_value(server, "tracemill_ingest_batch_calls_sum", lambda value: value == 5)
        wait_value(server, "tracemill_build_info", lambda value: value == 1)
        server.kill("ingest")
        wait_value(server, "tracemill_process_restarts_total", lambda value: value == 1, process="ingest")
        httpx.post(f"{server.base_url}/chat/completions", json=BODY)
        wait_value(server, "tracemill_ingest_traces_total", lambda value: value == 6)
