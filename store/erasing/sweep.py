"""The chore that deletes messages and values which nothing holds any more.

Whoever takes a trace out lets go of its last messages (`loose_nodes`) and its values (`loose_blobs`). A message is held
by traces, replies and the messages after it, each of which an index tells; when it goes, the message before it becomes
loose. The highest number comes first, and a parent has the lower one, so each message is looked at once its children
were.

No index tells which traces hold a value, since five more of them would cost every trace its share at ingest. Instead
loose values become doubted ones in one go, all traces are looked through in steps, and what a trace holds is no longer
doubted. Traces that come in meanwhile stand behind the place that was reached, so they are looked at, too, before
anything is deleted.
"""

import sqlite3
import time
from collections.abc import Sequence

from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.erasing.pace import Pace
from store.erasing.removal import MessageFollower
from store.follower import Follower
from store.id_list import number_list

_ANY = """
    SELECT EXISTS (SELECT 1 FROM loose_nodes), EXISTS (SELECT 1 FROM loose_blobs),
           EXISTS (SELECT 1 FROM doubted_blobs), (SELECT is_looking FROM sweep)
"""
_NEXT_NODES = "SELECT node FROM loose_nodes ORDER BY node DESC LIMIT :count"
_FREE_NODES = """
    SELECT n.number, n.parent, n.body_bytes FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value
    WHERE NOT EXISTS (SELECT 1 FROM nodes c WHERE c.parent = n.number)
      AND NOT EXISTS (SELECT 1 FROM traces t WHERE t.request_node = n.number)
      AND NOT EXISTS (SELECT 1 FROM replies r WHERE r.node = n.number)
"""
_STRIKE_NODES = "DELETE FROM loose_nodes WHERE node IN (SELECT value FROM json_each(:numbers))"
_LOOSEN_PARENT = "INSERT OR IGNORE INTO loose_nodes (node) VALUES (?)"
_LOOSEN_BLOBS = """
    INSERT OR IGNORE INTO loose_blobs (blob)
    SELECT c.blob FROM json_each(:numbers) w CROSS JOIN node_blobs c ON c.node = w.value
"""
_DELETE_NODE_BLOBS = "DELETE FROM node_blobs WHERE node IN (SELECT value FROM json_each(:numbers))"
_DELETE_NODES = "DELETE FROM nodes WHERE number IN (SELECT value FROM json_each(:numbers))"
_LOWER_NODES = "UPDATE totals SET nodes = nodes - :count, body_bytes = body_bytes - :bytes"
_LOWER_BLOBS = "UPDATE totals SET blobs = blobs - :count, body_bytes = body_bytes - :bytes"

_DOUBT = "INSERT OR IGNORE INTO doubted_blobs (blob) SELECT blob FROM loose_blobs ORDER BY blob LIMIT :count"
_STRIKE_DOUBTED = "DELETE FROM loose_blobs WHERE blob IN (SELECT blob FROM loose_blobs ORDER BY blob LIMIT :count)"
_BEGIN_LOOKING = "UPDATE sweep SET is_looking = 1, place = 0"
_MOVE = "UPDATE sweep SET place = :place"
_LOOK_AGAIN = "UPDATE sweep SET place = 0 WHERE is_looking = 1"
_END_LOOKING = "UPDATE sweep SET is_looking = 0, place = 0"
_PLACE = "SELECT s.place, (SELECT coalesce(max(number), 0) FROM traces) FROM sweep s"
_CLEAR = """
    DELETE FROM doubted_blobs WHERE blob IN (
        SELECT tools_blob FROM traces WHERE number > :place AND number <= :end
        UNION SELECT response_format_blob FROM traces WHERE number > :place AND number <= :end
        UNION SELECT parameters_blob FROM traces WHERE number > :place AND number <= :end
        UNION SELECT metadata_blob FROM traces WHERE number > :place AND number <= :end
        UNION SELECT error_blob FROM traces WHERE number > :place AND number <= :end
        UNION SELECT logprobs_blob FROM replies WHERE trace > :place AND trace <= :end
    )
"""
_NEXT_DOUBTED = """
    SELECT d.blob, b.body_bytes, EXISTS (SELECT 1 FROM node_blobs c WHERE c.blob = d.blob)
    FROM doubted_blobs d LEFT JOIN blobs b ON b.number = d.blob ORDER BY d.blob LIMIT :count
"""
_STRIKE_BLOBS = "DELETE FROM doubted_blobs WHERE blob IN (SELECT value FROM json_each(:numbers))"
_DELETE_BLOBS = "DELETE FROM blobs WHERE number IN (SELECT value FROM json_each(:numbers))"
_LOOK_ROWS = 1_000
_STEP_S = 0.02


def look_again(db: sqlite3.Connection) -> None:
    """Have all traces looked through once more, inside the transaction in which some of them were changed."""
    db.execute(_LOOK_AGAIN)


def is_swept(db: sqlite3.Connection) -> bool:
    """Tell whether nothing is loose."""
    return not any(db.execute(_ANY).fetchone())


class Sweep:
    """Deletes what is loose, messages before values; see the module."""

    name = "sweep"

    def __init__(self, followers: Sequence[Follower] = ()) -> None:
        """Keep `followers` that know of messages told."""
        self._followers = [each for each in followers if isinstance(each, MessageFollower)]
        self._node_pace = Pace(_STEP_S, most=2_000)
        self._blob_pace = Pace(_STEP_S, most=2_000)

    def step(self, db: sqlite3.Connection) -> Step:
        """Delete some messages or values, or look some traces through."""
        nodes, blobs, doubted, is_looking = db.execute(_ANY).fetchone()
        if nodes:
            self._node_pace.run(lambda count: self._sweep_nodes(db, count))
            return Step(has_more=True, has_erased=True)
        if not (blobs or doubted or is_looking):
            return NOTHING_TO_DO
        if not is_looking:
            self._doubt(db)
            return Step(has_more=True)
        has_erased = self._look(db)
        return Step(has_more=True, has_erased=has_erased)

    def _sweep_nodes(self, db: sqlite3.Connection, count: int) -> None:
        with transaction_now(db):
            loose = [row[0] for row in db.execute(_NEXT_NODES, {"count": count})]
            free = db.execute(_FREE_NODES, number_list(loose)).fetchall()
            db.execute(_STRIKE_NODES, number_list(loose))
            if not free:
                return
            numbers = [row[0] for row in free]
            for follower in self._followers:
                follower.remove_nodes(db, numbers)
            db.execute(_LOOSEN_BLOBS, number_list(numbers))
            db.execute(_DELETE_NODE_BLOBS, number_list(numbers))
            db.execute(_DELETE_NODES, number_list(numbers))
            db.executemany(_LOOSEN_PARENT, [(row[1],) for row in free if row[1] is not None])
            db.execute(_LOWER_NODES, {"count": len(free), "bytes": sum(row[2] for row in free)})

    def _doubt(self, db: sqlite3.Connection) -> None:
        """Take loose values up, some at a time; begin to look when all are."""

        def move(count: int) -> None:
            with transaction_now(db):
                db.execute(_DOUBT, {"count": count})
                moved = db.execute(_STRIKE_DOUBTED, {"count": count}).rowcount
                if moved < count:
                    db.execute(_BEGIN_LOOKING)

        self._blob_pace.run(move)

    def _look(self, db: sqlite3.Connection) -> bool:
        """Look traces through for as long as a step may take; behind the last one, delete. Tell whether it did."""
        deadline = time.monotonic() + _STEP_S
        with transaction_now(db):
            place, newest = db.execute(_PLACE).fetchone()
            while place < newest:
                if time.monotonic() >= deadline:
                    db.execute(_MOVE, {"place": place})
                    return False
                end = place + _LOOK_ROWS
                db.execute(_CLEAR, {"place": place, "end": end})
                place = end
            db.execute(_MOVE, {"place": min(place, newest)})
        return self._delete_blobs(db, newest)

    def _delete_blobs(self, db: sqlite3.Connection, newest: int) -> bool:
        # The schema's references cannot be checked by SQLite here: without an index it would read all traces for each
        # value. They were all looked through.
        db.execute("PRAGMA foreign_keys = OFF")
        try:
            self._blob_pace.run(lambda count: self._delete_some(db, count, newest))
        finally:
            db.execute("PRAGMA foreign_keys = ON")
        return True

    def _delete_some(self, db: sqlite3.Connection, count: int, newest: int) -> None:
        with transaction_now(db):
            rows = db.execute(_NEXT_DOUBTED, {"count": count}).fetchall()
            if not rows:
                db.execute(_END_LOOKING)
                return
            free = [(number, size) for number, size, is_held in rows if size is not None and not is_held]
            db.execute(_DELETE_BLOBS, number_list(number for number, _ in free))
            db.execute(_STRIKE_BLOBS, number_list(row[0] for row in rows))
            db.execute(_LOWER_BLOBS, {"count": len(free), "bytes": sum(size for _, size in free)})
            assert db.execute(_PLACE).fetchone()[1] == newest, "nothing is stored during a step"  # noqa: S101
