"""Finding conversations: by id, and the id of each."""

import sqlite3

from store import conversation_statements as sql
from store.conversation_call import session_id
from store.conversation_expressions import CONVERSATION_OF_ID, PARENT
from store.trace_rows import some_text

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
