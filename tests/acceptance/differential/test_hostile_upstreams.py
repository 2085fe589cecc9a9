"""Upstreams that break HTTP: the client gets a 502 of ours or a cut connection, never an answer that looks whole."""

import json
from collections.abc import Sequence

import pytest

from tests.acceptance.differential.answer_cases import CHUNKED, EVENTS, GET, LENGTH, PLAIN
from tests.acceptance.differential.case import TRACE_ID, head, sized, whole
from tests.acceptance.differential.known_gaps import with_gaps
from tests.acceptance.differential.request_cases import JSON
from tests.raw_client import Ending, RawClient, Received
from tests.raw_upstream import RawUpstream, Step
from tests.server import Server
from tests.upstream import STREAM_END, Dawdle, Hangup, Reset, framed, plain

_LINE = b"HTTP/1.1 200 OK\r\n"
_REPORTED: dict[str, Sequence[Step]] = {
    "two-lengths": [head(b"200 OK", b"Content-Length: 8", b"Content-Length: 3"), PLAIN],
    "length-list-of-two": [head(b"200 OK", b"Content-Length: 8, 3"), PLAIN],
    "length-minus": [head(b"200 OK", b"Content-Length: -8"), PLAIN],
    "length-plus": [head(b"200 OK", b"Content-Length: +8"), PLAIN],
    "length-hex": [head(b"200 OK", b"Content-Length: 0x8"), PLAIN],
    "length-word": [head(b"200 OK", b"Content-Length: eight"), PLAIN],
    "length-overflow": [head(b"200 OK", b"Content-Length: " + b"9" * 400), PLAIN],
    "coding-unknown": [head(b"200 OK", b"Transfer-Encoding: x-mine"), PLAIN, Hangup()],
    "coding-gzip-chunked": [head(b"200 OK", b"Transfer-Encoding: gzip, chunked"), framed(PLAIN), STREAM_END],
    "coding-chunked-twice": [head(b"200 OK", b"Transfer-Encoding: chunked, chunked"), framed(PLAIN), STREAM_END],
    "carriage-return-in-value": [_LINE + b"X-A: a\rSet-Cookie: b\r\n" + LENGTH + b"\r\n\r\n" + PLAIN],
    "nul-in-value": [_LINE + b"X-A: a\x00b\r\n" + LENGTH + b"\r\n\r\n" + PLAIN],
    "control-in-value": [_LINE + b"X-A: a\x01b\r\n" + LENGTH + b"\r\n\r\n" + PLAIN],
    "name-with-space": [_LINE + b"X A: 1\r\n" + LENGTH + b"\r\n\r\n" + PLAIN],
    "no-colon": [_LINE + b"nothing\r\n" + LENGTH + b"\r\n\r\n" + PLAIN],
    "status-099": [head(b"099 Odd", LENGTH), PLAIN],
    "status-600": [head(b"600 Odd", LENGTH), PLAIN],
    "status-999": [head(b"999 Odd", LENGTH), PLAIN],
    "status-20": [head(b"20 Odd", LENGTH), PLAIN],
    "status-2000": [head(b"2000 Odd", LENGTH), PLAIN],
    "status-word": [head(b"OK", LENGTH), PLAIN],
    "switching-unasked": [head(b"101 Switching Protocols", b"Upgrade: x", b"Connection: Upgrade"), PLAIN],
    "version-2": [head(b"200 OK", LENGTH, version=b"HTTP/2.0"), PLAIN],
    "version-small": [head(b"200 OK", LENGTH, version=b"http/1.1"), PLAIN],
    "version-09": [b"just text, as in 1991", Hangup()],
    "ssh": [b"SSH-2.0-OpenSSH_9.2\r\n", Hangup()],
    "tls-alert": [b"\x15\x03\x01\x00\x02\x02\x46", Hangup()],
    "octets": [bytes(range(256)) * 8, Hangup()],
    "empty-lines": [b"\r\n" * 1000, Hangup()],
    "head-without-end": [_LINE + b"X-A: 1\r\n", Hangup()],
    "head-endless": [_LINE, *(b"X-A: " + b"a" * 1000 + b"\r\n" for _ in range(2000)), b"\r\n"],
    "value-endless": [_LINE + b"X-A: ", *(b"a" * 65536 for _ in range(40)), b"\r\n\r\n"],
    "status-line-endless": [b"HTTP/1.1 200 ", *(b"a" * 65536 for _ in range(40)), b"\r\n\r\n"],
    "interim-endless": [head(b"102 Processing") * 2000 for _ in range(200)] + [whole(PLAIN)],
    "interim-then-hangup": [head(b"103 Early Hints"), Hangup()],
    "interim-then-garbage": [head(b"100 Continue") + b"no http\r\n\r\n", Hangup()],
    "hangup": [Hangup()],
    "reset": [Reset()],
    "reset-in-the-line": [b"HTTP/1.", Dawdle(0.02), Reset()],
    "reset-in-the-head": [_LINE + b"X-A", Dawdle(0.02), Reset()],
    "hangup-in-the-line": [b"HTTP/1.1 20", Hangup()],
}  # fmt: skip
_CHUNKS = head(b"200 OK", CHUNKED) + framed(PLAIN)
_CUT: dict[str, Sequence[Step]] = {
    "chunk-size-word": [_CHUNKS, Dawdle(0.05), b"zz\r\nabc\r\n", STREAM_END],
    "chunk-size-minus": [_CHUNKS, Dawdle(0.05), b"-5\r\nabc\r\n", STREAM_END],
    "chunk-size-overflow": [_CHUNKS, Dawdle(0.05), b"fffffffffffffffff\r\nabc\r\n", STREAM_END],
    "chunk-size-empty": [_CHUNKS, Dawdle(0.05), b"\r\nabc\r\n", STREAM_END],
    "chunk-too-long": [_CHUNKS, Dawdle(0.05), b"2\r\nabc\r\n", STREAM_END],
    "chunk-extension-endless": [_CHUNKS, Dawdle(0.05), b"5;", *(b"a" * 65536 for _ in range(20)), Hangup()],
    "chunk-cut": [_CHUNKS, Dawdle(0.05), b"ff\r\nabc", Hangup()],
    "chunk-reset": [_CHUNKS, Dawdle(0.05), b"ff\r\nabc", Reset()],
    "trailers-endless": [_CHUNKS, Dawdle(0.05), b"0\r\n", *(b"X: 1\r\n" * 10_000 for _ in range(40)), Hangup()],
    "trailer-no-field": [_CHUNKS, Dawdle(0.05), b"0\r\nno field\r\n\r\n"],
    "trailer-nul": [_CHUNKS, Dawdle(0.05), b"0\r\nX-A: \x00\r\n\r\n"],
    "second-answer-in-chunks": [_CHUNKS, Dawdle(0.05), whole(b"second")],
    "events-then-garbage": [head(b"200 OK", EVENTS, CHUNKED), framed(b"data: 1\n\n"), Dawdle(0.05), b"\xff\r\n"],
}  # fmt: skip
ASK = sized(b"POST /v1/chat/completions", JSON, b"Content-Type: application/json")


def ask(upstream: RawUpstream, server: Server, steps: Sequence[Step], wire: bytes = ASK) -> Received:
    upstream.script = lambda _request: steps
    with RawClient(server.port, timeout_s=5) as client:
        client.send(wire)
        return client.read_answer(wire.split(b" ", 1)[0])


def lives(upstream: RawUpstream, server: Server) -> bool:
    return ask(upstream, server, plain(b"alive"), GET).body == b"alive"


@pytest.mark.parametrize("name", with_gaps(f"reported-{name}" for name in _REPORTED))
def test_an_answer_that_is_no_http_is_a_502_in_the_clients_own_error_shape(
    raw_upstream: RawUpstream, raw_server: Server, name: str
) -> None:
    answer = ask(raw_upstream, raw_server, _REPORTED[name.removeprefix("reported-")])
    assert (answer.status, answer.ending) == (502, Ending.WHOLE), answer
    error = json.loads(answer.body)["error"]
    assert error["code"] == "upstream_aborted"
    assert answer.values(b"x-tracemill-error") == [b"upstream_aborted"]
    assert len(answer.values(TRACE_ID)) == 1
    assert lives(raw_upstream, raw_server)


@pytest.mark.parametrize("name", with_gaps(f"cut-off-{name}" for name in _CUT))
def test_an_answer_that_breaks_in_its_middle_is_cut_for_the_client(
    raw_upstream: RawUpstream, raw_server: Server, name: str
) -> None:
    answer = ask(raw_upstream, raw_server, _CUT[name.removeprefix("cut-off-")])
    assert answer.status == 200
    assert answer.ending in (Ending.CUT, Ending.RESET), answer
    assert (PLAIN + b"abc").startswith(answer.body[:11]) or answer.body.startswith(b"data: 1")
    assert lives(raw_upstream, raw_server)


_ENDS = {
    "sized": head(b"200 OK", b"X-A: 1", LENGTH) + PLAIN,
    "chunked": head(b"200 OK", CHUNKED) + framed(PLAIN) + b"0\r\nX-T: 1\r\n\r\n",
}


@pytest.mark.parametrize("framing", _ENDS)
@pytest.mark.parametrize("fault", [Hangup(), Reset()], ids=["hangup", "reset"])
def test_an_answer_cut_at_any_byte_never_ends_as_if_it_were_whole(
    raw_upstream: RawUpstream, raw_server: Server, framing: str, fault: Hangup | Reset
) -> None:
    wire = _ENDS[framing]
    for place in range(len(wire)):
        answer = ask(raw_upstream, raw_server, [wire[:place], fault])
        assert answer.ending is not Ending.WHOLE or answer.status == 502, f"cut at {place}: {answer}"
        if answer.status == 200:
            assert PLAIN.startswith(answer.body)
        else:
            assert answer.status == 502
    assert lives(raw_upstream, raw_server)


def test_a_length_beside_chunked_framing_does_not_count_and_ends_the_connection(
    raw_upstream: RawUpstream, raw_server: Server
) -> None:
    """RFC 9112, 6.3: chunked wins, and who forwards the answer takes the length away; or refuses it."""
    answer = ask(raw_upstream, raw_server, [head(b"200 OK", b"Content-Length: 3", CHUNKED), framed(PLAIN), STREAM_END])
    assert answer.status == 502 or (answer.body == PLAIN and answer.values(b"content-length") == [])
    assert answer.ending is Ending.WHOLE


@pytest.mark.parametrize("behind", [whole(b"not asked for"), b"garbage", b"\r\n"], ids=["answer", "garbage", "line"])
def test_what_follows_an_answer_reaches_nobody(raw_upstream: RawUpstream, raw_server: Server, behind: bytes) -> None:
    """An answer left on a kept connection would become the next client's (response splitting)."""
    first = ask(raw_upstream, raw_server, [whole(PLAIN) + behind])
    assert (first.status, first.body) == (200, PLAIN)
    for _ in range(3):
        assert ask(raw_upstream, raw_server, plain(b"mine"), GET).body == b"mine"


def test_what_follows_an_answer_later_reaches_nobody(raw_upstream: RawUpstream, raw_server: Server) -> None:
    for _ in range(5):
        steps = [whole(PLAIN), Dawdle(0.01), whole(b"not asked for")]
        assert ask(raw_upstream, raw_server, steps, GET).body == PLAIN
        assert raw_upstream.requests[-1].is_over.wait(5)
        assert ask(raw_upstream, raw_server, plain(b"mine"), GET).body == b"mine"
