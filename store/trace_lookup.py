"""Finding one trace by any id that somebody may hold: ours, the completion's, or the answer's `x-request-id`."""

from uuid import UUID

from store.filter import parse_filter
from store.trace import Trace
from store.traces import TraceReader


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
