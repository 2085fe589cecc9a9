"""The chore that gives the room of what was deleted back to the disk, some pages at a time."""

import sqlite3
import time

from store.chore import NOTHING_TO_DO, Step
from store.erasing.pace import Pace
from store.erasing.sweep import is_swept

_STEP_S = 0.02
_LOOK_S = 5.0
_INCREMENTAL = 2
_LEAST_PAGES = 256
_WORTH = 0.05
"""Share of the file from which on it is given back: a store at its bound uses again what it frees."""


class FreedSpace:
    """Shrinks the file once enough of it is free.

    A database that an earlier version made cannot do so before `tracemill vacuum` has rewritten it.
    """

    name = "freed_space"

    def __init__(self, *, pause_s: float = _LOOK_S) -> None:
        """Begin with the next step; `pause_s` lies between two looks that find nothing."""
        self._pause_s = pause_s
        self._next_look = 0.0
        self._pace = Pace(_STEP_S, most=2_000)
        self._is_shrinking = False

    def step(self, db: sqlite3.Connection) -> Step:
        """Give some pages back, or find that too few are free."""
        if time.monotonic() < self._next_look:
            return NOTHING_TO_DO
        pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        worth = 1 if self._is_shrinking else max(_LEAST_PAGES, int(pages * _WORTH))
        can_shrink = db.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL
        if free < worth or not can_shrink or not is_swept(db):
            if self._is_shrinking:
                # The file is cut when the log is brought in. Waits for nobody.
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._is_shrinking = False
            self._next_look = time.monotonic() + self._pause_s
            return NOTHING_TO_DO
        self._is_shrinking = True
        self._pace.run(lambda count: db.execute(f"PRAGMA incremental_vacuum({count})").fetchall())
        return Step(has_more=True)
