"""The statements that stitching is made of, over many keys at once."""

# ruff: noqa: S608 - the statements are put together from constants of this module alone.

_WANTED = """
    WITH RECURSIVE wanted (at, key) AS (
        SELECT 1, substr(:ids, 1, :id_bytes) WHERE length(:ids) > 0
        UNION ALL
        SELECT at + :id_bytes, substr(:ids, at + :id_bytes, :id_bytes) FROM wanted
        WHERE at + :id_bytes <= length(:ids)
    )
"""
_AFTER_ALL_POINTS = "x'FFFFFFFFFFFFFFFFFF'"

MADE_POINTS = f"""
    {_WANTED}
    SELECT key, (SELECT s.conversation FROM conversation_replies k CROSS JOIN conversation_traces s ON s.trace = k.trace
                 WHERE k.point = key LIMIT 1) AS made
    FROM wanted WHERE made IS NOT NULL
"""
"""The conversation of each point that a stitched call has made."""
KNOWN_REQUESTS = f"""
    {_WANTED}
    SELECT key, (SELECT s.conversation FROM conversation_replies k CROSS JOIN conversation_traces s ON s.trace = k.trace
                 WHERE k.point >= key AND k.point < CAST(key || {_AFTER_ALL_POINTS} AS BLOB) LIMIT 1) AS found
    FROM wanted WHERE found IS NOT NULL
"""
"""The conversation of each request that a stitched call made."""
KNOWN_SESSIONS = f"""
    {_WANTED}
    SELECT key, s.conversation FROM wanted CROSS JOIN conversation_sessions s ON s.id = key
"""
WAITING = f"""
    {_WANTED}
    SELECT key, w.trace, w.place, s.trace IS NOT NULL, s.continues, s.place
    FROM wanted CROSS JOIN conversation_waits w ON w.point = key
    LEFT JOIN conversation_traces s ON s.trace = w.trace
"""
"""Who waits for each point, with the place that they have now; one that is not stitched now has none."""
SOUGHT_WINDOWS = f"""
    {_WANTED}
    SELECT key FROM wanted WHERE EXISTS (SELECT 1 FROM conversation_seekers k WHERE k.window = key)
"""

INSERT_TRACE = """
    INSERT INTO conversation_traces (trace, conversation, created_at, turn, request, continues, place)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
INSERT_REPLY = "INSERT OR REPLACE INTO conversation_replies (point, created_at, trace, choice) VALUES (?, ?, ?, ?)"
INSERT_WAIT = "INSERT OR REPLACE INTO conversation_waits (point, trace, place) VALUES (?, ?, ?)"
INSERT_WINDOW = "INSERT OR REPLACE INTO conversation_windows (window, point, trace, system) VALUES (?, ?, ?, ?)"
INSERT_SEEKER = "INSERT OR REPLACE INTO conversation_seekers (window, request, trace, system) VALUES (?, ?, ?, ?)"
INSERT_SESSION = "INSERT INTO conversation_sessions (id, conversation) VALUES (?, ?)"
CONTINUE = "UPDATE conversation_traces SET continues = ?, place = ? WHERE trace = ?"
DELETE_TRACE = "DELETE FROM conversation_traces WHERE trace = ?"
DELETE_REPLY = "DELETE FROM conversation_replies WHERE point = ? AND created_at = ? AND trace = ? AND choice IS ?"
DELETE_WAIT = "DELETE FROM conversation_waits WHERE point = ? AND trace = ?"
DELETE_WAITS = "DELETE FROM conversation_waits WHERE point = ?"
DELETE_WINDOW = "DELETE FROM conversation_windows WHERE window = ? AND point = ? AND trace = ?"
DELETE_SEEKER = "DELETE FROM conversation_seekers WHERE window = ? AND request = ? AND trace = ?"
DELETE_UNSETTLED = """
    DELETE FROM conversation_unsettled
    WHERE (message_count, trace) IN (
        SELECT t.message_count, t.number FROM json_each(:numbers) w CROSS JOIN traces t ON t.number = w.value
    )
"""
DELETE_SESSION = """
    DELETE FROM conversation_sessions
    WHERE id = ? AND NOT EXISTS (SELECT 1 FROM conversation_traces s
                                 WHERE s.conversation = conversation_sessions.conversation)
"""
LAST_GIVEN = "SELECT given FROM conversation_count"
GIVE = "UPDATE conversation_count SET given = :given"
CONVERSATION_OF = "SELECT conversation FROM conversation_traces WHERE trace = ?"
RENAME = "UPDATE conversation_traces SET conversation = :new WHERE conversation = :old"
COUNT = "SELECT count(*) FROM (SELECT 1 FROM conversation_traces WHERE conversation = :conversation LIMIT :most)"
IS_ANYBODY_WAITING = "SELECT EXISTS (SELECT 1 FROM conversation_waits)"
IS_ANYBODY_SEEKING = "SELECT EXISTS (SELECT 1 FROM conversation_seekers)"
ORPHAN = """
    SELECT s.trace FROM conversation_traces s
    WHERE s.continues = :point AND NOT EXISTS (SELECT 1 FROM conversation_replies k WHERE k.point = :point) LIMIT 1
"""
TAKE_APART = """
    INSERT OR IGNORE INTO conversation_unsettled (message_count, trace)
    SELECT t.message_count, s.trace FROM conversation_traces s CROSS JOIN traces t ON t.number = s.trace
    WHERE s.conversation = :conversation
"""
DELETE_CONVERSATION = "DELETE FROM conversation_traces WHERE conversation = :conversation"
UNSETTLED = "SELECT message_count, trace FROM conversation_unsettled ORDER BY message_count, trace LIMIT :most"
SETTLED = "DELETE FROM conversation_unsettled WHERE message_count = ? AND trace = ?"
ARE_UNSETTLED = "SELECT EXISTS (SELECT 1 FROM conversation_unsettled)"

NEXT_POINT = """
    SELECT point, system, trace FROM conversation_windows WHERE window = ? AND point > ? ORDER BY point LIMIT 1
"""
NEXT_REQUEST = """
    SELECT request, system FROM conversation_seekers WHERE window = ? AND request > ? ORDER BY request LIMIT 1
"""
OLDER_SEEKER = """
    SELECT s.continues, s.place
    FROM conversation_seekers k CROSS JOIN conversation_traces s ON s.trace = k.trace
    WHERE k.window = :window AND k.request = :request AND k.trace NOT IN (SELECT value FROM json_each(:numbers)) LIMIT 1
"""
SEEKER = """
    SELECT s.trace, s.continues, s.place
    FROM conversation_seekers k CROSS JOIN conversation_traces s ON s.trace = k.trace
    WHERE k.window = ? AND k.request = ? LIMIT 1
"""
MAKER = """
    SELECT s.trace FROM conversation_replies k CROSS JOIN conversation_traces s ON s.trace = k.trace
    WHERE k.point = ? LIMIT 1
"""
CONTINUE_SEEKERS = """
    UPDATE conversation_traces SET continues = :point, place = NULL
    WHERE continues IS NULL
        AND trace IN (SELECT trace FROM conversation_seekers WHERE window = :window AND request = :request)
"""
