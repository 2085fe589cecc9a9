"""Requests as other readers read them: what we take, they take, and they read the same in it.

Whoever reads a request otherwise than the next server does can be made to smuggle another one past it.
"""

from typing import NamedTuple

import h11
import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import FramingError, HeadError
from proxy.wire.incoming_request import IncomingRequest


class Read(NamedTuple):
    """One request as a reader understood it; field names and codings in lower case."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


def read_by_us(pieces: list[bytes]) -> tuple[list[Read], bool]:
    """Return the requests, and whether what follows them was refused."""
    incoming = IncomingRequest(65536)
    read: list[Read] = []
    body, head, content = None, None, b""
    try:
        for data in pieces:
            while data:
                if body is None or head is None:
                    found = incoming.feed(data)
                    if found is None:
                        break
                    head, body, data = found
                    content = b""
                if not body.is_done and data:
                    content += b"".join(body.feed(data))
                    data = body.rest
                if body.is_done:
                    read.append(Read(head.method, head.target, _lower(head.fields), content))
                    if head.version == b"1.0":
                        return read, False  # its connection ends with it
                    body = None
    except (HeadError, FramingError):
        return read, True
    return read, False


def _lower(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    lower = [(name.lower(), value) for name, value in fields]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in lower]


def read_by_h11(wire: bytes) -> tuple[list[Read], bool]:
    """Return the requests, and whether what follows them was refused; it stops where a connection would end."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(wire)
    read: list[Read] = []
    request, content = None, b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                request, content = event, b""
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                fields = [(bytes(name), bytes(value)) for name, value in request.headers]
                read.append(Read(bytes(request.method), bytes(request.target), _lower(fields), content))
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                    return read, False
                reader.start_next_cycle()
            else:
                return read, False
    except h11.RemoteProtocolError:
        return read, True


class Collected:
    """What llhttp, the reader of Node, calls back."""

    def __init__(self, wire: bytes) -> None:
        self.read: list[Read] = []
        self.is_refused = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(wire)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self.is_refused = True

    def on_message_begin(self) -> None:
        self._target, self._content = b"", b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._count = 0

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._count = len(self._fields)

    def on_body(self, block: bytes) -> None:
        self._content += block

    def on_message_complete(self) -> None:
        fields = _lower(self._fields[: self._count])
        self.read.append(Read(self._parser.get_method(), self._target, fields, self._content))


ENDS = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b"\r\n "])
LINES = st.sampled_from(
    [b"GET / HTTP/1.1"] * 4 + [b"POST /v1/x HTTP/1.1"] * 4
    + [b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1",
       b"GET / http/1.1", b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET /", b" GET / HTTP/1.1", b"\0GET / HTTP/1.1",
       b"\rGET / HTTP/1.1", b"\nGET / HTTP/1.1", b""]
)  # fmt: skip
FIELD_LINES = st.sampled_from(
    [b"Content-Length: 5", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked"] * 3
    + [b"Content-Length:" + value for value in (b"05", b" +5", b" -5", b" 5,5", b" 5, 6", b" 0x5", b" 5_0", b" \xb2",
                                               b"", b" 5\x0b", b"\x0c5", b" 5;", b" 1e1", b" 18446744073709551621")]
    + [b"Transfer-Encoding:" + value for value in (b"chunked ", b"chunked,", b",chunked", b"chunked, chunked", b"",
                                                  b"gzip, chunked", b"chunked;q=1", b"identity", b"\x0bchunked",
                                                  b"xchunked", b"chunke", b'"chunked"', b"chunked\x0c")]
    + [b"Content-Length : 5", b"Content-Length\t: 5", b" Content-Length: 5", b"Content_Length: 5", b"Content-Length 5",
       b"Content\0-Length: 5", b"Transfer-Encoding : chunked", b"Transfer\xad-Encoding: chunked", b": x", b"X",
       b"Host: h", b"X: y", b"X: a\0b", b"X: a\rb", b"X: \xff", b"X:\ty \t", b"Connection: content-length"]
)  # fmt: skip
CHUNKS = st.sampled_from(
    [b"5\r\nhello\r\n"] * 6
    + [b"05\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"5 \r\nhello\r\n", b" 5\r\nhello\r\n", b"0x5\r\nhello\r\n",
       b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello", b"5\r\nhelloX\r\n", b"-5\r\nhello\r\n", b"+5\r\nhello\r\n",
       b"5;a\rb\r\nhello\r\n", b"5;\0\r\nhello\r\n", b"A\r\n0123456789\r\n", b"fffffffffffffffff\r\nx",
       b"5_\r\nhello\r\n", b"5\r\r\nhello\r\n", b"\r\n"]
)  # fmt: skip
LAST = st.sampled_from(
    [b"0\r\n\r\n"] * 6
    + [b"0\r\nX: y\r\n\r\n", b"00\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\n X: y\r\n\r\n", b"0;a\r\n\r\n", b"0\r\n", b"",
       b"0\r\nbad\r\n\r\n"]
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request that is right, or wrong in one of the ways that readers differ in."""
    wire = draw(LINES) + draw(ENDS) + b"Host: h" + draw(ENDS)
    lines = draw(st.lists(FIELD_LINES, max_size=2))
    for line in lines:
        wire += line + draw(ENDS)
    wire += draw(ENDS)
    if any(b"oding" in line for line in lines):
        return wire + b"".join(draw(st.lists(CHUNKS, max_size=2))) + draw(LAST)
    return wire + (b"/////" if any(b"ength" in line for line in lines) else b"")


@settings(max_examples=1000, deadline=None)
@given(wires=st.lists(requests(), min_size=1, max_size=2), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_no_request_is_taken_that_other_readers_refuse_or_read_otherwise(wires: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(wires)
    ours, is_refused = read_by_us([wire])
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {len(wire)})
    pieces = [wire[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert read_by_us(pieces) == (ours, is_refused)
    llhttp = Collected(wire)
    for theirs, they_refuse in (read_by_h11(wire), (llhttp.read, llhttp.is_refused)):
        common = min(len(ours), len(theirs))
        assert ours[:common] == theirs[:common]
        assert not (they_refuse and len(ours) > len(theirs)), f"only we take the request behind {theirs}"
