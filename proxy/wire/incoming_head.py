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
        self._held: bytearray | None = None

    def feed(self, data: bytes) -> FoundHead | None:
        """Take the next bytes; return the head when it is whole.

        Raises:
            HeadError: It is no head, or a larger one than any server's.
        """
        held = self._held
        if held is None:
            end = _find_end(data)
            if end < 0:
                held = self._held = bytearray(data)
        else:
            # What was searched before is not searched again, so that a head that trickles in costs no more.
            searched = max(0, len(held) - 3)
            held += data
            end = find_response_head_end(bytes(held[searched:]))
            if end >= 0:
                data, end = bytes(held), end + searched
        if (end if end >= 0 else len(held or data)) > _MAX_HEAD_BYTES:
            raise HeadError(502, f"the answer's head has more than {_MAX_HEAD_BYTES} bytes")
        if end < 0:
            return None
        self._held = None
        head = parse_response_head(data[:end])
        if len(head.fields) > _MAX_FIELDS:
            raise HeadError(502, f"the answer has more than {_MAX_FIELDS} header fields")
        return FoundHead(head, data[end:])


def _find_end(data: bytes) -> int:
    """Find the end as every server writes it; a line feed alone in the head leaves it to the slower search."""
    end = data.find(b"\r\n\r\n")
    if end >= 0 and data.find(b"\n\r\n", 0, end + 4) == end + 1 and data.find(b"\n\n", 0, end) < 0:
        return end + 4
    return find_response_head_end(data)
