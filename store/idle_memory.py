"""The chore that gives back memory after a burst, so that what it took is not kept for good."""

import ctypes
import gc
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Final

from store.chore import NOTHING_TO_DO, Step

_IDLE_S: Final = 2.0
_BURST_ROWS: Final = 2_000
"""Some hundred calls. What fewer take comes to little, and looking for garbage takes 20 ms."""


class IdleMemory:
    """Gives back once in a pause after much was stored: pages that are held, garbage, free memory of the allocator.

    What comes after a pause reads its pages from the system's cache again: some milliseconds, once.

    Attributes:
        name: See `Chore`.
        times: How often memory was given back.
    """

    name = "idle_memory"

    def __init__(self, *, idle_s: float = _IDLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing to give back.

        Args:
            idle_s: How long nothing has been written when memory is given back.
            clock: Gives seconds that never run backwards.
        """
        self.times = 0
        self._idle_s = idle_s
        self._clock = clock
        self._seen = self._given_back_at = 0
        self._changed_at = clock()
        self._trim = _trimming()

    def step(self, db: sqlite3.Connection) -> Step:
        """Look whether anything was written since the last look."""
        written = db.total_changes
        if written != self._seen:
            self._seen, self._changed_at = written, self._clock()
        elif written - self._given_back_at >= _BURST_ROWS and self._clock() - self._changed_at >= self._idle_s:
            self._given_back_at = written
            self._give_back(db)
            return Step(is_resting=True)
        return NOTHING_TO_DO

    def _give_back(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA shrink_memory")
        gc.collect()
        if self._trim is not None:
            self._trim(0)
        self.times += 1


def _trimming() -> Callable[[int], object] | None:
    """Find glibc's `malloc_trim`; other allocators have none, and give back by themselves or not at all."""
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], object] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
