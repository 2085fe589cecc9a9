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
7. `log`: the database's log is cut, and with it the last copy of a row.
8. `pages`: what SQLite left in the databases' pages when it moved rows is overwritten, for all erasures that have come
   so far at once. Then the change is finished.

An erasure whose step fails is left alone for a while and holds up no other (`store.erasing.failing`).
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from store.change import Applied, Change
from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.erasing.failing import FIRST_REST_S, Failing
from store.erasing.pace import Pace
from store.erasing.remains import CLEAN_S, Remains, cut_log
from store.erasing.removal import remove_by_id, remove_traces
from store.erasing.selector import Picked, Selector, SelectorKind
from store.erasing.sweep import Sweep
from store.erasing.text_selection import TextSelection
from store.erasing.under_way import Erasure, change_number, erasures_under_way, finish, go_on, move, take_up
from store.erasing.work_erasing import WorkErasing
from store.follower import Follower
from store.forgotten import forget_name, forget_traces
from store.search_index import search_state
from store.search_query import SearchOffError

_STEP_S = 0.02
_WAIT_S = 0.2
"""Pause between two looks at what others have to do first."""
_RESOLVE = "UPDATE erasures SET selector = :selector WHERE number = :number"
_EXPORTS = "SELECT number, result FROM changes WHERE kind = 'export' AND instr(result, CAST(:name AS BLOB)) > 0"
_REWRITE = "UPDATE changes SET result = :result WHERE number = :number"
_WAITING = ("traces", "search", "work", "journals", "late traces", "late search", "late work", "log", "pages")
"""Phases in which others may have to do something first."""


class Journals(Protocol):
    """The journals whose files hold calls for a while after they were read."""

    def begin_anew(self) -> object:
        """Have every journal begin a new file; give what `are_gone` needs to know of the old ones."""

    def are_gone(self, old: Any) -> bool:  # noqa: ANN401 - what `begin_anew` gave
        """Tell whether the old files were read and deleted."""


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
    take_up(db, change.id, change.asked_at, selector.encode(), counts)
    return Applied(counts, is_finished=False)


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
        clean_s: float = CLEAN_S,
        first_rest_s: float = FIRST_REST_S,
    ) -> None:
        """Touch nothing yet.

        Args:
            followers: Of the derived tables.
            data_dir: The folder of the database.
            journals: Of this data directory.
            clock: Seconds that never go back.
            pause_s: Between two looks at what others have to do first.
            clean_s: What a step cleans pages for; see `store.erasing.remains`.
            first_rest_s: How long an erasure that failed is left alone; twice as long each time.
        """
        self._followers = tuple(followers)
        self._sweep = Sweep(self._followers)
        self._work = WorkErasing(data_dir)
        self._remains = Remains(data_dir, clean_s)
        self._journals = journals
        self._old_files: dict[UUID, object] = {}
        self._cleaned_for: set[UUID] = set()
        self._texts: dict[UUID, TextSelection] = {}
        self._clock = clock
        self._pause_s = pause_s
        self._next_look = 0.0
        self._failing = Failing(clock, first_rest_s)
        self._pace = Pace(_STEP_S)
        self._phases: dict[str, Callable[[sqlite3.Connection, Erasure], Step]] = {
            "begin": self._begin,
            "traces": self._erase_traces,
            "sweep": self._sweep_up,
            "search": self._wait_for_search,
            "work": self._erase_work,
            "journals": self._empty_journals,
            "late traces": self._erase_traces,
            "late sweep": self._sweep_up,
            "late search": self._wait_for_search,
            "late work": self._erase_work,
            "log": self._cut_log,
            "pages": self._clean_pages,
        }

    def step(self, db: sqlite3.Connection) -> Step:
        """Do a step of the first erasure that need not wait."""
        under_way = [each for each in erasures_under_way(db) if not self._failing.is_resting(each.id)]
        if not under_way or (self._clock() < self._next_look and all(map(_waits, under_way))):
            return NOTHING_TO_DO
        for erasure in under_way:
            try:
                step = self._phases[erasure.phase](db, erasure)
            except Exception as error:  # noqa: BLE001 - none may hold up those that were asked for after it
                self._texts.pop(erasure.id, None)
                self._failing.note(db, erasure, error)
                return Step(has_more=True, has_erased=True)
            if step != NOTHING_TO_DO:
                self._failing.got_on(erasure.id)
                return step
        self._next_look = self._clock() + self._pause_s
        return NOTHING_TO_DO

    def _begin(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        """Keep what is still to come from being stored."""
        selector = Selector.decode(erasure.selector)
        change = change_number(db, erasure)
        with transaction_now(db):
            if selector.kind in (SelectorKind.SESSION, SelectorKind.USER):
                forget_name(db, selector.kind.value, selector.value, erasure.asked_at, change)
                _hide_name(db, selector.value)
            resolved = selector.resolved(db, erasure.asked_at)
            if resolved is None:
                move(db, erasure, "late sweep")
            else:
                db.execute(_RESOLVE, {"selector": resolved.encode(), "number": erasure.number})
                go_on(db, erasure)
        return Step(has_more=True, has_erased=True)

    def _erase_traces(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        selector = Selector.decode(erasure.selector)
        if selector.is_search:
            return self._erase_texts(db, erasure, selector)
        change = change_number(db, erasure)
        deadline = time.monotonic() + _STEP_S / 2

        def erase(count: int) -> None:
            with transaction_now(db):
                picked = selector.pick(db, erasure.asked_at, erasure.place, count, deadline)
                if selector.kind is SelectorKind.TRACES:
                    # Also those that are not stored: they may be in flight, be dead letters, or have been judged.
                    ids = selector.trace_ids[erasure.place : picked.place]
                    forget_traces(db, ids, change)
                    erasure.add(remove_by_id(db, [each.bytes for each in ids])._asdict())
                self._remove(db, erasure, change, picked)

        self._pace.run(erase)
        return Step(has_more=True, has_erased=True)

    def _erase_texts(self, db: sqlite3.Connection, erasure: Erasure, selector: Selector) -> Step:
        """Find traces by what was said in them, then erase these; both in steps."""
        texts = self._texts.setdefault(erasure.id, TextSelection(selector, erasure.asked_at))
        try:
            if not texts.is_indexed(db, erasure.phase):
                return NOTHING_TO_DO
            if texts.find(db, erasure.place, time.monotonic() + _STEP_S):
                return Step(has_more=True)
        except SearchOffError:
            # Put off meanwhile. What cannot be found must not keep other erasures waiting for ever.
            with transaction_now(db):
                erasure.add({"search_off": 1})
                go_on(db, erasure)
            return Step(has_more=True)
        change = change_number(db, erasure)

        def erase(count: int) -> None:
            with transaction_now(db):
                self._remove(db, erasure, change, texts.take(db, erasure.place, count))

        self._pace.run(erase)
        return Step(has_more=True, has_erased=True)

    def _remove(self, db: sqlite3.Connection, erasure: Erasure, change: int, picked: Picked) -> None:
        if picked.numbers:
            erasure.add(remove_traces(db, picked.numbers, self._followers, change)._asdict())
            erasure.add({"traces": len(picked.numbers)})
        if picked.is_done:
            self._texts.pop(erasure.id, None)
            go_on(db, erasure)
        else:
            move(db, erasure, erasure.phase, picked.place)

    def _sweep_up(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        step = self._sweep.step(db)
        if step == NOTHING_TO_DO:
            with transaction_now(db):
                go_on(db, erasure)
            return Step(has_more=True)
        return step

    def _wait_for_search(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        # The index forgets by a chore of its own.
        if search_state(db).to_forget:
            return NOTHING_TO_DO
        with transaction_now(db):
            go_on(db, erasure)
        return Step(has_more=True)

    def _erase_work(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        done = self._work.step(db, erasure.place)
        if done is None:
            return NOTHING_TO_DO
        erasure.add({"teacher_calls": done.calls} if done.calls else {})
        if done.datasets:
            erasure.counts["datasets"] = sorted({*erasure.counts.get("datasets", ()), *done.datasets})
        with transaction_now(db):
            if done.is_done:
                go_on(db, erasure)
            else:
                move(db, erasure, erasure.phase, done.place)
        return Step(has_more=True)

    def _empty_journals(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        old = self._old_files.get(erasure.id)
        if old is None:
            old = self._old_files[erasure.id] = self._journals.begin_anew()
        if not self._journals.are_gone(old):
            return NOTHING_TO_DO
        del self._old_files[erasure.id]
        with transaction_now(db):
            go_on(db, erasure)
        return Step(has_more=True)

    def _cut_log(self, db: sqlite3.Connection, erasure: Erasure) -> Step:
        if not cut_log(db):
            return NOTHING_TO_DO
        with transaction_now(db):
            go_on(db, erasure)
        return Step(has_more=True)

    def _clean_pages(self, db: sqlite3.Connection, _: Erasure) -> Step:
        if not self._cleaned_for:
            self._cleaned_for = {each.id for each in erasures_under_way(db) if each.phase == "pages"}
        is_clean = self._remains.step(db)
        if is_clean is None:
            return NOTHING_TO_DO
        if is_clean:
            with transaction_now(db):
                for each in erasures_under_way(db):
                    if each.id in self._cleaned_for:
                        finish(db, each)
            self._cleaned_for = set()
        return Step(has_more=True)


def _hide_name(db: sqlite3.Connection, name: str) -> None:
    """Take a name out of the expressions that exports stand in the audit log with."""
    written = json.dumps(name)[1:-1]
    for number, result in db.execute(_EXPORTS, {"name": written}).fetchall():
        told = json.loads(result)
        db.execute(_REWRITE, {"number": number, "result": json.dumps({**told, "where": "(erased)"}).encode()})


def _waits(erasure: Erasure) -> bool:
    return erasure.phase in _WAITING
