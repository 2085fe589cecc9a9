"""Bodies: where they end, whatever blocks they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import FramingError, HeadError
from proxy.wire.fields import Fields
from proxy.wire.framing import (
    BodyReader,
    ChunkedBody,
    CloseDelimitedBody,
    SizedBody,
    encode_chunk,
    encode_last_chunk,
    request_body,
    response_body,
)
from proxy.wire.head import RequestHead, ResponseHead

HOST = (b"Host", b"h")
CHUNKED = (b"Transfer-Encoding", b"chunked")


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(wire)) for place in places} | {len(wire)})
    return [wire[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


def read(body: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed a body; return its content and what came behind it."""
    content, after = [], b""
    for piece in pieces:
        if body.is_done:
            after += piece
        else:
            content += body.feed(piece)
            after = body.rest
    return b"".join(content), after


CUTS = st.lists(st.integers(0, 400), max_size=12)


@given(blocks=st.lists(st.binary(min_size=1, max_size=40), max_size=6), places=CUTS, after=st.binary(max_size=20))
def test_chunks_are_read_back_however_they_were_cut(blocks: list[bytes], places: list[int], after: bytes) -> None:
    trailers = [(b"X-Check", b"sum of it"), (b"x-two", b"")]
    wire = b"".join(encode_chunk(block) for block in blocks) + encode_last_chunk(trailers) + after
    body = ChunkedBody()
    assert read(body, cut(wire, places)) == (b"".join(blocks), after)
    assert body.trailers == trailers


def test_tiny_chunks_of_one_packet_are_few_blocks() -> None:
    body = ChunkedBody()
    blocks = body.feed(b"2\r\nab\r\n" * 10_000)
    assert (len(blocks), b"".join(blocks)) == (1, b"ab" * 10_000)


def test_chunks_are_read_back_byte_by_byte_with_extensions_and_large_letters() -> None:
    wire = b'A;name="a;b"\r\n0123456789\r\n000b ; x\r\n\r\n345678901\r\n0;end\r\n\r\n'
    body = ChunkedBody()
    pieces = [wire[place : place + 1] for place in range(len(wire))]
    assert read(body, pieces) == (b"0123456789\r\n345678901", b"")
    assert body.is_done


@given(content=st.binary(min_size=1, max_size=60), places=CUTS, after=st.binary(max_size=20))
def test_a_sized_body_ends_at_its_size(content: bytes, places: list[int], after: bytes) -> None:
    assert read(SizedBody(len(content)), cut(content + after, places)) == (content, after)


def test_a_body_without_a_size_ends_with_its_connection() -> None:
    body = CloseDelimitedBody()
    assert body.feed(b"all of it") == [b"all of it"]
    assert not body.is_done
    body.end()
    assert body.is_done


NO_CHUNKS = {
    "no number": b"x\r\n",
    "sign": b"+5\r\nhello\r\n",
    "negative": b"-5\r\nhello\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "space in front": b" 5\r\nhello\r\n",
    "nothing": b"\r\n",
    "far too large": b"fffffffffffffffff\r\n",
    "longer than said": b"5\r\nhello!\r\n",
    "line feed alone after the size": b"5\nhello\r\n0\r\n\r\n",
    "line feed alone after the chunk": b"5\r\nhello\n0\r\n\r\n",
    "carriage return in an extension": b"5;a\rb\r\nhello\r\n",
    "NUL in an extension": b"5;a\0\r\nhello\r\n",
    "trailer that is no field": b"0\r\nx y\r\n\r\n",
    "folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "endless size": b"0" * 5000,
    "endless trailers": b"0\r\n" + b"a: b\r\n" * 20_000,
}


@pytest.mark.parametrize("wire", NO_CHUNKS.values(), ids=NO_CHUNKS)
def test_what_is_no_chunk_is_an_error(wire: bytes) -> None:
    pieces = [wire[start : start + 1000] for start in range(0, len(wire), 1000)]
    with pytest.raises(FramingError):
        read(ChunkedBody(), [*pieces, b"\n" * 10])


def test_a_padded_chunk_size_is_read_in_an_answer_and_refused_in_a_request() -> None:
    wire = b"5  \r\nhello\r\n0\r\n\r\n"
    assert read(ChunkedBody(), [wire]) == (b"hello", b"")
    with pytest.raises(FramingError):
        read(request_body(request(HOST, CHUNKED)), [wire])


@pytest.mark.parametrize(("body", "wire"), [(SizedBody(5), b"four"), (ChunkedBody(), b"5\r\nhello\r\n")])
def test_a_body_that_is_cut_short_is_an_error(body: BodyReader, wire: bytes) -> None:
    body.feed(wire)
    with pytest.raises(FramingError):
        body.end()


def request(*fields: tuple[bytes, bytes], version: bytes = b"1.1") -> RequestHead:
    return RequestHead(b"POST", b"/", version, list(fields))


SMUGGLING: dict[str, tuple[int, Fields]] = {
    "no host": (400, []),
    "two hosts": (400, [HOST, HOST]),
    "host with a user": (400, [(b"Host", b"u@h")]),
    "host with a path": (400, [(b"Host", b"h/x")]),
    "host with a space": (400, [(b"Host", b"h x")]),
    "two hosts in one": (400, [(b"Host", b"h,i")]),
    "length and chunks": (400, [HOST, (b"Content-Length", b"5"), CHUNKED]),
    "two lengths": (400, [HOST, (b"Content-Length", b"5"), (b"content-length", b"6")]),
    "the same length twice": (400, [HOST, (b"Content-Length", b"5"), (b"content-length", b"5")]),
    "a list of lengths": (400, [HOST, (b"Content-Length", b"5, 5")]),
    "a signed length": (400, [HOST, (b"Content-Length", b"+5")]),
    "a negative length": (400, [HOST, (b"Content-Length", b"-5")]),
    "a hexadecimal length": (400, [HOST, (b"Content-Length", b"0x5")]),
    "no length at all": (400, [HOST, (b"Content-Length", b"")]),
    "a length with digits of another script": (400, [HOST, (b"Content-Length", "٥".encode())]),
    "chunked twice": (400, [HOST, (b"Transfer-Encoding", b"chunked, chunked")]),
    "chunked twice in two fields": (400, [HOST, CHUNKED, CHUNKED]),
    "not chunked last": (400, [HOST, (b"Transfer-Encoding", b"chunked, identity")]),
    "nearly chunked": (400, [HOST, (b"Transfer-Encoding", b"xchunked")]),
    "chunked behind a control": (400, [HOST, (b"Transfer-Encoding", b"\x0bchunked")]),
    "another coding": (501, [HOST, (b"Transfer-Encoding", b"gzip, chunked")]),
}


@pytest.mark.parametrize(("status", "fields"), SMUGGLING.values(), ids=SMUGGLING)
def test_a_request_that_could_be_read_as_two_is_refused(status: int, fields: Fields) -> None:
    with pytest.raises(HeadError) as caught:
        request_body(request(*fields))
    assert caught.value.status == status


def test_http_1_0_knows_no_chunks() -> None:
    with pytest.raises(HeadError):
        request_body(request(CHUNKED, version=b"1.0"))
    assert request_body(request(version=b"1.0")).is_done


@pytest.mark.parametrize(("fields", "kind"), [([HOST], SizedBody), ([HOST, CHUNKED], ChunkedBody)])
def test_a_request_without_a_length_has_no_body_unless_it_comes_in_chunks(fields: Fields, kind: type) -> None:
    body = request_body(request(*fields))
    assert isinstance(body, kind)
    assert body.is_done == (kind is SizedBody)


def answer(status: int, *fields: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(b"1.1", status, b"", list(fields))


SIZE = (b"content-length", b"5")


@pytest.mark.parametrize("head", [answer(204, SIZE), answer(304, CHUNKED), answer(200, (b"content-length", b"0"))])
def test_some_answers_have_no_body(head: ResponseHead) -> None:
    assert response_body(b"GET", head).is_done


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    assert response_body(b"HEAD", answer(200, SIZE)).is_done
    assert response_body(b"HEAD", answer(200, CHUNKED)).is_done


def test_an_answers_body_is_framed_as_clients_read_it() -> None:
    """RFC 9112, 6.3: chunks win over a length, which may be said twice; the rest ends with the connection."""
    assert isinstance(response_body(b"GET", answer(200, SIZE, CHUNKED)), ChunkedBody)
    assert isinstance(response_body(b"GET", answer(200)), CloseDelimitedBody)
    for fields in ([SIZE, SIZE], [(b"content-length", b"5, 5")]):
        body = response_body(b"GET", answer(200, *fields))
        assert isinstance(body, SizedBody)
        assert body.length == 5


@pytest.mark.parametrize("fields", [[SIZE, (b"content-length", b"6")], [(b"content-length", b"five")],
                                    [(b"transfer-encoding", b"gzip")]])  # fmt: skip
def test_an_answer_whose_end_nobody_could_tell_is_refused(fields: Fields) -> None:
    with pytest.raises(HeadError):
        response_body(b"GET", answer(200, *fields))
