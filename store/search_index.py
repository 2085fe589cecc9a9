"""The full-text index: the text of every message once, however many traces hold it.

The index has *parts*, each an FTS5 table over the messages of one stretch of numbers. The last one grows; the others
are merged once and then stay. Deleting from FTS5 leaves the words in its pages until all of them are merged again, and
for an index in one piece that is to write it anew, for one message. So nothing is ever deleted from a part: when
messages of its stretch are erased, a part is made anew from those that are left, and the old one goes as a whole, its
pages overwritten with zeros. Until then its matches are of messages that are no more, and nobody sees them.

All of it is a chore, in steps of some 50 ms, so the index is behind the traces by a moment; `search_state` tells how
far.
"""

# ruff: noqa: S608 - names of tables are made of numbers of parts.
import math
import sqlite3
import time
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import NamedTuple

from store.body import Cut, put_back, unpack
from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.follower import StoredTrace
from store.fresh_messages import FreshMessages
from store.id_list import NODE_BLOBS_OF, number_list
from store.search_part import SearchPart, find_parts, make_part, merge_pages, move_part, set_state
from store.search_text import indexed_text
from store.trace import JsonText

PART_NODES = 65_536
"""Some 15 MB of index, made anew in five seconds of steps."""

_STEP_S = 0.03
_NODES_A_READ = 64
"""So few, since each may be large."""
_MANY_NODES = 512
"""So many new messages wait for no more."""
_PAGES_A_MERGE = 50
_PAGES_A_WIPE = 300
_NEXT_NODES = """
    SELECT number, body FROM nodes WHERE number > :after AND number <= :upto ORDER BY number LIMIT :count
"""
_NEWEST_LEFT = """
    SELECT number FROM nodes WHERE number NOT IN (SELECT value FROM json_each(:numbers)) ORDER BY number DESC LIMIT 1
"""
_INDEXED = "SELECT coalesce(max(indexed_node), 0) FROM search_parts WHERE replaces IS NULL AND state != 'gone'"


class SearchState(NamedTuple):
    """How the index stands.

    Attributes:
        is_on: Whether texts are indexed at all.
        behind: Messages that are stored and not indexed yet.
        to_forget: Parts that still hold words of erased messages.
    """

    is_on: bool
    behind: int
    to_forget: int


def search_state(db: sqlite3.Connection) -> SearchState:
    """Tell how the index stands, in a few look-ups."""
    is_on = bool(db.execute("SELECT is_on FROM search_settings").fetchone()[0])
    indexed = db.execute(_INDEXED).fetchone()[0]
    newest = db.execute("SELECT coalesce(max(number), 0) FROM nodes").fetchone()[0]
    to_forget = db.execute("SELECT count(*) FROM search_parts WHERE state IN ('stale', 'gone')").fetchone()[0]
    return SearchState(is_on, max(0, newest - indexed) if is_on else 0, to_forget)


def erase_nodes(db: sqlite3.Connection, numbers: Collection[int]) -> None:
    """Have the index forget messages, in the transaction that deletes their rows; the rows may be gone already.

    From now on none of their words leads to a trace. The words leave the file by the steps of the chore:
    `search_state(db).to_forget` is 0 when that is done.
    """
    erased = sorted(numbers)
    if not erased:
        return
    row = db.execute(_NEWEST_LEFT, number_list(erased)).fetchone()
    newest = row[0] if row else 0
    for part in find_parts(db):
        at = bisect_left(erased, part.first)
        is_touched = at < len(erased) and erased[at] <= part.indexed
        # The numbers behind the newest message are given again: what the index holds under them must not be found as
        # what comes there.
        if part.state == "gone" or not (is_touched or part.indexed > newest):
            continue
        if part.replaces is not None or part.first > newest:
            set_state(db, part, "gone")
        else:
            # What grew ends here; what comes next goes into a part of its own.
            end = min(part.indexed, newest)
            set_state(db, part._replace(last=end, indexed=end), "stale")


class SearchFollower:
    """Has the index forget the messages that are erased."""

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Leave new messages to the chore."""

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Leave traces; it is messages that are indexed."""

    def remove_nodes(self, db: sqlite3.Connection, nodes: Sequence[int]) -> None:
        """Forget these messages."""
        erase_nodes(db, nodes)

    def forget(self) -> None:
        """Remember nothing anyway."""


class SearchChore:
    """Keeps the index up with the messages, and lets it forget; with `is_on` false, takes it away."""

    name = "search"

    def __init__(
        self,
        *,
        is_on: bool = True,
        part_nodes: int = PART_NODES,
        fresh: FreshMessages | None = None,
        gather_s: float = 0.0,
    ) -> None:
        """Index, or not; parts of so many messages.

        Args:
            is_on: Whether to index.
            part_nodes: Messages of a part.
            fresh: What the writer stored last; what is not in it is read back.
            gather_s: How long a few new messages may wait for more: each time, a commit is waited for.
        """
        self._fresh = fresh or FreshMessages()
        self._is_on = is_on
        self._part_nodes = part_nodes
        self._gather_s = gather_s
        self._grown_at = -math.inf
        self._has_begun = False
        self._has_turn = False

    def step(self, db: sqlite3.Connection) -> Step:
        """Do some work, or find that nothing is to be done."""
        if not self._has_begun:
            self._begin(db)
        parts = find_parts(db)
        self._has_turn = not self._has_turn
        works = (self._take_in, self._tidy_up) if self._has_turn else (self._tidy_up, self._take_in)
        return Step(has_more=True) if any(work(db, parts) for work in works) else NOTHING_TO_DO

    def _take_in(self, db: sqlite3.Connection, parts: list[SearchPart]) -> bool:
        """Index new messages."""
        growing = [part for part in parts if part.state == "growing" and part.replaces is None]
        return any(self._grow(db, part) for part in growing) or (
            self._is_on and not growing and self._add_part(db, parts)
        )

    def _tidy_up(self, db: sqlite3.Connection, parts: list[SearchPart]) -> bool:
        """Let old parts go, and make anew or finish others."""
        works = {"gone": self._wipe, "stale": self._replace, "full": self._begin_merging, "merging": self._merge}
        for part in parts:
            work = self._grow if part.state == "growing" and part.replaces is not None else works.get(part.state)
            if work is not None and work(db, part):
                return True
        return False

    def _begin(self, db: sqlite3.Connection) -> None:
        # What goes is overwritten; SQLite's own default leaves that to whoever compiled it.
        db.execute("PRAGMA secure_delete = ON")
        with transaction_now(db):
            db.execute("UPDATE search_settings SET is_on = :is_on", {"is_on": int(self._is_on)})
            if not self._is_on:
                db.execute("UPDATE search_parts SET state = 'gone'")
        self._has_begun = True

    def _add_part(self, db: sqlite3.Connection, parts: list[SearchPart]) -> bool:
        """Begin the next part; only whole ones are left."""
        kept = [part for part in parts if part.replaces is None and part.state != "gone"]
        after = max((part.last for part in kept), default=0)
        if not db.execute("SELECT 1 FROM nodes WHERE number > :after LIMIT 1", {"after": after}).fetchone():
            return False
        with transaction_now(db):
            make_part(db, after + 1, after + self._part_nodes, None)
        return True

    def _replace(self, db: sqlite3.Connection, part: SearchPart) -> bool:
        """Begin what takes the place of a part that is to forget."""
        if db.execute("SELECT 1 FROM search_parts WHERE replaces = :part", {"part": part.number}).fetchone():
            return False
        with transaction_now(db):
            make_part(db, part.first, part.last, part.number)
        return True

    def _grow(self, db: sqlite3.Connection, part: SearchPart) -> bool:
        ends_at = time.monotonic() + _STEP_S
        indexed, upto = part.indexed, part.last
        if part.replaces is None:
            upto = min(upto, db.execute("SELECT coalesce(max(number), 0) FROM nodes").fetchone()[0])
        if indexed >= upto and indexed < part.last:
            return False
        is_early = time.monotonic() < self._grown_at + self._gather_s
        if is_early and part.replaces is None and upto - indexed < _MANY_NODES:
            return False
        with transaction_now(db):
            while indexed < upto and time.monotonic() < ends_at:
                indexed = self._index(db, part, indexed, upto)
            move_part(db, part, indexed, "full" if indexed >= part.last else "growing")
        self._grown_at = time.monotonic()
        return True

    def _index(self, db: sqlite3.Connection, part: SearchPart, after: int, upto: int) -> int:
        """Index some messages; give the number of the last."""
        messages = self._fresh.take(after, upto, _NODES_A_READ)
        if not messages:
            first = self._fresh.first
            upto = upto if first is None else min(upto, first - 1)
            messages = _read_back(db, after, upto)
        if not messages:
            return upto
        texts = [(number, indexed_text(message)) for number, message in messages]
        db.executemany(f"INSERT INTO {part.table} (rowid, text) VALUES (?, ?)", texts)
        return messages[-1][0]

    def _begin_merging(self, db: sqlite3.Connection, part: SearchPart) -> bool:
        with transaction_now(db):
            # Less than nothing: from now on all of the part's pages are merged into one run, by steps.
            merge_pages(db, part, -_PAGES_A_MERGE)
            set_state(db, part, "merging")
        return True

    def _merge(self, db: sqlite3.Connection, part: SearchPart) -> bool:
        with transaction_now(db):
            before = db.total_changes
            merge_pages(db, part, _PAGES_A_MERGE)
            if db.total_changes - before < 2:  # as https://www.sqlite.org/fts5.html, section 6.8 tells the end
                db.execute(
                    "UPDATE search_parts SET state = 'whole', replaces = NULL WHERE number = :number",
                    {"number": part.number},
                )
                if part.replaces is not None:
                    db.execute("UPDATE search_parts SET state = 'gone' WHERE number = :old", {"old": part.replaces})
        return True

    def _wipe(self, db: sqlite3.Connection, part: SearchPart) -> bool:
        """Take pages of a part away, then the part."""
        with transaction_now(db):
            wiped = db.execute(
                f"DELETE FROM {part.table}_data WHERE id IN (SELECT id FROM {part.table}_data WHERE id > 10 LIMIT :n)",
                {"n": _PAGES_A_WIPE},
            ).rowcount
            if wiped < _PAGES_A_WIPE:
                db.execute(f"DROP TABLE {part.table}")
                db.execute("DELETE FROM search_parts WHERE number = :number", {"number": part.number})
        return True


def _read_back(db: sqlite3.Connection, after: int, upto: int) -> list[tuple[int, JsonText]]:
    """Give some messages from the database."""
    rows = db.execute(_NEXT_NODES, {"after": after, "upto": upto, "count": _NODES_A_READ}).fetchall()
    cuts: dict[int, list[Cut]] = {}
    for node, offset, body in db.execute(NODE_BLOBS_OF, number_list(row[0] for row in rows)).fetchall():
        cuts.setdefault(node, []).append(Cut(offset, unpack(body)))
    return [(number, put_back(unpack(body), cuts.get(number, []))) for number, body in rows]
