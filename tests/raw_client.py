"""A client on the bare socket: sends any bytes, reads answers strictly and tells how each one ended."""

import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

Fields = list[tuple[bytes, bytes]]
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([0-9]{3})(?: ([^\r\n]*))?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?")


class Ending(Enum):
    """How an answer came to its end, as its client can tell."""

    WHOLE = "whole"
    CUT = "cut"
    """The connection was closed before the framing said so."""
    RESET = "reset"
    NOTHING = "nothing"
    """The connection ended without a byte of an answer."""


@dataclass(frozen=True)
class Interim:
    """An answer before the answer (1xx)."""

    status: int
    reason: bytes
    fields: Fields


@dataclass(frozen=True)
class Received:
    """One answer as it stood on the wire.

    Attributes:
        framing: `sized`, `chunked`, `close`, or `none` for an answer that cannot have a body.
    """

    ending: Ending
    version: bytes = b""
    status: int = 0
    reason: bytes = b""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    interim: tuple[Interim, ...] = ()
    framing: str = "none"

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class NoHttp(Exception):  # noqa: N818
    """What came is no answer of HTTP/1.x; the bytes are in the message."""


class RawClient:
    """One connection of a client."""

    def __init__(self, port: int, *, timeout_s: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self._is_over: Ending | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, wire: bytes) -> None:
        """Send all of it; a peer that has closed takes what it takes, as it may have answered before."""
        with suppress(ConnectionError):
            self.socket.sendall(wire)

    def half_close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Leave with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_for(self, mark: bytes) -> None:
        """Read until the mark has come, or the connection is over; what was read stays to be parsed."""
        while mark not in self._held and self._more():
            pass

    def read_answer(self, method: bytes) -> Received:
        """Read the next answer, interim ones included.

        Raises:
            NoHttp: What came is no answer.
            TimeoutError: Nothing more came within the time.
        """
        interim: list[Interim] = []
        while True:
            head = self._until(b"\r\n\r\n")
            if head is None:
                return self._headless(interim)
            line, _, lines = head.partition(b"\r\n")
            found = _STATUS_LINE.fullmatch(line)
            if found is None:
                raise NoHttp(repr(head[:200]))
            status = int(found[2])
            if 100 <= status < 200 and status != 101:
                interim.append(Interim(status, found[3] or b"", parse_fields(lines)))
                continue
            answer = Received(
                Ending.WHOLE, found[1], status, found[3] or b"", parse_fields(lines), interim=tuple(interim)
            )
            return self._read_body(method, answer)

    def read_rest(self) -> bytes:
        """Read until the other side closes or resets."""
        while self._more():
            pass
        rest, self._held = self._held, b""
        return rest

    def ended_by(self) -> Ending | None:
        """Tell how the connection ended, None while it has not."""
        return self._is_over

    def _headless(self, interim: list[Interim]) -> Received:
        if self._held:
            raise NoHttp(repr(self._held[:200]))
        ending = Ending.RESET if self._is_over is Ending.RESET else Ending.NOTHING
        return Received(ending, interim=tuple(interim))

    def _read_body(self, method: bytes, answer: Received) -> Received:
        if method == b"HEAD" or answer.status in (101, 204, 304):
            return answer
        if answer.values(b"transfer-encoding"):
            return self._read_chunked(answer)
        lengths = answer.values(b"content-length")
        if lengths:
            return self._read_sized(answer, int(lengths[0]))
        body = self.read_rest()
        ending = Ending.RESET if self._is_over is Ending.RESET else Ending.WHOLE
        return replace(answer, body=body, framing="close", ending=ending)

    def _read_sized(self, answer: Received, length: int) -> Received:
        while len(self._held) < length and self._more():
            pass
        body, self._held = self._held[:length], self._held[length:]
        ending = Ending.WHOLE if len(body) == length else (self._is_over or Ending.CUT)
        return replace(answer, body=body, framing="sized", ending=ending)

    def _read_chunked(self, answer: Received) -> Received:
        while (end := read_chunked(self._held)) is None and self._more():
            pass
        wire, self._held = (self._held, b"") if end is None else (self._held[:end], self._held[end:])
        body, trailers = deframe_chunks(wire)
        ending = Ending.WHOLE if end is not None else (self._is_over or Ending.CUT)
        return replace(answer, body=body, trailers=trailers, framing="chunked", ending=ending)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._held:
            if not self._more():
                return None
        head, _, self._held = self._held.partition(mark)
        return head + mark

    def _more(self) -> bool:
        if self._is_over is not None:
            return False
        try:
            block = self.socket.recv(262144)
        except ConnectionError:
            self._is_over = Ending.RESET
            return False
        if not block:
            self._is_over = Ending.CUT
            return False
        self._held += block
        return True


def parse_fields(lines: bytes) -> Fields:
    """Return the field lines, names in their own case, values without the white space around them."""
    pairs = (line.partition(b":") for line in lines.split(b"\r\n") if line)
    return [(name, value.strip(b" \t")) for name, _, value in pairs]


def read_chunked(wire: bytes) -> int | None:
    """Return where a chunked body ends, its trailers included; None when its end has not come.

    Raises:
        NoHttp: It is no chunked body.
    """
    place = 0
    while True:
        end = wire.find(b"\r\n", place)
        if end < 0:
            return None
        size = _chunk_size(wire[place:end])
        if size == 0:
            return _trailers_end(wire, end + 2)
        place = end + 2 + size + 2
        if len(wire) < place:
            return None
        if wire[place - 2 : place] != b"\r\n":
            raise NoHttp(f"a chunk without an end: {wire[place - 2 : place]!r}")


def _trailers_end(wire: bytes, place: int) -> int | None:
    if wire.startswith(b"\r\n", place):
        return place + 2
    end = wire.find(b"\r\n\r\n", place)
    return None if end < 0 else end + 4


def deframe_chunks(wire: bytes) -> tuple[bytes, Fields]:
    """Return content and trailers of a chunked body, as far as it has come."""
    blocks: list[bytes] = []
    place = 0
    while (end := wire.find(b"\r\n", place)) >= 0:
        size = _chunk_size(wire[place:end])
        if size == 0:
            is_whole = _trailers_end(wire, end + 2) is not None
            return b"".join(blocks), parse_fields(wire[end + 2 :]) if is_whole else []
        blocks.append(wire[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(blocks), []


def _chunk_size(line: bytes) -> int:
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise NoHttp(f"no chunk size: {line[:60]!r}")
    return int(found[1], 16)
