"""What completes an answer: after it, the client has everything.

The trace must be in the journal before that leaves (`docs/contract.md`, C1). What it is depends on how the answer is
framed:

- without a body (`HEAD`, 204, 304, a length of 0): the head itself;
- sized (`Content-Length`): the block that brings the last byte;
- chunked, or until the connection closes: the end of the framing, which is sent apart from every block;
- an event stream, however framed: the block that holds `data: [DONE]`, or completes the last event of a dialect that
  has no `[DONE]` (Anthropic's `message_stop`, `response.completed` of the Responses API): clients stop reading there,
  though bytes may still follow. Where none of these comes, or a content-encoding hides it, the framing ends it.

So no block is ever held back.
"""

import re
from enum import Enum

from proxy.calls.headers import RawHeaders
from proxy.wire.fields import first

_DONE = re.compile(rb"[\r\n]data: ?\[DONE\]")
_LAST_EVENT = re.compile(rb"[\r\n]event: ?(?:message_stop|response\.(?:completed|incomplete|failed))[\r\n]")
_BLANK_LINE = re.compile(rb"\n\r?\n|\r\r")
_LONGEST_LINE = len(b"\nevent: response.incomplete\n")


class Mark(Enum):
    """What a block is to its answer."""

    PART = "part"
    DONE_EVENT = "done_event"
    """The event after which clients have the whole answer, though bytes may follow."""
    LAST = "last"


class AnswerEnd:
    """Looks for the end of one answer; give it every block, in order."""

    def __init__(self, method: bytes, status: int, headers: RawHeaders, *, is_event_stream: bool) -> None:
        """Read the framing off the head.

        Args:
            method: Of the request.
            status: Of the answer.
            headers: The answer's header fields as they go to the client: no length beside another framing.
            is_event_stream: Whether the body is one.
        """
        length = first(headers, b"content-length")
        self._missing = int(length) if length is not None and length.isdigit() else None
        self.has_body = method != b"HEAD" and status not in (204, 304) and self._missing != 0
        self._awaits_done = is_event_stream
        self._is_in_last_event = False
        self._tail = b"\n"  # the first line of a body begins a line, too

    def mark(self, block: bytes) -> Mark:
        """Tell what the next block is."""
        if self._missing is not None:
            self._missing -= len(block)
            if self._missing == 0:
                return Mark.LAST
        return Mark.DONE_EVENT if self._awaits_done and self._finds_done(block) else Mark.PART

    def _finds_done(self, block: bytes) -> bool:
        """Tell whether the block completes the event after which clients stop reading."""
        text = self._tail + block
        if not self._is_in_last_event:
            if b"[DONE]" in text and _DONE.search(text):
                self._awaits_done = False
                return True
            last = _LAST_EVENT.search(text) if b"event:" in text else None
            if last is None:
                self._tail = text[-_LONGEST_LINE:]
                return False
            self._is_in_last_event = True
            text = text[last.end() - 1 :]
        self._awaits_done = _BLANK_LINE.search(text) is None
        self._tail = text[-2:]
        return not self._awaits_done
