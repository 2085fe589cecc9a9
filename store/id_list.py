"""Lists of ids or numbers as one SQL parameter, taken apart again inside the statement.

So statements stay constant text with named parameters, however many a batch has.
"""

# ruff: noqa: S608 - the statements are put together from constants of this module alone.
from collections.abc import Iterable

WANTED = """
    WITH RECURSIVE wanted (at, id) AS (
        SELECT 1, substr(:ids, 1, :id_bytes) WHERE length(:ids) > 0
        UNION ALL
        SELECT at + :id_bytes, substr(:ids, at + :id_bytes, :id_bytes) FROM wanted
        WHERE at + :id_bytes <= length(:ids)
    )
"""

KNOWN_TRACES = WANTED + "SELECT t.id FROM wanted w CROSS JOIN traces t ON t.id = w.id"
KNOWN_DEAD_LETTERS = WANTED + "SELECT d.trace_id FROM wanted w CROSS JOIN dead_letters d ON d.trace_id = w.id"
KNOWN_NODES = WANTED + "SELECT n.id, n.number FROM wanted w CROSS JOIN nodes n ON n.id = w.id"
KNOWN_BLOBS = WANTED + "SELECT b.id, b.number FROM wanted w CROSS JOIN blobs b ON b.id = w.id"

REPLIES_OF = """
    SELECT r.trace, r.choice_index, r.node, r.finish_reason, r.logprobs_blob
    FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value ORDER BY r.trace, r.position
"""
FINISH_REASONS_OF = """
    SELECT r.trace, r.finish_reason
    FROM json_each(:numbers) w CROSS JOIN replies r ON r.trace = w.value ORDER BY r.trace, r.position
"""
TAGS_OF = """
    SELECT g.trace, g.name, g.value
    FROM json_each(:numbers) w CROSS JOIN tags g ON g.trace = w.value ORDER BY g.trace, g.position
"""
COSTS_OF = "SELECT c.trace, c.cost FROM json_each(:numbers) w CROSS JOIN costs c ON c.trace = w.value"
USAGES_OF = "SELECT u.trace, u.body FROM json_each(:numbers) w CROSS JOIN usages u ON u.trace = w.value"
# UNION, not UNION ALL: a history shared by many traces of the batch is walked and read once.
NODES_UP_FROM = """
    WITH RECURSIVE path (number, parent) AS (
        SELECT n.number, n.parent FROM json_each(:numbers) w CROSS JOIN nodes n ON n.number = w.value
        UNION
        SELECT n.number, n.parent FROM path p CROSS JOIN nodes n ON n.number = p.parent
    )
    SELECT n.number, n.parent, n.body FROM path p CROSS JOIN nodes n ON n.number = p.number
"""
NODE_BLOBS_OF = """
    SELECT c.node, c.offset, b.body
    FROM json_each(:numbers) w CROSS JOIN node_blobs c ON c.node = w.value CROSS JOIN blobs b ON b.number = c.blob
    ORDER BY c.node, c.offset
"""
BLOBS_OF = "SELECT b.number, b.body FROM json_each(:numbers) w CROSS JOIN blobs b ON b.number = w.value"


def id_list(ids: Iterable[bytes]) -> dict[str, object]:
    """Make the parameters of a statement over ids; the ids must be of one length."""
    found = list(ids)
    return {"ids": b"".join(found), "id_bytes": len(found[0]) if found else 1}


def number_list(numbers: Iterable[int]) -> dict[str, object]:
    """Make the parameters of a statement over numbers of rows."""
    return {"numbers": f"[{','.join(map(str, numbers))}]"}
