"""Where the body of a message ends (RFC 9112, 6 and 7): decided by its head, then followed through the blocks.

A body reader takes what came off the socket and gives the content; what follows the body is left in `rest`. Requests
whose length two servers could read differently are refused, answers are read as the RFC tells clients to.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from proxy.errors import FramingError, HeadError
from proxy.wire.fields import Fields, names_of, values
from proxy.wire.head import RequestHead, ResponseHead, parse_trailers

_LENGTH = re.compile(rb"[0-9]{1,19}")
_HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+;=:\[\]]*")
_STRICT_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_MAX_CHUNK_LINE = 4096
"""Bytes of a chunk's size with its extensions, which nobody uses; llhttp allows 16 KiB for all of a message's."""
_MANY_BLOCKS = 64
_MAX_TRAILER_BYTES = 64 * 1024


class BodyReader(Protocol):
    """Follows one body.

    Attributes:
        is_done: Whether the body has ended.
        rest: What came behind its end.
        trailers: The fields behind a chunked body, once it is done.
    """

    is_done: bool
    rest: bytes
    trailers: Fields

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the content in them, empty blocks left out. Never call it when done.

        Raises:
            FramingError: The body breaks the rules.
        """
        ...

    def end(self) -> None:
        """Say that the connection has ended, which may be the end of the body.

        Raises:
            FramingError: The body was cut short.
        """
        ...


class SizedBody:
    """A body of a known length, or without one."""

    def __init__(self, length: int) -> None:
        """Take the length from `Content-Length`; 0 for a message without a body."""
        self.length: Final = length
        self.missing = length
        self.is_done = length == 0
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the content in them."""
        size = len(data)
        if size < self.missing:
            self.missing -= size
            return [data] if data else []
        self.is_done = True
        if size > self.missing:
            self.rest, data = data[self.missing :], data[: self.missing]
        self.missing = 0
        return [data] if data else []

    def end(self) -> None:
        """Raise, when there should have been more."""
        if not self.is_done:
            raise FramingError(f"{self.missing} bytes of a body of {self.length} are missing")


class CloseDelimitedBody:
    """A body that ends with its connection (RFC 9112, 6.3, rule 8); only answers can have one."""

    def __init__(self) -> None:
        self.is_done = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bytes; they are all content."""
        return [data] if data else []

    def end(self) -> None:
        """Complete the body."""
        self.is_done = True


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self, *, is_request: bool = False) -> None:
        """Begin; servers pad the size of a chunk with spaces, in a request those are refused."""
        self._size = _STRICT_CHUNK_SIZE if is_request else _CHUNK_SIZE
        self.is_done = False
        self.rest = b""
        self.trailers: Fields = []
        self._read: _Step = ChunkedBody._read_size
        self._missing = 0
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the content in them, a block for each part of a chunk."""
        if self._held:
            data = self._held + data
        elif self._read is ChunkedBody._read_size and (line := _SIZE_LINE.match(data)) is not None:
            # Most packets of a stream are one chunk; the steps would take twice as long.
            start, end = line.end(), line.end() + int(line[1], 16)
            if start < end == len(data) - 2 and data.endswith(b"\r\n"):
                return [data[start:end]]
        place = 0
        blocks: list[bytes] = []
        while not self.is_done:
            after = self._read(self, data, place, blocks)
            if after < 0:
                break
            place = after
        if self.is_done:
            self._held, self.rest = b"", data[place:]
        else:
            self._held = data[place:] if self._missing <= 0 else b""
        # Of chunks of two bytes, the objects would be twenty times as large as what they hold.
        return blocks if len(blocks) <= _MANY_BLOCKS else [b"".join(blocks)]

    def end(self) -> None:
        """Raise, when the last chunk has not come."""
        if not self.is_done:
            raise FramingError("a chunked body ended before its last chunk")

    # Each step reads one thing at a place and returns the place behind it, or -1 when it has not come whole. A step
    # that takes part of a chunk leaves nothing to be held, which `feed` sees by what is missing.

    def _read_size(self, data: bytes, place: int, _blocks: list[bytes]) -> int:
        end = data.find(b"\r\n", place, place + _MAX_CHUNK_LINE)
        if end < 0:
            if len(data) - place >= _MAX_CHUNK_LINE:
                raise FramingError(f"the line with the size of a chunk has more than {_MAX_CHUNK_LINE} bytes")
            return -1
        found = self._size.fullmatch(data, place, end)
        if found is None:
            raise FramingError("the size of a chunk is no hexadecimal number")
        self._missing = int(found[1], 16)
        self._read = ChunkedBody._read_chunk if self._missing else ChunkedBody._read_trailers
        return end + 2

    def _read_chunk(self, data: bytes, place: int, blocks: list[bytes]) -> int:
        block = data[place : place + self._missing]
        if block:
            blocks.append(block)
            self._missing -= len(block)
        if self._missing:
            return -1
        self._read = ChunkedBody._read_chunk_end
        return place + len(block)

    def _read_chunk_end(self, data: bytes, place: int, _blocks: list[bytes]) -> int:
        end = data[place : place + 2]
        if end != b"\r\n":
            if b"\r\n".startswith(end):
                return -1
            raise FramingError("a chunk is longer than its size")
        self._read = ChunkedBody._read_size
        return place + 2

    def _read_trailers(self, data: bytes, place: int, _blocks: list[bytes]) -> int:
        if data.startswith(b"\r\n", place):
            self.is_done = True
            return place + 2
        end = data.find(b"\r\n\r\n", place, place + _MAX_TRAILER_BYTES)
        if end < 0:
            if len(data) - place >= _MAX_TRAILER_BYTES:
                raise FramingError(f"the trailer fields have more than {_MAX_TRAILER_BYTES} bytes")
            return -1
        try:
            self.trailers = parse_trailers(data[place : end + 4])
        except HeadError as error:
            raise FramingError(str(error)) from error
        self.is_done = True
        return end + 4


_Step = Callable[[ChunkedBody, bytes, int, list[bytes]], int]


def request_body(head: RequestHead) -> BodyReader:
    """Return the reader of a request's body, after checking what makes the request one and not two.

    Raises:
        HeadError: Host or framing are missing, doubled, contradictory or unknown (RFC 9112, 3.2, 6.1 and 6.3).
    """
    fields, places = head.fields, names_of(head.fields).places
    hosts = places.get(b"host")
    if (hosts is None and head.version == b"1.1") or (
        hosts is not None and (len(hosts) > 1 or not _HOST.fullmatch(fields[hosts[0]][1]))
    ):
        raise HeadError(400, "a request has one Host field, which holds a host and perhaps a port (RFC 9112, 3.2)")
    lengths = places.get(b"content-length")
    if b"transfer-encoding" in places:
        codings = b",".join(values(fields, b"transfer-encoding")).lower()
        return _chunked_request(head, codings, has_length=lengths is not None)
    if lengths is None:
        return SizedBody(0)
    length = fields[lengths[0]][1]
    if len(lengths) > 1 or not _LENGTH.fullmatch(length):
        raise HeadError(400, "Content-Length has to be one decimal number, said once (RFC 9112, 6.3)")
    return SizedBody(int(length))


def _chunked_request(head: RequestHead, codings: bytes, *, has_length: bool) -> ChunkedBody:
    if has_length or head.version == b"1.0":
        raise HeadError(
            400, "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0: two servers could read two"
            " requests out of one (RFC 9112, 6.1)",
        )  # fmt: skip
    if codings.strip(b" \t") != b"chunked":
        is_chunked_last = codings.rpartition(b",")[2].strip(b" \t") == b"chunked" and codings.count(b"chunked") == 1
        raise HeadError(501 if is_chunked_last else 400, "chunked is the one Transfer-Encoding that is understood here")
    return ChunkedBody(is_request=True)


def response_body(method: bytes, head: ResponseHead) -> BodyReader:
    """Return the reader of an answer's body (RFC 9112, 6.3).

    Args:
        method: Of the request: an answer to HEAD has no body, whatever it says.
        head: The answer's head; not that of a 1xx.

    Raises:
        HeadError: No client could tell where the body ends.
    """
    if method == b"HEAD" or head.status in (204, 304):
        return SizedBody(0)
    fields, places = head.fields, names_of(head.fields).places
    if b"transfer-encoding" in places:
        if b",".join(values(fields, b"transfer-encoding")).lower().strip(b" \t") != b"chunked":
            raise HeadError(502, "the answer has a Transfer-Encoding other than chunked")
        return ChunkedBody()
    said = places.get(b"content-length")
    if said is None:
        return CloseDelimitedBody()
    length = fields[said[0]][1]
    if len(said) > 1 or b"," in length:
        # The same length said several times is one length (RFC 9110, 8.6).
        lengths = {part.strip(b" \t") for place in said for part in fields[place][1].split(b",")}
        length = lengths.pop() if len(lengths) == 1 else b""
    if not _LENGTH.fullmatch(length):
        raise HeadError(502, "the answer's Content-Length is no single number")
    return SizedBody(int(length))


def encode_chunk(block: bytes) -> bytes:
    """Return a block of content as a chunk; it must not be empty, for that would be the last one."""
    return b"%x\r\n%b\r\n" % (len(block), block)


def encode_last_chunk(trailers: Fields) -> bytes:
    """Return the end of a chunked body."""
    return b"0\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in trailers) + b"\r\n"
