"""A trace by whatever a client knows of it: an id of its own, or one that its upstream gave."""

from uuid import UUID

from proxy.admin.refusal import AdminRefusal, Code
from store.trace_lookup import find_trace
from store.traces import TraceReader


async def named_trace(reader: TraceReader | None, named: str) -> UUID:
    """Find the id of the trace whose completion or request has that id.

    Raises:
        AdminRefusal: There is none.
    """
    trace = None if reader is None else await find_trace(reader, named)
    if trace is None:
        raise unknown_trace(named)
    return trace.id


def unknown_trace(named: str) -> AdminRefusal:
    """Make the answer for an id that no trace has."""
    return AdminRefusal(Code.NOT_FOUND, f"No trace, completion or request has the id {named[:80]!r}.")
