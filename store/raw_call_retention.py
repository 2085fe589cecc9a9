"""The chore that lets raw calls go: the oldest file as a whole, whose room the disk has back at once."""

import sqlite3
import time
from collections.abc import Callable

from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.raw_call_files import RawCallFiles
from store.raw_calls import RawCalls, RawRetention

_LOOK_S = 2.0
"""Pause between two looks at the files; a look costs some 20 µs for each."""
_OLDEST = "SELECT segment, stored_at FROM raw_packs ORDER BY segment, offset LIMIT 1"
_DELETE = "DELETE FROM raw_packs WHERE segment = :segment"


class RawCallPruning:
    """Holds the raw calls of a data directory to the size and the age that they may have.

    A file goes when its first call has reached the age: no call is kept longer, and some a sixteenth shorter.
    """

    name = "raw_retention"

    def __init__(
        self, raw_calls: RawCalls, *, clock: Callable[[], float] = time.time, pause_s: float = _LOOK_S
    ) -> None:
        """Begin with the next step.

        Args:
            raw_calls: Whose files and bounds.
            clock: Seconds of the epoch, as packs are stored by.
            pause_s: Between two looks that find nothing.
        """
        self._raw_calls = raw_calls
        self._clock = clock
        self._pause_s = pause_s
        self._next_look = 0.0

    def step(self, db: sqlite3.Connection) -> Step:
        """Let one file go, or find that all may stay."""
        if time.monotonic() < self._next_look:
            return NOTHING_TO_DO
        self._raw_calls.sweep(db)
        files = self._raw_calls.files
        oldest = db.execute(_OLDEST).fetchone()
        if oldest is None or not self._has_to_go(oldest[1], files, self._raw_calls.retention):
            self._next_look = time.monotonic() + self._pause_s
            return NOTHING_TO_DO
        with transaction_now(db):
            db.execute(_DELETE, {"segment": oldest[0]})
        # Behind the commit: killed in between, the file is one that nothing is known of, and is swept away.
        files.delete(oldest[0])
        self._raw_calls.forget()
        return Step(has_more=True)

    def _has_to_go(self, stored_at: int, files: RawCallFiles, retention: RawRetention) -> bool:
        if not retention.keeps_any or self._clock() - stored_at / 1e6 >= retention.seconds:
            return True
        return sum(files.segments().values()) > retention.bytes
