"""How many calls may be in flight at once: a fixed number, or one that follows what the upstream bears.

The one that follows grows by one call for each round of answers and is halved when the upstream asks for patience, as
TCP does with its window (additive increase, multiplicative decrease): it settles just below what a rate limit allows,
without anybody knowing the limit.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol

MOST_AUTO = 64
"""As far as a pace grows by itself; also how many items are worked on at once then."""
_FIRST_AUTO = 4


class Pace(Protocol):
    """A bound on calls in flight; one call holds a place from `async with` to its end."""

    async def __aenter__(self) -> None:
        """Wait for a place."""

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the place back."""

    def answered(self) -> None:
        """Note that a call got its answer."""

    def slowed(self, began_at: float) -> None:
        """Note that the upstream asked for patience; `began_at` is the loop's time at which that call was sent."""


class FixedPace:
    """So many calls at once, whatever the upstream says."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)

    async def __aenter__(self) -> None:
        await self._places.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.release()

    def answered(self) -> None:
        """Change nothing."""

    def slowed(self, began_at: float) -> None:
        """Change nothing: who sends waits, but as many as before."""


class AutoPace:
    """As many calls at once as the upstream bears."""

    def __init__(self, *, first: int = _FIRST_AUTO, most: int = MOST_AUTO) -> None:
        self._limit = float(first)
        self._most = most
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._slowed_at = 0.0

    @property
    def places(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    async def __aenter__(self) -> None:
        while self._in_flight >= self.places:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                self._waiting.remove(turn)
                self._wake()  # a place that was given to us goes to the next one
                raise
            self._waiting.remove(turn)
        self._in_flight += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_flight -= 1
        self._wake()

    def answered(self) -> None:
        """Grow, where there was more to ask than there were places."""
        if self._waiting:
            self._limit = min(self._limit + 1 / self._limit, self._most)
            self._wake()

    def slowed(self, began_at: float) -> None:
        """Halve, once for all calls that were under way at the time: they all met the same limit."""
        if began_at >= self._slowed_at:
            self._slowed_at = asyncio.get_running_loop().time()
            self._limit = max(self._limit / 2, 1.0)

    def _wake(self) -> None:
        free = self.places - self._in_flight
        for turn in list(self._waiting):
            if free <= 0:
                return
            if not turn.done():
                turn.set_result(None)
            free -= 1
