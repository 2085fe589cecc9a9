"""What the event loop hands to the writer thread at once: everything that was appended in one turn of the loop."""

from collections.abc import Callable

Waiter = Callable[[], None]
"""Called on the event loop's thread, once: when the entries are down, or when the patience for them is over."""


class Batch:
    """Entries in their order, and who waits for them.

    Attributes:
        entries: Encoded; the event loop's until the batch is handed over, the writer thread's from then on.
        waiters: The event loop's, always.
        handed_over_at: By the monotonic clock; 0.0 before.
        is_settled: Whether the waiters have been called.
    """

    __slots__ = ("entries", "handed_over_at", "is_settled", "waiters")

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[bytes] = []
        self.waiters: list[Waiter] = []
        self.handed_over_at = 0.0
        self.is_settled = False
