"""Erasing: traces, and everything made of them, go because somebody asks for it.

A change of the kind `erase` makes a row of `erasures`; the chore leads it through its phases in bounded steps, each a
transaction, and goes on where it was when it is killed:

1. `traces`: rows go, with all that hangs on them; their ids are remembered, so that none is stored again.
2. `sweep`: messages and values that nothing else holds go.
3. `search`: the index for search has forgotten these messages.
4. `work`: what processing made of them goes or is marked.
5. `journals`: every journal begins a new file, and what was written before has been read and deleted. Calls that were
   in flight when it was asked for are stored by then or left out.
6. `late traces`, `late sweep`, `late search`, `late work`: the same once more, for what came in meanwhile.
7. `log`: the database's log is cut, and with it the last copy. Then the change is finished.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from store.change import Applied, Change, finish_change
from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.erasing.pace import Pace
from store.erasing.removal import remove_by_id, remove_traces
from store.erasing.selector import Picked, Selector, SelectorKind
from store.erasing.sweep import Sweep
from store.erasing.work_erasing import WorkErasing
from store.follower import Follower
from store.forgotten import forget_name, forget_traces
from store.search_index import search_state
from store.search_query import SearchOffError
from store.trace_rows import from_micros, to_micros

_STEP_S = 0.02
_WAIT_S = 0.2
"""Pause between two looks at what others have to do first."""
_INSERT = """
    INSERT INTO erasures (id, asked_at, selector, phase, place, counts)
    VALUES (:id, :asked_at, :selector, 'begin', 0, :counts)
"""
_ALL = "SELECT number, id, asked_at, selector, phase, place, counts FROM erasures ORDER BY number"
_MOVE = "UPDATE erasures SET phase = :phase, place = :place, counts = :counts WHERE number = :number"
_RESOLVE = "UPDATE erasures SET selector = :selector WHERE number = :number"
_EXPORTS = "SELECT number, result FROM changes WHERE kind = 'export' AND instr(result, CAST(:name AS BLOB)) > 0"
_REWRITE = "UPDATE changes SET result = :result WHERE number = :number"
_HIDE = "UPDATE erasures SET selector = x'' WHERE number = :number"
_DELETE = "DELETE FROM erasures WHERE number = :number"
_PHASES = (
    "begin", "traces", "sweep", "search", "work", "journals",
    "late traces", "late sweep", "late search", "late work", "log",
)  # fmt: skip
_WAITING = ("search", "work", "journals", "late search", "late work", "log")
"""Phases in which others may have to do something first."""
_NEXT = dict(pairwise(_PHASES))
_CHANGE = "SELECT number FROM changes WHERE id = :id"


class Journals(Protocol):
    """The journals whose files hold calls for a while after they were read."""

    def begin_anew(self) -> object:
        """Have every journal begin a new file; give what `are_gone` needs to know of the old ones."""

    def are_gone(self, old: Any) -> bool:  # noqa: ANN401 - what `begin_anew` gave
        """Tell whether the old files were read and deleted."""


class Erasure(NamedTuple):
    """A row of `erasures`.

    Attributes:
        counts: The result so far.
    """

    number: int
    id: UUID
    asked_at: datetime
    selector: bytes
    phase: str
    place: int
    counts: dict[str, Any]


def apply_erasure(db: sqlite3.Connection, change: Change) -> Applied:
    """Take an erasure up; the applier of `ChangeKind.ERASE`. The chore does it.

    Raises:
        ValueError: It cannot be told what is to go; the message quotes nothing of it.
    """
    selector = Selector.decode(change.body)
    selector.check()
    if selector.is_search and not search_state(db).is_on:
        raise ValueError("texts are not indexed, so they cannot be searched for what is to go")
    counts = {"by": selector.kind.value, "traces": 0}
    db.execute(
        _INSERT,
        {
            "id": change.id.bytes,
            "asked_at": to_micros(change.asked_at),
            "selector": selector.encode(),
            "counts": json.dumps(counts).encode(),
        },
    )
    return Applied(counts, is_finished=False)


def erasures_under_way(db: sqlite3.Connection) -> list[Erasure]:
    """List the erasures that have steps left to do, in their order."""
    return [
        Erasure(row[0], UUID(bytes=row[1]), from_micros(row[2]), row[3], row[4], row[5], json.loads(row[6]))
        for row in db.execute(_ALL)
    ]


class Erasing:
    """The chore; see the module."""

    name = "erasing"

    def __init__(
        self,
        followers: Sequence[Follower],
        data_dir: Path,
        journals: Journals,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = _WAIT_S,
    ) -> None:
        """Touch nothing yet.

        Args:
            followers: Of the derived tables.
            data_dir: The folder of the database.
            journals: Of this data directory.
            clock: Seconds that never go back.
            pause_s: Between two looks at what others have to do first.
        """
        self._followers = tuple(followers)
        self._sweep = Sweep(self._followers)
        self._work = WorkErasing(data_dir)
        self._journals = journals
        self._old_files: dict[UUID, object] = {}
        self._clock = clock
        self._pause_s = pause_s
        self._next_look = 0.0
        self._pace = Pace(_STEP_S)
        self._phases: dict[str, Callable[[sqlite3.Connection, Erasure], Step]] = {
            "begin": self._begin,
            "traces": self._erase_traces,
            "sweep": self._sweep_up,
            "work": self._erase_work,
            "journals": self._empty_journals,
            "late traces": self._erase_traces,
            "late sweep": self._sweep_up,
            "search": self._wait_for_search,
            "late search": self._wait_for_search,
            "late work": self._erase_work,
            "log": self._cut_log,
        }

    def step(self, db: sqlite3.Connection) -> Step:
        """Do a step of the first erasure that need not wait."""
        under_way = erasures_under_way(db)
        if not under_way or (self._clock() < self._next_look and all(map(_waits, under_way))):
            return NOTHING_TO_DO
        for erasure in under_way:
            step = self._phases[erasure.phase](db, erasure)
            if step != NOTHING_TO_DO:
                return step
        self._next_look = self._clock() + self._pause_s
        return NOTHING_TO_DO

    def _begin(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        """Keep what is still to come from being stored."""
        selector = Selector.decode(erasure.selector)
        change = _change_number(db, erasure)
        with transaction_now(db):
            if selector.kind in (SelectorKind.SESSION, SelectorKind.USER):
                forget_name(db, selector.kind.value, selector.value, erasure.asked_at, change)
                _hide_name(db, selector.value)
            resolved = selector.resolved(db, erasure.asked_at)
            if resolved is None:
                _move(db, erasure, "late sweep")
            else:
                db.execute(_RESOLVE, {"selector": resolved.encode(), "number": erasure.number})
                self._go_on(db, erasure)
        return Step(has_more=True, has_erased=True)

    def _erase_traces(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        selector = Selector.decode(erasure.selector)
        change = _change_number(db, erasure)
        deadline = time.monotonic() + _STEP_S / 2

        def erase(count: int) -> None:
            with transaction_now(db):
                try:
                    picked = selector.pick(db, erasure.asked_at, erasure.place, count, deadline)
                except SearchOffError:
                    # Put off meanwhile. What cannot be found must not keep other erasures waiting for ever.
                    _add(erasure, {"search_off": 1})
                    picked = Picked([], erasure.place, is_done=True)
                if selector.kind is SelectorKind.TRACES:
                    # Also those that are not stored: they may be in flight, be dead letters, or have been judged.
                    ids = selector.trace_ids[erasure.place : picked.place]
                    forget_traces(db, ids, change)
                    _add(erasure, remove_by_id(db, [each.bytes for each in ids])._asdict())
                if picked.numbers:
                    _add(erasure, remove_traces(db, picked.numbers, self._followers, change)._asdict())
                    _add(erasure, {"traces": len(picked.numbers)})
                if picked.is_done:
                    self._go_on(db, erasure)
                else:
                    _move(db, erasure, erasure.phase, picked.place)

        self._pace.run(erase)
        return Step(has_more=True, has_erased=True)

    def _sweep_up(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        step = self._sweep.step(db)
        if step == NOTHING_TO_DO:
            with transaction_now(db):
                self._go_on(db, erasure)
            return Step(has_more=True)
        return step

    def _wait_for_search(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        # The index forgets by a chore of its own.
        if search_state(db).to_forget:
            return NOTHING_TO_DO
        with transaction_now(db):
            self._go_on(db, erasure)
        return Step(has_more=True)

    def _erase_work(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        done = self._work.step(db, erasure.place)
        if done is None:
            return NOTHING_TO_DO
        _add(erasure, {"teacher_calls": done.calls} if done.calls else {})
        if done.datasets:
            erasure.counts["datasets"] = sorted({*erasure.counts.get("datasets", ()), *done.datasets})
        with transaction_now(db):
            if done.is_done:
                self._go_on(db, erasure)
            else:
                _move(db, erasure, erasure.phase, done.place)
        return Step(has_more=True)

    def _empty_journals(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        old = self._old_files.get(erasure.id)
        if old is None:
            old = self._old_files[erasure.id] = self._journals.begin_anew()
        if not self._journals.are_gone(old):
            return NOTHING_TO_DO
        del self._old_files[erasure.id]
        with transaction_now(db):
            self._go_on(db, erasure)
        return Step(has_more=True)

    def _cut_log(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        if not cut_log(db):
            return NOTHING_TO_DO
        with transaction_now(db):
            db.execute(_DELETE, {"number": erasure.number})
            finish_change(db, erasure.id, erasure.counts, datetime.now(UTC))
        return Step(has_more=True)

    def _go_on(self, db: sqlite3.Connection, erasure: Erasure) -> None:
        """Enter the next phase; before the log is cut, the selector goes, which may name a person."""
        phase = _NEXT[erasure.phase]
        _move(db, erasure, phase)
        if phase == "log":
            db.execute(_HIDE, {"number": erasure.number})


def cut_log(db: sqlite3.Connection) -> bool:
    """Bring the log into the database and cut it to nothing; False while a reader still needs it. Waits for nobody."""
    patience = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute("PRAGMA busy_timeout = 0")
    try:
        return bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


def _hide_name(db: sqlite3.Connection, name: str) -> None:
    """Take a name out of the expressions that exports stand in the audit log with."""
    written = json.dumps(name)[1:-1]
    for number, result in db.execute(_EXPORTS, {"name": written}).fetchall():
        told = json.loads(result)
        db.execute(_REWRITE, {"number": number, "result": json.dumps({**told, "where": "(erased)"}).encode()})


def _waits(erasure: Erasure) -> bool:
    return erasure.phase in _WAITING


def _change_number(db: sqlite3.Connection, erasure: Erasure) -> int:
    return int(db.execute(_CHANGE, {"id": erasure.id.bytes}).fetchone()[0])


def _add(erasure: Erasure, more: dict[str, int]) -> None:
    for name, count in more.items():
        erasure.counts[name] = erasure.counts.get(name, 0) + count


def _move(db: sqlite3.Connection, erasure: Erasure, phase: str, place: int = 0) -> None:
    db.execute(
        _MOVE,
        {"phase": phase, "place": place, "counts": json.dumps(erasure.counts).encode(), "number": erasure.number},
    )
