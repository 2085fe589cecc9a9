"""What completes an answer: after it, the client has everything.

The trace must be in the journal before that leaves (`docs/contract.md`, C1). What it is depends on how the answer is
framed:

- without a body (`HEAD`, 204, 304, a length of 0): the head itself;
- sized (`Content-Length`): the block that brings the last byte;
- chunked, or until the connection closes: the end of the framing, which is sent apart from every block;
- an event stream, however framed: the block that holds `data: [DONE]`, after which clients stop reading; bytes may
  still follow. Without `[DONE]`, or where a content-encoding hides it, the framing ends it as above.

So no block is ever held back.
"""

import re
from enum import Enum

from proxy.calls.headers import RawHeaders, first

_DONE = re.compile(rb"[\r\n]data: ?\[DONE\]")
_DONE_SPAN = len(b"\ndata: [DONE]")


class Mark(Enum):
    """What a block is to its answer."""

    PART = "part"
    DONE_EVENT = "done_event"
    """The event after which clients have the whole answer, though bytes may follow."""
    LAST = "last"


class AnswerEnd:
    """Looks for the end of one answer; give it every block, in order."""

    def __init__(self, method: bytes, status: int, headers: RawHeaders) -> None:
        """Read the framing off the head.

        Args:
            method: Of the request.
            status: Of the answer.
            headers: The answer's header fields as they go to the client: no length beside another framing.
        """
        length = first(headers, b"content-length")
        self._missing = int(length) if length is not None and length.isdigit() else None
        self.has_body = method != b"HEAD" and status not in (204, 304) and self._missing != 0
        content_type = first(headers, b"content-type") or b""
        self.is_event_stream = content_type.lower().startswith(b"text/event-stream")
        self._awaits_done = self.is_event_stream
        self._tail = b"\n"  # the first line of a body begins a line, too

    def mark(self, block: bytes) -> Mark:
        """Tell what the next block is."""
        if self._missing is not None:
            self._missing -= len(block)
            if self._missing == 0:
                return Mark.LAST
        return Mark.DONE_EVENT if self._awaits_done and self._finds_done(block) else Mark.PART

    def _finds_done(self, block: bytes) -> bool:
        if b"]" in block and _DONE.search(self._tail + block):
            self._awaits_done = False
            return True
        self._tail = (self._tail + block)[-_DONE_SPAN:]
        return False
