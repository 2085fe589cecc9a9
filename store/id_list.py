"""Lists of ids as one SQL parameter: all ids in one blob, taken apart again inside the statement.

So statements stay constant text with named parameters, however many ids a batch has.
"""

# ruff: noqa: S608 - the statements are put together from constants of this module alone.
from collections.abc import Iterable

_WANTED = """
    WITH RECURSIVE wanted (at, id) AS (
        SELECT 1, substr(:ids, 1, :id_bytes) WHERE length(:ids) > 0
        UNION ALL
        SELECT at + :id_bytes, substr(:ids, at + :id_bytes, :id_bytes) FROM wanted
        WHERE at + :id_bytes <= length(:ids)
    )
"""

KNOWN_TRACES = _WANTED + "SELECT t.id FROM wanted w JOIN traces t ON t.id = w.id"
KNOWN_DEAD_LETTERS = _WANTED + "SELECT d.trace_id FROM wanted w JOIN dead_letters d ON d.trace_id = w.id"
KNOWN_NODES = _WANTED + "SELECT n.id FROM wanted w JOIN nodes n ON n.id = w.id"
KNOWN_BLOBS = _WANTED + "SELECT b.id FROM wanted w JOIN blobs b ON b.id = w.id"

REPLIES_OF = (
    _WANTED
    + """
    SELECT r.trace_id, r.choice_index, r.node_id, r.finish_reason, r.logprobs_blob
    FROM wanted w CROSS JOIN replies r ON r.trace_id = w.id ORDER BY r.trace_id, r.position
    """
)
FINISH_REASONS_OF = (
    _WANTED
    + """
    SELECT r.trace_id, r.finish_reason
    FROM wanted w CROSS JOIN replies r ON r.trace_id = w.id ORDER BY r.trace_id, r.position
    """
)
TAGS_OF = (
    _WANTED
    + """
    SELECT g.trace_id, g.name, g.value
    FROM wanted w CROSS JOIN tags g ON g.trace_id = w.id ORDER BY g.trace_id, g.position
    """
)
# UNION, not UNION ALL: a history shared by many traces of the batch is walked and read once.
NODES_UP_FROM = (
    _WANTED
    + """,
    path (id, parent_id) AS (
        SELECT n.id, n.parent_id FROM wanted w CROSS JOIN nodes n ON n.id = w.id
        UNION
        SELECT n.id, n.parent_id FROM path p CROSS JOIN nodes n ON n.id = p.parent_id
    )
    SELECT n.id, n.parent_id, n.body FROM path p CROSS JOIN nodes n ON n.id = p.id
    """
)
NODE_BLOBS_OF = (
    _WANTED
    + """
    SELECT c.node_id, c.offset, b.body
    FROM wanted w CROSS JOIN node_blobs c ON c.node_id = w.id CROSS JOIN blobs b ON b.id = c.blob_id
    ORDER BY c.node_id, c.offset
    """
)
BLOBS_OF = _WANTED + "SELECT b.id, b.body FROM wanted w CROSS JOIN blobs b ON b.id = w.id"


def id_list(ids: Iterable[bytes]) -> dict[str, object]:
    """Make the parameters of a statement above; the ids must be of one length."""
    found = list(ids)
    return {"ids": b"".join(found), "id_bytes": len(found[0]) if found else 1}
