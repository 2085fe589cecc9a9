"""How much a step takes on: as much as fits into its time, learnt from the steps before."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Pace:
    """A number of rows that grows while steps are short and falls when one was long."""

    def __init__(self, step_s: float, *, least: int = 8, most: int = 1_000) -> None:
        """Begin small.

        Args:
            step_s: What a step may take, in seconds.
            least: Fewest rows.
            most: Most rows.
        """
        self._step_s = step_s
        self._least = least
        self._most = most
        self.count = least * 8

    def run(self, work: Callable[[int], T]) -> T:
        """Do `work` on so many rows, and learn from how long it took."""
        began = time.monotonic()
        done = work(self.count)
        spent = time.monotonic() - began
        if spent > self._step_s:
            self.count = max(self._least, int(self.count * self._step_s / spent / 2))
        elif spent < self._step_s / 2:
            self.count = min(self._most, self.count * 2)
        return done
