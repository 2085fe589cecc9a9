"""A request's head, collected from the pieces it comes in."""

import re
from typing import NamedTuple

from proxy.errors import HeadError
from proxy.wire.framing import BodyReader, request_body
from proxy.wire.head import RequestHead, parse_request_head

_HEAD_END = b"\r\n\r\n"
_LINE_FEED_ALONE = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_NO_BEGINNING = re.compile(rb"\r.|[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]", re.DOTALL)


class FoundRequest(NamedTuple):
    """A request's head, the reader of its body, and the bytes that came behind the head."""

    head: RequestHead
    body: BodyReader
    rest: bytes


class IncomingRequest:
    """Collects one head after the other."""

    def __init__(self, max_bytes: int) -> None:
        """Begin without a byte; a head may have `max_bytes`."""
        self._max_bytes = max_bytes
        self._held = bytearray()

    @property
    def is_begun(self) -> bool:
        """Whether part of a head has come."""
        return bool(self._held)

    def feed(self, data: bytes) -> FoundRequest | None:
        """Take the next bytes; return the request when its head is whole.

        What can not become a head is refused at once and not when its end has come.

        Raises:
            HeadError: It is no head of a request that is served here; the error holds the status to answer with.
        """
        if self._held == b"\r":
            self._held.clear()
            data = b"\r" + data
        if not self._held:
            if data.startswith(b"\r\n"):
                data = _EMPTY_LINES.sub(b"", data, count=1)  # RFC 9112, 2.2
            end = data.find(_HEAD_END) + 4
            if 4 <= end <= self._max_bytes:
                return _found(data[:end], data[end:])
        return self._feed_part(data)

    def _feed_part(self, data: bytes) -> FoundRequest | None:
        # What was searched before is not searched again, so that a head that trickles in costs no more.
        searched = max(0, len(self._held) - 3)
        self._held += data
        end = self._held.find(_HEAD_END, searched) + 4
        if end < 4:
            if len(self._held) > self._max_bytes:
                raise self._too_large()
            if _LINE_FEED_ALONE.search(self._held, searched) or _NO_BEGINNING.match(self._held):
                raise HeadError(400, "the head of the request breaks the grammar of HTTP/1.1 (RFC 9112)")
            return None
        if end > self._max_bytes:
            raise self._too_large()
        head, rest = bytes(self._held[:end]), bytes(self._held[end:])
        self._held.clear()
        return _found(head, rest)

    def _too_large(self) -> HeadError:
        is_line = self._held.find(b"\r\n", 0, self._max_bytes) < 0
        return HeadError(414 if is_line else 431, f"the head of a request may have {self._max_bytes} bytes")


def _found(wire: bytes, rest: bytes) -> FoundRequest:
    head = parse_request_head(wire)
    body = request_body(head)
    if not head.target.startswith(b"/") or head.method == b"CONNECT":
        raise HeadError(400, "a path of this server has to be asked for: it is no open proxy, and no tunnel")
    return FoundRequest(head, body, rest)
