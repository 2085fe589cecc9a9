"""Heads: what is one, what is not, and that nothing is lost of it."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HeadError
from proxy.wire.framing import request_body
from proxy.wire.head import (
    encode_head,
    find_response_head_end,
    parse_request_head,
    parse_response_head,
)

GET = b"GET /v1/models HTTP/1.1\r\nHost: h\r\n"

NAMES = st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}", fullmatch=True)
VALUES = st.from_regex(rb"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


@given(fields=FIELDS, method=NAMES, target=st.from_regex(rb"/[\x21-\x7e\x80-\xff]{0,30}", fullmatch=True))
def test_what_was_written_as_a_request_is_read_back_to_the_letter(
    fields: list[tuple[bytes, bytes]], method: bytes, target: bytes
) -> None:
    wire = encode_head(method + b" " + target + b" HTTP/1.1", fields)
    assert wire.find(b"\r\n\r\n") == len(wire) - 4
    read = parse_request_head(wire)
    assert (read.method, read.target, read.version, read.fields) == (method, target, b"1.1", fields)


@given(fields=FIELDS, status=st.integers(100, 599), reason=VALUES)
def test_what_was_written_as_an_answer_is_read_back_to_the_letter(
    fields: list[tuple[bytes, bytes]], status: int, reason: bytes
) -> None:
    wire = encode_head(b"HTTP/1.1 %d %b" % (status, reason), fields)
    assert find_response_head_end(wire) == len(wire)
    read = parse_response_head(wire)
    assert (read.version, read.status, read.reason, read.fields) == (b"1.1", status, reason, fields)


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    assert parse_request_head(GET + b"A:\t b c \t\r\nB:\r\n\r\n").fields[1:] == [(b"A", b"b c"), (b"B", b"")]


REFUSED = {
    "field folded": GET + b"A: b\r\n c\r\n\r\n",
    "space before the colon": GET + b"A : b\r\n\r\n",
    "space before the name": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "no colon": GET + b"A\r\n\r\n",
    "no name": GET + b": b\r\n\r\n",
    "name with a bracket": GET + b"A(: b\r\n\r\n",
    "NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "carriage return alone in a value": GET + b"A: b\rc\r\n\r\n",
    "line feed alone": GET + b"A: b\nC: d\r\n\r\n",
    "DEL in a value": GET + b"A: b\x7f\r\n\r\n",
    "two spaces on the request line": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "tab on the request line": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "space at the end of the request line": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: h\r\n\r\n",
    "method with a colon": b"GE:T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "small letters in the version": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED)
def test_a_request_that_the_grammar_forbids_is_refused(head: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        parse_request_head(head)
    assert caught.value.status == 400


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/3", b"HTTP/0.9"])
def test_another_version_is_told_so(version: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        parse_request_head(b"PRI * " + version + b"\r\n\r\n")
    assert caught.value.status == 505


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_head_or_an_error_of_ours(noise: bytes) -> None:
    for wire in (noise, GET + noise + b"\r\n\r\n"):
        try:
            head = parse_request_head(wire)
        except HeadError:
            continue
        assert wire.startswith(head.method + b" " + head.target)


LINES = [
    b"A: b\r\n", b"A:b \r\n", b" c\r\n", b"\n", b"\r", b"\0", b"X : y\r\n", b"B: \xff\r\n",
    b"Host: i\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES)))
def test_no_request_is_taken_that_h11_refuses(lines: list[bytes]) -> None:
    """h11 is the strictest reader of requests in Python; what both take, they read the same."""
    wire = GET + b"".join(lines) + b"\r\n"
    try:
        head = parse_request_head(wire)
        request_body(head)
    except HeadError:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(wire)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert [(name.lower(), value) for name, value in head.fields] == list(event.headers)


PUT_RIGHT = {
    "line feeds alone": b"HTTP/1.1 200 OK\nA: b\nC: d\n\n",
    "folded": b"HTTP/1.1 200 OK\r\nA:\r\n b\r\nC: d\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\nC\t: d\r\n\r\n",
}


@pytest.mark.parametrize("head", PUT_RIGHT.values(), ids=PUT_RIGHT)
def test_an_answer_that_clients_read_all_the_same_is_put_right(head: bytes) -> None:
    assert find_response_head_end(head) == len(head)
    assert parse_response_head(head).fields == [(b"A", b"b"), (b"C", b"d")]


def test_an_answer_needs_no_reason() -> None:
    assert parse_response_head(b"HTTP/1.1 200\r\n\r\n").reason == b""


@pytest.mark.parametrize("line", [b"HTTP/1.1 099 Odd", b"HTTP/1.1 600 Odd", b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"OK"])
@pytest.mark.parametrize("field", [b"A: b", b"A: \0", b"A: \r", b"A", b"(: b"])
def test_an_answer_that_is_none_is_refused(line: bytes, field: bytes) -> None:
    with pytest.raises(HeadError):
        parse_response_head(line + b"\r\n" + field + b"\r\n\r\n")
