"""Finding one trace by any id that somebody may hold: ours, the completion's, or the answer's `x-request-id`."""

import re
import sqlite3
from uuid import UUID

from store.filter import parse_filter
from store.trace import Trace
from store.traces import TraceReader

MOST_NAMED = 20
_BEGINNING = re.compile(r"[0-9a-f]{4,32}")
_BETWEEN = "SELECT id FROM traces WHERE id BETWEEN :first AND :last ORDER BY id LIMIT :most"


async def ids_beginning(reader: TraceReader, asked: str) -> list[UUID]:
    """Give the trace ids that begin with these characters, at least four of them, at most `MOST_NAMED`."""
    digits = asked.lower().replace("-", "")
    if _BEGINNING.fullmatch(digits) is None:
        return []
    first, last = (bytes.fromhex(digits.ljust(32, filler)) for filler in "0f")

    def look(db: sqlite3.Connection) -> list[UUID]:
        rows = db.execute(_BETWEEN, {"first": first, "last": last, "most": MOST_NAMED})
        return [UUID(bytes=row[0]) for row in rows]

    return await reader.look(look)


async def find_trace(reader: TraceReader, asked: str) -> Trace | None:
    """Give the trace that an id names, the newest where an upstream used one id twice; None when there is none."""
    try:
        trace = await reader.trace(UUID(asked))
    except ValueError:
        trace = None
    if trace is not None:
        return trace
    quoted = '"' + asked.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for field in ("upstream_id", "request_id"):
        selection = parse_filter(f"{field} = {quoted}")
        found = [trace async for trace in reader.traces(selection, newest_first=True, limit=1)]
        if found:
            return found[0]
    return None
