"""Messages that were stored a moment ago, still at hand for whoever reads each of them once (`store.search_index`).

To read a message back is to find its page, unpack it and put it together: twice the work of indexing it. What is kept
here spares that, and may go at any time.
"""

from collections import deque
from collections.abc import Iterable

from store.trace import JsonText

_MOST_BYTES = 4 * 1024 * 1024
"""Four times as many spare an ingest that cannot keep up 4 % of its work, and cost it 100 MB: the messages that stay
lie between all that goes, and none of that can be given back."""


class FreshMessages:
    """A run of messages without a gap, by the numbers of their nodes: those stored lately, until somebody takes them.

    Only what is committed may be kept, and whoever deletes rows has to `forget`, as of `store.row_numbers`.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        """Keep so many bytes of JSON text at most."""
        self._most_bytes = most_bytes
        self._messages: deque[tuple[int, JsonText]] = deque()
        self._bytes = 0

    @property
    def first(self) -> int | None:
        """Number of the first node of the run; None when nothing is at hand."""
        return self._messages[0][0] if self._messages else None

    def keep(self, messages: Iterable[tuple[int, JsonText]]) -> None:
        """Keep the messages of new nodes, up to the first that stands behind a gap or is too much.

        So of a burst that is too much the beginning is at hand, which is what is taken first.
        """
        for number, message in messages:
            is_behind_gap = bool(self._messages) and self._messages[-1][0] != number - 1
            if is_behind_gap or self._bytes + len(message) > self._most_bytes:
                return
            self._messages.append((number, message))
            self._bytes += len(message)

    def take(self, after: int, upto: int, most: int) -> list[tuple[int, JsonText]]:
        """Give the messages behind a node, up to another one or to so many, and let go of them.

        Empty where the run does not go on right behind the node; a part of the run that is behind it goes.
        """
        messages = self._messages
        while messages and messages[0][0] <= after:
            self._bytes -= len(messages.popleft()[1])
        taken: list[tuple[int, JsonText]] = []
        while messages and messages[0][0] == after + 1 + len(taken) <= upto and len(taken) < most:
            taken.append(messages.popleft())
            self._bytes -= len(taken[-1][1])
        return taken

    def forget(self) -> None:
        """Let go of all."""
        self._messages.clear()
        self._bytes = 0
