"""One moment by which something has to have happened.

A deadline moves with every block, thousands of times a second, and is hardly ever reached. So moving it sets a number;
one timer looks at the number now and then and is set anew only when the moment comes nearer than the timer's own.
"""

import asyncio
from collections.abc import Callable


class Deadline:
    """A moment that can be moved cheaply, and what happens when it is reached."""

    __slots__ = ("_loop", "_moment", "_on_reached", "_timer", "_timer_moment")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_reached: Callable[[], None]) -> None:
        """Begin without a moment; `on_reached` is called on the loop, once for each moment that is reached."""
        self._loop = loop
        self._on_reached = on_reached
        self._moment: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_moment = 0.0

    def move(self, seconds: float | None) -> None:
        """Set the moment this far from now; None: there is none."""
        if seconds is None:
            self._moment = None
            return
        moment = self._moment = self._loop.time() + seconds
        if self._timer is None:
            self._set_timer(moment)
        elif moment < self._timer_moment:
            self._timer.cancel()
            self._set_timer(moment)

    def stop(self) -> None:
        """Let go of the timer; the deadline is not used again."""
        self._moment = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, moment: float) -> None:
        self._timer_moment = moment
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._moment is None:
            return
        if self._loop.time() < self._moment:
            self._set_timer(self._moment)
        else:
            self._moment = None
            self._on_reached()
