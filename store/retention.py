"""Retention: what is said in calls, and what is known of them, goes by age and by size, oldest first.

*Content* is messages, replies, tools, parameters and errors; a trace without its content stays, flagged
`content_expired`, and is what statistics and lists need. *Metadata* is the rest; with it the trace goes as a whole.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.erasing.pace import Pace
from store.erasing.removal import remove_content, remove_traces
from store.erasing.sweep import is_swept
from store.follower import Follower

_DAY_S = 86_400.0
_STEP_S = 0.02
_LOOK_S = 5.0
_LAP_S = 6 * 3600.0
"""Traces that are imported may be older than what was looked at already: so often all are looked at again."""
_ENOUGH = 0.9
"""A store that is too large is brought down to this share of its bound, or each trace that comes would push one out."""
_LEAST_TRACES = 100

_OLDER = """
    SELECT t.number, t.created_at, t.id FROM traces t
    WHERE t.created_at < :until ORDER BY t.created_at, t.id LIMIT :count
"""
_WITH_CONTENT = """
    SELECT t.number, t.created_at, t.id,
        instr(t.flags, 'content_expired') = 0 AND (
            t.request_node IS NOT NULL OR t.error_blob IS NOT NULL OR t.tools_blob IS NOT NULL
            OR t.response_format_blob IS NOT NULL
            OR (SELECT b.body_bytes FROM blobs b WHERE b.number = t.parameters_blob) > 2
            OR EXISTS (SELECT 1 FROM replies r WHERE r.trace = t.number)
        )
    FROM traces t
    WHERE (t.created_at, t.id) > (:time, :id) AND t.created_at < :until ORDER BY t.created_at, t.id LIMIT :count
"""
_LETTERS = "SELECT id, trace_id FROM dead_letters WHERE reason <> 'gap' ORDER BY id LIMIT :count"
_DELETE_LETTERS = "DELETE FROM dead_letters WHERE reason <> 'gap' AND id <= :last"
_NOTE = """
    INSERT INTO pruned (what, until, traces) VALUES (:what, :until, :traces)
    ON CONFLICT (what) DO UPDATE SET until = max(until, excluded.until), traces = traces + excluded.traces
"""
_COUNT = "SELECT count(*) FROM traces"
_LETTERS_A_STEP = 200
_BEGINNING = (-(2**63), b"")
_END = 2**62


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long, and how much; None sets no bound.

    Attributes:
        content_days: Age of a call at which what was said in it goes.
        metadata_days: Age at which its trace goes.
        max_bytes: What the database may hold; content goes first, then traces.
    """

    content_days: float | None = None
    metadata_days: float | None = None
    max_bytes: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything ever goes."""
        return (self.content_days, self.metadata_days, self.max_bytes) != (None, None, None)


class Pruning:
    """The chore that holds a store to its retention."""

    name = "retention"

    def __init__(
        self,
        retention: Retention,
        followers: Sequence[Follower],
        *,
        clock: Callable[[], float] = time.time,
        pause_s: float = _LOOK_S,
    ) -> None:
        """Begin with the next step.

        Args:
            retention: The bounds.
            followers: Of the derived tables.
            clock: Seconds of the epoch, as calls are dated by.
            pause_s: Between two looks that find nothing.
        """
        self._retention = retention
        self._followers = tuple(followers)
        self._clock = clock
        self._pause_s = pause_s
        self._next_look = 0.0
        self._next_lap = 0.0
        self._pace = Pace(_STEP_S)
        self._place: tuple[int, bytes] = _BEGINNING
        self._size_place: tuple[int, bytes] = _BEGINNING
        self._is_shrinking = False
        self._to_expire = 0

    def step(self, db: sqlite3.Connection) -> Step:
        """Take from some traces what has had its time."""
        now = time.monotonic()
        if not self._retention.is_on or now < self._next_look:
            return NOTHING_TO_DO
        if now >= self._next_lap:
            self._place, self._next_lap = _BEGINNING, now + _LAP_S
        for part in (self._prune_traces, self._prune_letters, self._expire, self._shrink):
            step = part(db)
            if step is not None:
                return step
        self._next_look = now + self._pause_s
        return NOTHING_TO_DO

    def _until(self, days: float) -> int:
        return int((self._clock() - days * _DAY_S) * 1e6)

    def _prune_traces(self, db: sqlite3.Connection) -> Step | None:
        if self._retention.metadata_days is None:
            return None
        return self._remove(db, self._until(self._retention.metadata_days))

    def _remove(self, db: sqlite3.Connection, until: int) -> Step | None:
        """Take the oldest traces out, as many as a step may."""

        def remove(count: int) -> int:
            rows = db.execute(_OLDER, {"until": until, "count": count}).fetchall()
            if rows:
                with transaction_now(db):
                    remove_traces(db, [row[0] for row in rows], self._followers, None)
                    _note(db, "traces", rows)
            return len(rows)

        return Step(has_more=True, has_erased=True) if self._pace.run(remove) else None

    def _prune_letters(self, db: sqlite3.Connection) -> Step | None:
        """Let dead letters go with the content of their time; gaps stay, which tell what is missing and say nothing."""
        days = self._retention.content_days or self._retention.metadata_days
        if days is None:
            return None
        until_ms = self._until(days) // 1000
        rows = db.execute(_LETTERS, {"count": _LETTERS_A_STEP}).fetchall()
        # Ids of calls are UUIDv7, which begin with the time; what else there is came in between two of them.
        old = [row[0] for row in rows if row[1] and row[1][6] >> 4 == 7 and _milliseconds(row[1]) < until_ms]
        if not old:
            return None
        with transaction_now(db):
            db.execute(_DELETE_LETTERS, {"last": old[-1]})
        return Step(has_more=True)

    def _expire(self, db: sqlite3.Connection) -> Step | None:
        if self._retention.content_days is None:
            return None
        rows = self._take_content(db, self._place, self._until(self._retention.content_days), self._pace.count)
        if not rows:
            return None
        self._place = (rows[-1][1], rows[-1][2])
        return Step(has_more=True, has_erased=any(row[3] for row in rows))

    def _take_content(
        self, db: sqlite3.Connection, place: tuple[int, bytes], until: int, most: int
    ) -> list[tuple[Any, ...]]:
        """Take what was said out of the next traces; give their number, time, id, and whether anything was said."""

        def take(count: int) -> list[tuple[Any, ...]]:
            wanted = {"time": place[0], "id": place[1], "until": until, "count": min(count, most)}
            rows = [tuple(row) for row in db.execute(_WITH_CONTENT, wanted)]
            said = [row for row in rows if row[3]]
            if said:
                with transaction_now(db):
                    remove_content(db, [row[0] for row in said], self._followers)
                    _note(db, "content", said)
            return rows

        return self._pace.run(take)

    def _shrink(self, db: sqlite3.Connection) -> Step | None:
        """Take from the oldest until the rest fits; what is let go of has to be deleted before it can be measured."""
        bound = self._retention.max_bytes
        if bound is None:
            return None
        if self._to_expire <= 0:
            if not is_swept(db):
                return None
            held = held_bytes(db)
            self._is_shrinking = held > (bound * _ENOUGH if self._is_shrinking else bound)
            if not self._is_shrinking:
                return None
            # Old and new traces differ, so half of what seems right is taken before the next look.
            traces = db.execute(_COUNT).fetchone()[0]
            self._to_expire = max(_LEAST_TRACES, int((held - bound * _ENOUGH) / held * traces / 2))
        rows = self._take_content(db, self._size_place, _END, self._to_expire)
        if rows:
            self._to_expire -= sum(bool(row[3]) for row in rows)
            self._size_place = (rows[-1][1], rows[-1][2])
            return Step(has_more=True, has_erased=True)
        # Nothing is left that was said in any call.
        self._size_place, self._to_expire = _BEGINNING, 0
        return self._remove(db, _END) if is_swept(db) else None


def held_bytes(db: sqlite3.Connection) -> int:
    """Tell how much of the file is in use."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _milliseconds(id_: bytes) -> int:
    return int.from_bytes(id_[:6], "big")


def _note(db: sqlite3.Connection, what: str, rows: Sequence[Sequence[Any]]) -> None:
    db.execute(_NOTE, {"what": what, "until": max(row[1] for row in rows), "traces": len(rows)})
