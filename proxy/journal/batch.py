"""What the event loop hands to the writer thread at once: everything that was appended in one turn of the loop."""

from asyncio import Future


class Batch:
    """Entries in their order, and who waits for them.

    Attributes:
        entries: Encoded; the event loop's until the batch is handed over, the writer thread's from then on.
        waiters: Done when the entries are down, or when the patience for them is over; the event loop's, always.
        handed_over_at: By the monotonic clock; 0.0 before.
        is_settled: Whether the waiters are done.
    """

    __slots__ = ("entries", "handed_over_at", "is_settled", "waiters")

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[bytes] = []
        self.waiters: list[Future[None]] = []
        self.handed_over_at = 0.0
        self.is_settled = False
