"""Requests that are none, or that two servers could read two ways, end here: before any upstream hears of them."""

import json

import pytest

from tests.acceptance.differential.case import TRACE_ID
from tests.acceptance.differential.known_gaps import with_gaps
from tests.raw_client import Ending, RawClient, Received
from tests.raw_upstream import RawUpstream
from tests.server import Server
from tests.upstream import plain

NEXT = b"GET /v1/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
"""Sent right behind each hostile request; whoever reads the first one wrongly sends this on."""


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /v1/x HTTP/1.1", b"Host: h", *fields, b"", body])


def get(*fields: bytes, line: bytes = b"GET /v1/x HTTP/1.1", host: bytes = b"Host: h") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

_LENGTHS = {
    "length-and-chunked": post(b"Content-Length: 5", CHUNKED, body=CHUNKS),
    "chunked-and-length": post(CHUNKED, b"Content-Length: 4", body=CHUNKS),
    "length-zero-and-chunked": post(b"Content-Length: 0", CHUNKED, body=CHUNKS),
    "two-lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "same-length-twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "length-list": post(b"Content-Length: 5, 5", body=b"hello"),
    "length-list-of-two": post(b"Content-Length: 5, 6", body=b"hello"),
    "length-plus": post(b"Content-Length: +5", body=b"hello"),
    "length-minus": post(b"Content-Length: -5", body=b"hello"),
    "length-hex": post(b"Content-Length: 0x5", body=b"hello"),
    "length-inner-space": post(b"Content-Length: 1 0", body=b"hello"),
    "length-underscore": post(b"Content-Length: 1_0", body=b"hello"),
    "length-decimal-point": post(b"Content-Length: 5.0", body=b"hello"),
    "length-empty": post(b"Content-Length:", body=b"hello"),
    "length-word": post(b"Content-Length: five", body=b"hello"),
    "length-other-digits": post("Content-Length: ５".encode(), body=b"hello"),
    "length-overflow": post(b"Content-Length: 18446744073709551621", body=b"hello"),
    "length-endless": post(b"Content-Length: " + b"9" * 5000, body=b"hello"),
    "length-underscore-name": post(b"Content_Length: 5", b"Content-Length: 5", b"content-length: 7", body=b"hello"),
}
_CODINGS = {
    "chunked-twice": post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "chunked-twice-in-two": post(CHUNKED, CHUNKED, body=CHUNKS),
    "chunked-not-last": post(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "gzip-alone": post(b"Transfer-Encoding: gzip", body=CHUNKS),
    "gzip-then-chunked": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "identity": post(b"Transfer-Encoding: identity", body=CHUNKS),
    "identity-and-length": post(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked-in-quotes": post(b'Transfer-Encoding: "chunked"', body=CHUNKS),
    "chunked-with-parameter": post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS),
    "chunked-vertical-tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "chunked-empty": post(b"Transfer-Encoding:", body=CHUNKS),
    "chunked-comma-first": post(b"Transfer-Encoding: ,chunked", body=CHUNKS),
    "chunked-space-before-colon": post(b"Transfer-Encoding : chunked", body=CHUNKS),
    "chunked-in-http10": b"POST /v1/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunked-nul-behind": post(b"Transfer-Encoding: chunked\x00", body=CHUNKS),
}
_FIELDS = {
    "space-before-colon": get(b"X-A : 1"),
    "tab-before-colon": get(b"X-A\t: 1"),
    "length-space-before-colon": post(b"Content-Length : 5", body=b"hello"),
    "no-colon": get(b"X-A"),
    "no-name": get(b": 1"),
    "space-in-name": get(b"X A: 1"),
    "octet-in-name": get(b"X-\xe9: 1"),
    "nul-in-name": get(b"X-\x00: 1"),
    "brackets-in-name": get(b"X[]: 1"),
    "nul-in-value": get(b"X-A: a\x00b"),
    "control-in-value": get(b"X-A: a\x01b"),
    "delete-in-value": get(b"X-A: a\x7fb"),
    "carriage-return-in-value": get(b"X-A: a\rX-B: b"),
    "line-feed-in-value": get(b"X-A: a\nX-B: b"),
    "folded": get(b"X-A: a", b" b"),
    "folded-tab": get(b"X-A: a", b"\tb"),
    "folded-length": post(b"Content-Length:", b" 5", body=b"hello"),
    "folded-first": b"GET /v1/x HTTP/1.1\r\n Host: h\r\n\r\n",
    "line-feeds-alone": b"GET /v1/x HTTP/1.1\nHost: h\n\n",
    "line-feed-ends-a-field": b"GET /v1/x HTTP/1.1\r\nHost: h\nX-A: 1\r\n\r\n",
    "carriage-returns-alone": b"GET /v1/x HTTP/1.1\rHost: h\r\r\r\n\r\n",
    "line-feed-ends-the-head": b"GET /v1/x HTTP/1.1\r\nHost: h\r\n\nX: 1\r\n\r\n",
}
_HOSTS = {
    "no-host": get(host=b""),
    "two-hosts": get(b"Host: other"),
    "same-host-twice": get(b"host: h"),
    "host-list": get(host=b"Host: a, b"),
    "host-userinfo": get(host=b"Host: u@h"),
    "host-path": get(host=b"Host: h/v1"),
    "host-query": get(host=b"Host: h?x"),
    "host-fragment": get(host=b"Host: localhost:80#@evil"),
    "host-backslash": get(host=b"Host: h\\evil"),
    "host-space": get(host=b"Host: a b"),
}
_LINES = {
    "connect": get(line=b"CONNECT evil:443 HTTP/1.1"),
    "connect-to-a-path": get(line=b"CONNECT /v1/x HTTP/1.1"),
    "method-brackets": get(line=b"GE(T /v1/x HTTP/1.1"),
    "method-colon": get(line=b"GET: /v1/x HTTP/1.1"),
    "method-octet": get(line=b"G\xc9T /v1/x HTTP/1.1"),
    "method-nul": get(line=b"GE\x00T /v1/x HTTP/1.1"),
    "method-missing": get(line=b" /v1/x HTTP/1.1"),
    "version-in-small-letters": get(line=b"GET /v1/x http/1.1"),
    "version-missing": get(line=b"GET /v1/x"),
    "version-09": b"GET /v1/x\r\n\r\n",
    "version-short": get(line=b"GET /v1/x HTTP/1"),
    "version-long": get(line=b"GET /v1/x HTTP/1.10"),
    "version-plus": get(line=b"GET /v1/x HTTP/+1.1"),
    "version-hex": get(line=b"GET /v1/x HTTP/1.1a"),
    "version-trailing-space": get(line=b"GET /v1/x HTTP/1.1 "),
    "version-of-another": get(line=b"GET /v1/x ICE/1.1"),
    "two-spaces": get(line=b"GET  /v1/x HTTP/1.1"),
    "two-spaces-behind": get(line=b"GET /v1/x  HTTP/1.1"),
    "tab-for-space": get(line=b"GET\t/v1/x\tHTTP/1.1"),
    "space-in-target": get(line=b"GET /v1/x y HTTP/1.1"),
    "nul-in-target": get(line=b"GET /v1/\x00 HTTP/1.1"),
    "control-in-target": get(line=b"GET /v1/\x01 HTTP/1.1"),
    "delete-in-target": get(line=b"GET /v1/\x7f HTTP/1.1"),
    "carriage-return-in-target": get(line=b"GET /v1/x\rX HTTP/1.1"),
    "empty-target": get(line=b"GET  HTTP/1.1"),
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 40 + b"\r\n\r\n",
    "garbage": b"\xff" * 64 + b"\r\n\r\n",
    "answer-as-request": b"HTTP/1.1 200 OK\r\nHost: h\r\n\r\n",
    "socks": b"\x05\x01\x00\r\n\r\n",
}
_OTHER_VERSIONS = {
    "http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version-20": get(line=b"GET /v1/x HTTP/2.0"),
    "version-30": get(line=b"GET /v1/x HTTP/3.0"),
    "version-12": get(line=b"GET /v1/x HTTP/1.2"),
    "version-00": get(line=b"GET /v1/x HTTP/0.9"),
}
_LARGE = {
    "long-target": get(line=b"GET /v1/" + b"a" * 1_000_000 + b" HTTP/1.1"),
    "long-value": get(b"X-A: " + b"a" * 1_000_000),
    "long-name": get(b"X" * 1_000_000 + b": 1"),
    "many-fields": get(*(b"x: 1" for _ in range(100_000))),
    "long-method": b"A" * 1_000_000 + b" /v1/x HTTP/1.1\r\nHost: h\r\n\r\n",
}
_TARGETS = {
    "absolute-form": b"http://evil/v1/x", "absolute-form-of-ours": b"http://h/v1/x", "other-scheme": b"ftp://h/v1/x",
    "authority-form": b"evil:443", "asterisk": b"*", "no-slash": b"v1/x", "two-slashes": b"//evil/v1/x",
    "at": b"/@evil/v1", "at-without-slash": b"@evil/v1/x", "outside": b"/admin", "outside-alike": b"/v1x",
    "outside-mount-in-query": b"/?/v1/x", "capital-mount": b"/V1/x", "coded-mount": b"/%76%31/x",
    "dots": b"/v1/../admin", "dots-at-end": b"/v1/..", "dots-first": b"/../v1/x", "dot": b"/v1/./x",
    "dots-and-back": b"/v1/../v1/x", "dots-deep": b"/v1/a/../../../etc/passwd",
    "dots-coded": b"/v1/%2e%2e/admin", "dots-coded-capital": b"/v1/%2E%2E/admin", "dots-half-coded": b"/v1/.%2e/admin",
    "slash-coded": b"/v1/..%2f..%2fadmin", "slash-coded-capital": b"/v1/..%2F..%2Fadmin",
    "dots-coded-twice": b"/v1/%252e%252e/admin", "slash-coded-twice": b"/v1/..%252fadmin",
    "dots-parameter": b"/v1/..;/admin", "dots-parameter-value": b"/v1/..;a=b/admin",
    "backslash": b"/v1\\..\\admin", "backslash-coded": b"/v1/..%5c..%5cadmin", "backslash-alone": b"/v1/a\\b",
    "fragment": b"/v1/x#y", "fragment-host": b"/v1#@evil/",
}  # fmt: skip


def refused(
    wire: bytes, statuses: set[int], upstream: RawUpstream, server: Server, *, may_reset: bool = False
) -> Received:
    """Send it and check the refusal; the upstream must not have got one byte."""
    upstream.script = lambda _request: plain(b"reached")
    before = (upstream.connections, upstream.received)
    with RawClient(server.port, timeout_s=5) as client:
        client.send(wire)
        answer = client.read_answer(b"GET")
        if not (may_reset and answer.ending in (Ending.RESET, Ending.NOTHING)):
            assert answer.status in statuses, answer
            error = json.loads(answer.body)["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"]
            assert answer.values(b"x-tracemill-error") == [error["code"].encode()]
            assert answer.values(TRACE_ID) == []
        if NEXT in wire:
            assert client.read_rest() == b"", "what followed was answered, too"
    assert (upstream.connections, upstream.received) == before
    return answer


GRAMMAR = {**_LENGTHS, **_CODINGS, **_FIELDS, **_HOSTS, **_LINES}


@pytest.mark.parametrize("name", with_gaps(GRAMMAR))
def test_what_the_grammar_forbids_is_refused_with_all_that_follows_it(
    raw_upstream: RawUpstream, raw_server: Server, name: str
) -> None:
    """RFC 9112, 11.2: a request that the next server could end elsewhere carries a second one past us."""
    kinds = {"connect": {405, 501}, "version": {505}}
    statuses = {501} if name in _CODINGS else kinds.get(name.partition("-")[0], set())
    refused(GRAMMAR[name] + NEXT, {400} | statuses, raw_upstream, raw_server)


@pytest.mark.parametrize("name", with_gaps(_OTHER_VERSIONS))
def test_other_versions_of_http_are_refused(raw_upstream: RawUpstream, raw_server: Server, name: str) -> None:
    refused(_OTHER_VERSIONS[name] + NEXT, {400, 505}, raw_upstream, raw_server)


@pytest.mark.parametrize("name", with_gaps(_LARGE))
def test_a_head_past_its_bound_is_refused(raw_upstream: RawUpstream, raw_server: Server, name: str) -> None:
    """The rest of it is on its way when the answer leaves; a reset may overtake that."""
    refused(_LARGE[name] + NEXT, {400, 414, 431}, raw_upstream, raw_server, may_reset=True)


@pytest.mark.parametrize("name", with_gaps(f"target-refused-{name}" for name in _TARGETS))
def test_no_target_leaves_the_configured_upstream(raw_upstream: RawUpstream, raw_server: Server, name: str) -> None:
    target = _TARGETS[name.removeprefix("target-refused-")]
    refused(get(line=b"GET " + target + b" HTTP/1.1"), {400, 404}, raw_upstream, raw_server)


_BROKEN_BODIES = {
    "size-word": b"zz\r\nhello\r\n",
    "size-minus": b"-5\r\nhello\r\n",
    "size-plus": b"+5\r\nhello\r\n",
    "size-prefix": b"0x5\r\nhello\r\n",
    "size-space-first": b" 5\r\nhello\r\n",
    "size-underscore": b"1_0\r\nhello\r\n",
    "size-empty": b"\r\nhello\r\n",
    "size-overflow": b"10000000000000005\r\nhello\r\n",
    "size-endless": b"0" * 70_000 + b"5\r\nhello\r\n",
    "size-line-feed": b"5\nhello\r\n",
    "size-carriage-return": b"5\rhello\r\n",
    "extension-line-feed": b"5;a\nb\r\nhello\r\n",
    "extension-endless": b"5;" + b"a" * 70_000 + b"\r\nhello\r\n",
    "extension-nul": b"5;a\x00\r\nhello\r\n",
    "chunk-too-long": b"5\r\nhello!\r\n",
    "chunk-line-feed": b"5\r\nhello\n",
    "trailer-no-colon": b"0\r\nnothing\r\n\r\n",
    "trailer-folded": b"0\r\nX-A: 1\r\n b\r\n\r\n",
    "trailer-nul": b"0\r\nX-A: \x00\r\n\r\n",
    "trailer-line-feed": b"0\r\nX-A: 1\nX-B: 2\r\n\r\n",
    "trailers-endless": b"0\r\n" + b"X: 1\r\n" * 200_000,
}


@pytest.mark.parametrize("name", with_gaps(f"body-refused-{name}" for name in _BROKEN_BODIES))
def test_a_body_that_breaks_its_framing_ends_the_upstreams_call(
    raw_upstream: RawUpstream, raw_server: Server, name: str
) -> None:
    """The upstream has begun its call by then; it must not take what came so far for the whole."""
    raw_upstream.script = lambda _request: plain(b"reached")
    before = len(raw_upstream.requests)
    with RawClient(raw_server.port, timeout_s=5) as client:
        client.send(post(CHUNKED, body=b"3\r\nfew\r\n"))
        raw_server.wait_for(lambda: raw_upstream.requests[before:], 1, 5)
        client.send(_BROKEN_BODIES[name.removeprefix("body-refused-")] + NEXT)
        answer = client.read_answer(b"POST")
        assert answer.status == 400 or answer.ending is Ending.RESET, answer
        assert client.read_rest() == b""
    (begun,) = raw_upstream.requests[before:]
    assert begun.is_over.wait(5), "the upstream still waits for the rest"
    assert not begun.is_whole


def test_a_fragment_in_the_query_goes_on_as_it_is_or_not_at_all(raw_upstream: RawUpstream, raw_server: Server) -> None:
    raw_upstream.script = lambda _request: plain(b"reached")
    before = len(raw_upstream.requests)
    with RawClient(raw_server.port, timeout_s=5) as client:
        client.send(get(line=b"GET /v1/a?b#c HTTP/1.1"))
        status = client.read_answer(b"GET").status
    assert (status, [seen.target for seen in raw_upstream.requests[before:]]) in [(400, []), (200, [b"/v1/a?b#c"])]
