"""Taking traces, or their contents alone, out of all tables, inside a transaction.

What a trace shares with others, messages and values, is only let go of here; `store.erasing.sweep` deletes what nothing
holds any more.
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from store.body import blob_id
from store.feedback import erase as erase_feedback
from store.follower import Follower
from store.id_list import WANTED, id_list, number_list
from store.trace import Flag

# ruff: noqa: S608 - the statements are put together from constants
_EMPTY = b"{}"
_LOOSEN_NODES = """
    INSERT OR IGNORE INTO loose_nodes (node)
    SELECT t.request_node FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value
    WHERE t.request_node IS NOT NULL
    UNION SELECT r.node FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value
"""
_BLOB_COLUMNS = ("tools_blob", "response_format_blob", "parameters_blob", "metadata_blob", "error_blob")
_LOOSEN_BLOBS = (
    "INSERT OR IGNORE INTO loose_blobs (blob)"
    + "UNION".join(
        f" SELECT t.{column} FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"
        f" WHERE t.{column} IS NOT NULL "
        for column in _BLOB_COLUMNS
    )
    + """
    UNION SELECT r.logprobs_blob FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value
    WHERE r.logprobs_blob IS NOT NULL
"""
)
_FORGET = """
    INSERT OR IGNORE INTO forgotten_traces (id, change)
    SELECT t.id, :change FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value
"""
_IDS = "SELECT t.id FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"
_DELETE_LETTERS = f"DELETE FROM dead_letters WHERE trace_id IN ({WANTED} SELECT id FROM wanted)"
_DELETE_TEXT_FEEDBACK = f"""
    DELETE FROM feedback
    WHERE trace_id IN ({WANTED} SELECT id FROM wanted) AND kind IN ('comment', 'demonstration')
"""
_DELETE_REPLIES = "DELETE FROM replies WHERE trace IN (SELECT value FROM json_each(:numbers))"
_DELETES = (
    _DELETE_REPLIES,
    "DELETE FROM tags WHERE trace IN (SELECT value FROM json_each(:numbers))",
    "DELETE FROM usages WHERE trace IN (SELECT value FROM json_each(:numbers))",
    "DELETE FROM traces WHERE number IN (SELECT value FROM json_each(:numbers))",
)
_FIND_EMPTY = "SELECT number FROM blobs WHERE id = :id"
_INSERT_EMPTY = "INSERT INTO blobs (id, body_bytes, body) VALUES (:id, :body_bytes, :body)"
_HELD = ("DELETE FROM loose_blobs WHERE blob = :blob", "DELETE FROM doubted_blobs WHERE blob = :blob")
_COUNT_EMPTY = "UPDATE totals SET blobs = blobs + 1, body_bytes = body_bytes + :body_bytes"
_FLAGS = "SELECT t.number, t.flags FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value"
_EXPIRE = """
    UPDATE traces SET request_node = NULL, tools_blob = NULL, response_format_blob = NULL, error_blob = NULL,
        parameters_blob = :parameters, is_complete = 0, flags = :flags
    WHERE number = :number
"""


class Gone(NamedTuple):
    """What went along with traces."""

    dead_letters: int
    feedback: int


@runtime_checkable
class MessageFollower(Protocol):
    """A follower that keeps something of messages themselves, such as an index of their words."""

    def remove_nodes(self, db: sqlite3.Connection, nodes: Sequence[int]) -> None:
        """Let go of messages, inside the transaction that deletes them, before their rows go."""


@runtime_checkable
class ContentFollower(Protocol):
    """A follower that keeps contents of traces."""

    def remove_content(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Let go of what traces say, inside the transaction that takes it out of them; their metadata stay."""


def remove_traces(
    db: sqlite3.Connection, numbers: Sequence[int], followers: Sequence[Follower], change: int | None
) -> "Gone":
    """Delete traces with all that hangs on them.

    Args:
        db: The writer's connection, in a transaction.
        numbers: Of rows that are there.
        followers: Of the derived tables.
        change: Number of the change that asks for it, so that none of them is stored again; None where age does.
    """
    given = number_list(numbers)
    for follower in followers:
        follower.remove(db, numbers)
    let_go(db, numbers)
    if change is not None:
        db.execute(_FORGET, {**given, "change": change})
    gone = remove_by_id(db, [row[0] for row in db.execute(_IDS, given)])
    for statement in _DELETES:
        db.execute(statement, given)
    return gone


def remove_by_id(db: sqlite3.Connection, ids: Sequence[bytes]) -> "Gone":
    """Delete what hangs on the ids of traces, be they stored or not."""
    letters = db.execute(_DELETE_LETTERS, id_list(ids)).rowcount
    erase_feedback(db, ids)
    return Gone(letters, db.execute("SELECT changes()").fetchone()[0])


def remove_content(db: sqlite3.Connection, numbers: Sequence[int], followers: Sequence[Follower]) -> None:
    """Leave of traces what is known of their calls, and nothing that was said in them."""
    given = number_list(numbers)
    for follower in followers:
        if isinstance(follower, ContentFollower):
            follower.remove_content(db, numbers)
    let_go(db, numbers)
    db.execute(_DELETE_REPLIES, given)
    db.execute(_DELETE_TEXT_FEEDBACK, id_list(row[0] for row in db.execute(_IDS, given)))
    parameters = _empty_object(db)
    rows = db.execute(_FLAGS, given).fetchall()
    db.executemany(
        _EXPIRE,
        [{"number": row[0], "flags": _with_flag(row[1]), "parameters": parameters} for row in rows],
    )


def let_go(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Note that these traces' messages and values may be held by nothing, before their rows go or change."""
    given = number_list(numbers)
    db.execute(_LOOSEN_NODES, given)
    db.execute(_LOOSEN_BLOBS, given)


def _with_flag(flags: str) -> str:
    return ",".join(sorted({*filter(None, flags.split(",")), Flag.CONTENT_EXPIRED.value}))


def _empty_object(db: sqlite3.Connection) -> int:
    """Give the number of the value `{}`, which stands for parameters that are gone."""
    name = blob_id(_EMPTY)
    found = db.execute(_FIND_EMPTY, {"id": name}).fetchone()
    if found is not None:
        # Traces that were looked through already now hold it, too.
        for statement in _HELD:
            db.execute(statement, {"blob": found[0]})
        return int(found[0])
    row = {"id": name, "body_bytes": len(_EMPTY), "body": b"\x00" + _EMPTY}
    db.execute(_COUNT_EMPTY, row)
    return int(db.execute(_INSERT_EMPTY, row).lastrowid or 0)
