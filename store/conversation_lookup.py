"""Finding conversations: by id, by a call in them, and who is whose parent; the times choose among equal calls."""

import sqlite3

from store import conversation_statements as sql
from store.conversation_call import session_id
from store.trace_rows import some_text

CONVERSATION_OF_ID = """
    coalesce(
        (SELECT i.conversation FROM conversation_sessions i WHERE i.id = {id}),
        (SELECT s.conversation FROM conversation_replies k CROSS JOIN conversation_traces s ON s.trace = k.trace
         WHERE k.point >= substr({id}, 1, 8)
             AND k.point < CAST(substr({id}, 1, 8) || x'FFFFFFFFFFFFFFFFFF' AS BLOB) LIMIT 1)
    )
"""
"""The number of the conversation that an id names, as an expression."""
PARENT = """
    coalesce(
        (SELECT k.trace FROM conversation_replies k CROSS JOIN traces x ON x.number = k.trace
         WHERE k.point = s.continues AND k.created_at <= s.created_at
         ORDER BY k.created_at DESC, x.id DESC LIMIT 1),
        (SELECT k.trace FROM conversation_replies k CROSS JOIN traces x ON x.number = k.trace
         WHERE k.point = s.continues ORDER BY k.created_at, x.id LIMIT 1)
    )
"""
"""The parent of a row `s` of `conversation_traces`, as an expression: the latest call not made after it."""
IS_LEAF = """
    NOT EXISTS (
        SELECT 1
        FROM (
            SELECT CAST(s.request || substr(n.stitch_key, 1, 8) AS BLOB) AS point
            FROM conversation_traces s CROSS JOIN replies y ON y.trace = s.trace CROSS JOIN nodes n ON n.number = y.node
            WHERE s.trace = t.number
        ) r
        WHERE (
            EXISTS (
                SELECT 1 FROM conversation_traces c
                WHERE c.continues = r.point AND c.created_at >= t.created_at
                    AND c.created_at < coalesce(
                        (SELECT k.created_at FROM conversation_replies k CROSS JOIN traces x ON x.number = k.trace
                         WHERE k.point = r.point AND k.created_at >= t.created_at
                             AND (k.created_at > t.created_at OR x.id > t.id)
                         ORDER BY k.created_at LIMIT 1),
                        9223372036854775807
                    )
            )
            OR EXISTS (
                SELECT 1 FROM conversation_traces c
                WHERE c.continues = r.point AND c.created_at < t.created_at
                    AND NOT EXISTS (
                        SELECT 1 FROM conversation_replies k CROSS JOIN traces x ON x.number = k.trace
                        WHERE k.point = c.continues AND k.created_at <= t.created_at
                            AND (k.created_at < t.created_at OR x.id < t.id)
                    )
            )
        )
    )
"""
"""Whether no call has the row `t` of `traces` for its parent, as an expression."""

_FIRST = """
    SELECT s.trace, s.continues, s.place
    FROM conversation_traces s CROSS JOIN traces x ON x.number = s.trace
    WHERE s.conversation = :conversation ORDER BY s.created_at, x.id LIMIT 1
"""
_ABOVE = f"""
    SELECT p.trace, p.continues, p.place
    FROM conversation_traces s CROSS JOIN conversation_traces p ON p.trace = {PARENT}
    WHERE s.trace = :trace
"""  # noqa: S608 - put together from constants
_NAME = """
    SELECT t.session, n.stitch_key FROM traces t LEFT JOIN nodes n ON n.number = t.request_node
    WHERE t.number = :trace
"""
_BY_ID = f"SELECT {CONVERSATION_OF_ID.format(id=':id')}"


def conversation_of_id(db: sqlite3.Connection, id_: bytes) -> int | None:
    """Give the number of the conversation that an id names, also one that it had before a call came late."""
    found: int | None = db.execute(_BY_ID, {"id": id_}).fetchone()[0]
    return found


def conversation_of_trace(db: sqlite3.Connection, trace: int) -> int | None:
    """Give the number of the conversation that a trace is part of."""
    row = db.execute(sql.CONVERSATION_OF, (trace,)).fetchone()
    return None if row is None else row[0]


def id_of_conversation(db: sqlite3.Connection, conversation: int) -> bytes:
    """Make a conversation's id: its session's, or the stitch key of the request that its earliest call grew out of.

    So it depends on the calls alone, and calls that are made later do not change it.
    """
    trace, continues, place = db.execute(_FIRST, {"conversation": conversation}).fetchone()
    while continues is not None and place is not None:
        trace, continues, place = db.execute(_ABOVE, {"trace": trace}).fetchone()
    session, key = db.execute(_NAME, {"trace": trace}).fetchone()
    return bytes(key) if session is None else session_id(some_text(session))
