"""An answer's head, collected from the blocks it comes in."""

from typing import NamedTuple

from proxy.errors import HeadError
from proxy.wire.head import ResponseHead, find_response_head_end, parse_response_head

_MAX_HEAD_BYTES = 256 * 1024
_MAX_FIELDS = 1000


class FoundHead(NamedTuple):
    """A head and the bytes that came behind it."""

    head: ResponseHead
    rest: bytes


class IncomingHead:
    """Collects one head after the other: interim answers have theirs, too."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> FoundHead | None:
        """Take the next bytes; return the head when it is whole.

        Raises:
            HeadError: It is no head, or a larger one than any server's.
        """
        if self._held:
            # What was searched before is not searched again, so that a head that trickles in costs no more.
            searched = max(0, len(self._held) - 3)
            self._held += data
            end = find_response_head_end(bytes(self._held[searched:]))
            if end >= 0:
                data, end = bytes(self._held), end + searched
                self._held.clear()
        else:
            end = find_response_head_end(data)
            if end < 0:
                self._held += data
        if max(end, len(self._held)) > _MAX_HEAD_BYTES:
            raise HeadError(502, f"the answer's head has more than {_MAX_HEAD_BYTES} bytes")
        if end < 0:
            return None
        head = parse_response_head(data[:end])
        if len(head.fields) > _MAX_FIELDS:
            raise HeadError(502, f"the answer has more than {_MAX_FIELDS} header fields")
        return FoundHead(head, data[end:])
