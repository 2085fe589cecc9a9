"""What can be said of conversations inside a statement: who is whose parent, who has none, and what an id names."""

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
            OR (
                NOT EXISTS (
                    SELECT 1 FROM conversation_replies k CROSS JOIN traces x ON x.number = k.trace
                    WHERE k.point = r.point AND k.created_at <= t.created_at
                        AND (k.created_at < t.created_at OR x.id < t.id)
                )
                AND EXISTS (
                    SELECT 1 FROM conversation_traces c WHERE c.continues = r.point AND c.created_at < t.created_at
                )
            )
        )
    )
"""
"""Whether no call has the row `t` of `traces` for its parent, as an expression."""
