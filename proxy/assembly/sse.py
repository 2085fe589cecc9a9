"""Server-sent events out of bytes that were cut anywhere (WHATWG HTML, section 9.2.6).

The parser works on bytes and decodes nothing but the small fields, so a character cut in two by the network is never
seen cut. Two things differ from a browser, because a recorder wants what came: the last event of a stream that ends
without a blank line is handed out by `finish` (marked), and the size of an event has a bound.
"""

import re
from dataclasses import dataclass

from proxy.errors import ProxyError

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ProxyError):
    """One event grew past the parser's bound."""

    def __init__(self, max_event_bytes: int) -> None:
        self.max_event_bytes = max_event_bytes
        super().__init__(f"a server-sent event is larger than {max_event_bytes} bytes; the stream is not read on")


@dataclass(frozen=True, slots=True)
class Event:
    r"""One server-sent event.

    Attributes:
        data: The `data` lines joined by `\n`, undecoded.
        name: The `event` field; "message" when the stream named none.
        last_id: The last `id` seen so far in the stream, "" when none was.
        is_terminated: False only for what `finish` found after the last blank line: it may be cut short.
    """

    data: bytes
    name: str = "message"
    last_id: str = ""
    is_terminated: bool = True


class EventParser:
    """Turns blocks into events; how the stream was cut into blocks makes no difference.

    Args:
        max_event_bytes: Bound on one event's data and on any one line.
    """

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._head: bytes | None = b""
        self._skip_line_feed = False
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._last_id = ""

    def feed(self, block: bytes) -> list[Event]:
        """Take the next block and hand out the events it completes.

        Raises:
            EventTooLargeError: an event passed the bound; the parser must not be fed again.
        """
        block = self._without_split_line_end(self._without_bom(block))
        if not block:
            return []
        self._skip_line_feed = block.endswith(b"\r")
        *whole, rest = _LINE_END.split(block)
        events = []
        for piece in whole:
            if self._line or len(piece) + self._data_bytes > self._max_event_bytes:
                self._grow_line(piece)
                line = self._take_line()
            else:
                line = piece
            if line:
                self._take_field(line)
            elif (event := self._dispatch(is_terminated=True)) is not None:
                events.append(event)
        self._grow_line(rest)
        return events

    def finish(self) -> list[Event]:
        """Hand out the event the stream ended in, if it ended without a blank line and had any data."""
        if self._head:
            self._grow_line(self._head)
        self._head = None
        self._take_field(self._take_line())
        event = self._dispatch(is_terminated=False)
        return [] if event is None else [event]

    def _without_bom(self, block: bytes) -> bytes:
        """Hold back the first bytes until it is known whether they are a byte order mark."""
        if self._head is None:
            return block
        head = self._head + block
        if len(head) < len(_BOM) and _BOM.startswith(head) and block:
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _without_split_line_end(self, block: bytes) -> bytes:
        r"""Drop the `\n` of a `\r\n` that was cut in the middle: its `\r` has ended the line already."""
        if self._skip_line_feed and block:
            self._skip_line_feed = False
            return block.removeprefix(b"\n")
        return block

    def _grow_line(self, piece: bytes) -> None:
        self._line_bytes += len(piece)
        if self._line_bytes + self._data_bytes > self._max_event_bytes:
            raise EventTooLargeError(self._max_event_bytes)
        if piece:
            self._line.append(piece)

    def _take_line(self) -> bytes:
        line, self._line, self._line_bytes = b"".join(self._line), [], 0
        return line

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._last_id = value.decode("utf-8", "replace")

    def _dispatch(self, *, is_terminated: bool) -> Event | None:
        data, self._data = self._data, []
        name, self._name = self._name, ""
        self._data_bytes = 0
        if not data:
            return None
        whole = data[0] if len(data) == 1 else b"\n".join(data)
        return Event(whole, name or "message", self._last_id, is_terminated)
