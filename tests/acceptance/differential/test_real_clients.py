"""Clients as people use them, directly and through the proxy: what they tell and what the upstream got is the same."""

import asyncio
import gzip
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import httpx2 as httpx
import pytest

from proxy.ingest.content_coding import zstd
from tests.acceptance.differential.answer_cases import CHUNKED, END, EVENTS, PLAIN
from tests.acceptance.differential.case import head, seen_request, whole
from tests.raw_upstream import LeaveUnread, RawRequest, RawUpstream, ReadBody, Step
from tests.server import Server
from tests.upstream import Dawdle, Hangup, framed

_COOKIES = (b"Set-Cookie: a=1", b"X-A: caf\xe9", b"Set-Cookie: b=2")
_UNBUFFERED = b"X-Accel-Buffering: no"
_ANSWERS: dict[bytes, list[Step]] = {
    b"/v1/plain": [whole(PLAIN, b"Content-Type: application/json", *_COOKIES)],
    b"/v1/gzip": [whole(gzip.compress(PLAIN * 9, mtime=0), b"Content-Encoding: gzip")],
    b"/v1/br": [whole(brotli.compress(PLAIN * 9), b"Content-Encoding: br")],
    b"/v1/zstd": [whole(zstd.compress(PLAIN * 9), b"Content-Encoding: zstd")],
    b"/v1/none": [head(b"204 No Content", b"X-A: 1")],
    b"/v1/redirect": [whole(b"", b"Location: /v1/plain", status=b"307 Temporary Redirect")],
    b"/v1/missing": [whole(b'{"error": {"message": "no"}}', status=b"404 Not Here")],
    b"/v1/hints": [head(b"103 Early Hints", b"Link: </a>; rel=preload"), Dawdle(0.05), whole(PLAIN)],
    b"/v1/expect": [head(b"100 Continue"), ReadBody(), whole(PLAIN)],
    b"/v1/full": [LeaveUnread(), whole(b"no", b"Connection: close", status=b"413 Content Too Large"), Dawdle(0.05)],
    b"/v1/trailers": [head(b"200 OK", b"Trailer: X-Sum", CHUNKED), framed(PLAIN), b"0\r\nX-Sum: 1\r\n\r\n"],
    b"/v1/stream": [head(b"200 OK", EVENTS, CHUNKED, _UNBUFFERED), framed(b"data: 1\n\n"), Dawdle(0.02), END],
    b"/v1/cut": [head(b"200 OK", CHUNKED), framed(PLAIN), Dawdle(0.05), Hangup()],
    b"/v1/close": [head(b"200 OK", b"X-A: 1"), PLAIN, Hangup()],
}  # fmt: skip


def script(request: RawRequest) -> list[Step]:
    steps = _ANSWERS.get(request.target.partition(b"?")[0], [lambda seen: whole(seen.method + b" " + seen.body)])
    if request.method == b"HEAD":
        return [step.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if isinstance(step, bytes) else step for step in steps[:1]]
    return steps


def both(upstream: RawUpstream, server: Server, ask: Callable[[str], Any]) -> Any:
    """Ask directly and through the proxy; what either end saw must be equal. Return what the client told."""
    upstream.script = script
    told, seen = [], []
    for port in (upstream.port, server.port):
        before = len(upstream.requests)
        told.append(ask(f"http://127.0.0.1:{port}"))
        seen.append([seen_request(request) for request in upstream.requests[before:]])
    assert seen[0]
    assert _without_boundaries(seen[1]) == _without_boundaries(seen[0])
    assert told[1] == told[0]
    return told[0]


def _without_boundaries(value: Any) -> str:
    """Multipart borders, dates and host names of the client itself are new on each run."""
    return re.sub(r"-{8,}[\w-]+|--[0-9a-f]{32}|(boundary=)[\w-]+|127\.0\.0\.1:\d+", r"\1", repr(value))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_sees_what_it_sees_without_the_proxy(raw_upstream: RawUpstream, raw_server: Server) -> None:
    def ask(base: str) -> Any:
        command = ["node", str(Path(__file__).with_name("real_client.mjs")), base]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    told = both(raw_upstream, raw_server, ask)
    assert told["hints"]["interim"] == [[103, [["Link", "</a>; rel=preload"]]]]
    assert "continue" in told["expect"]["interim"]
    assert told["trailers"]["trailers"] == ["X-Sum", "1"]
    assert "cut" in told["cut"]
    assert "cut" in told["fetchCut"]


_CURL: dict[str, list[str]] = {
    "get": ["/v1/plain?a=b&c=%20"],
    "head": ["-I", "/v1/plain"],
    "post": ["-d", '{"a": 1}', "-H", "Content-Type: application/json", "/v1/echo"],
    "upload": ["-T", "PIECE", "-H", "Expect:", "/v1/echo"],
    "upload_chunked": ["-T", "PIECE", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "/v1/echo"],
    "expect": ["-T", "PIECE", "-H", "Expect: 100-continue", "/v1/expect"],
    "expect_refused": ["-T", "PIECE", "-H", "Expect: 100-continue", "/v1/full"],
    "form": ["-F", "purpose=fine-tune", "-F", "file=@PIECE;type=application/jsonl", "/v1/plain"],
    "delete": ["-X", "DELETE", "/v1/none"],
    "custom": ["-X", "QUERY", "-d", "q", "/v1/echo"],
    "compressed_gzip": ["--compressed", "/v1/gzip"],
    "compressed_br": ["--compressed", "/v1/br"],
    "compressed_zstd": ["--compressed", "/v1/zstd"],
    "raw_gzip": ["/v1/gzip"],
    "redirect": ["/v1/redirect"],
    "redirect_followed": ["-L", "/v1/redirect"],
    "missing": ["/v1/missing"],
    "hints": ["/v1/hints"],
    "stream": ["-N", "-d", "{}", "/v1/stream"],
    "trailers": ["/v1/trailers"],
    "close": ["/v1/close"],
    "cut": ["/v1/cut"],
    "http2_offered": ["--http2", "/v1/plain"],
    "http2_offered_post": ["--http2", "-d", "body", "/v1/echo"],
    "path_as_is": ["--path-as-is", "/v1/a%2Fb//c?x=/../y"],
    "two_calls": ["/v1/plain", "/v1/echo"],
    "range": ["-r", "0-3", "/v1/plain"],
    "empty_field": ["-H", "X-Empty;", "-H", "X-Odd:  a  b ", "-H", "User-Agent:", "/v1/plain"],
}  # fmt: skip


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", _CURL)
def test_curl_sees_what_it_sees_without_the_proxy(
    raw_upstream: RawUpstream, raw_server: Server, tmp_path: Path, name: str
) -> None:
    piece = tmp_path / "piece"
    piece.write_bytes(bytes(range(256)) * 2000)

    def ask(base: str) -> tuple[int, bytes]:
        words = [base + word if word.startswith("/v1") else word.replace("PIECE", str(piece)) for word in _CURL[name]]
        done = subprocess.run(["curl", "-sSi", *words], capture_output=True, timeout=20, check=False)
        return done.returncode, _without_one_connection(done.stdout)

    code, told = both(raw_upstream, raw_server, ask)
    assert code == (18 if name == "cut" else 0)
    assert told.startswith(b"HTTP/1.1 ")


def _without_one_connection(told: bytes) -> bytes:
    """Take out of what `curl -i` printed what may differ: our field, and those of one connection."""
    return re.sub(rb"(?im)^(?:x-tracemill-trace-id|connection|keep-alive|transfer-encoding): [^\r\n]*\r\n", b"", told)


def _told(response: httpx.Response, blocks: bytes) -> tuple[Any, ...]:
    ours = (b"x-tracemill-trace-id", b"connection", b"transfer-encoding")
    fields = [(name, value) for name, value in response.headers.raw if name.lower() not in ours]
    return response.status_code, response.reason_phrase, fields, blocks


_HTTPX: dict[str, tuple[str, str, dict[str, Any]]] = {
    "get": ("GET", "/v1/plain", {"params": {"a": "ü b"}}),
    "json": ("POST", "/v1/echo", {"json": {"a": 1}}),
    "form": ("POST", "/v1/echo", {"data": {"a": "1"}}),
    "files": ("POST", "/v1/plain", {"files": {"file": ("a.jsonl", b"{}" * 50_000)}}),
    "iterator": ("POST", "/v1/echo", {"content": "generated"}),
    "gzip": ("GET", "/v1/gzip", {}),
    "br": ("GET", "/v1/br", {}),
    "stream": ("POST", "/v1/stream", {"content": b"{}"}),
    "close": ("GET", "/v1/close", {}),
    "missing": ("GET", "/v1/missing", {}),
    "none": ("DELETE", "/v1/none", {}),
    "redirect": ("GET", "/v1/redirect", {}),
}


@pytest.mark.parametrize("name", _HTTPX)
def test_httpx_sees_what_it_sees_without_the_proxy(raw_upstream: RawUpstream, raw_server: Server, name: str) -> None:
    method, path, given = _HTTPX[name]

    def options(pieces: Any) -> dict[str, Any]:
        return {**given, "content": pieces()} if given.get("content") == "generated" else given

    def pieces() -> Any:
        yield from (b"one", b"two")

    async def pieces_later() -> Any:
        for piece in (b"one", b"two"):
            yield piece

    def ask(base: str) -> tuple[Any, ...]:
        with httpx.Client(timeout=5) as client, client.stream(method, base + path, **options(pieces)) as response:
            return _told(response, response.read())

    async def ask_later(base: str) -> tuple[Any, ...]:
        async with (
            httpx.AsyncClient(timeout=5) as client,
            client.stream(method, base + path, **options(pieces_later)) as response,
        ):
            return _told(response, await response.aread())

    assert both(raw_upstream, raw_server, ask) == both(
        raw_upstream, raw_server, lambda base: asyncio.run(ask_later(base))
    )


def test_httpx_sees_a_cut_as_a_cut(raw_upstream: RawUpstream, raw_server: Server) -> None:
    def ask(base: str) -> str:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            httpx.get(base + "/v1/cut", timeout=5)
        return type(caught.value).__name__

    assert both(raw_upstream, raw_server, ask) == "RemoteProtocolError"


def test_the_standard_library_sees_what_it_sees_without_the_proxy(
    raw_upstream: RawUpstream, raw_server: Server
) -> None:
    def ask(base: str) -> list[Any]:
        client = http.client.HTTPConnection(base.removeprefix("http://"), timeout=5)
        told = []
        for method, path, body in [
            ("GET", "/v1/plain", None), ("POST", "/v1/echo", b"body"), ("PUT", "/v1/echo", iter([b"a", b"b"])),
            ("HEAD", "/v1/plain", None), ("GET", "/v1/trailers", None), ("GET", "/v1/none", None),
            ("GET", "/v1/close", None),
        ]:  # fmt: skip
            client.request(method, path, body, {"X-A": "1"})
            answer = client.getresponse()
            fields = [pair for pair in answer.getheaders() if pair[0].lower() not in _ONE_CONNECTION]
            told.append((answer.status, answer.reason, fields, answer.read()))
        client.close()
        return told

    assert [status for status, *_ in both(raw_upstream, raw_server, ask)] == [200, 200, 200, 200, 200, 204, 200]


_ONE_CONNECTION = {"x-tracemill-trace-id", "connection", "transfer-encoding"}
