"""Traces: listed, shown, exported."""

from typing import Literal

from proxy.admin.shapes.raw import RawCall
from proxy.admin.shapes.trace import Trace, TracePage, TraceSummary
from tracemill.client.call import API, PAGE, Asked, Call, Lines, Page, Pages, as_shape, part


def trace_page(
    where: str | None = None, *, order: str | None = None, cursor: str | None = None, limit: int | None = None
) -> Call[TracePage]:
    """Give one page of traces without their bodies.

    A page is what was found within a moment: while it has a `next_cursor` there may be more, even if it is empty.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        order: What comes first, such as `created_at` or `-duration_ms`, where `-` is the largest; None for the newest.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most traces of the page, up to 500; None for 50.
    """
    query = {"where": where, "order": order, "cursor": cursor, "limit": limit}
    return Call(Asked("list_traces", "GET", f"{API}/traces", query), as_shape(TracePage))


def traces(where: str | None = None, *, order: str | None = None) -> Pages[TraceSummary]:
    """Give all traces of a selection without their bodies, page by page as they are taken.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        order: As for `trace_page`.
    """

    def at(cursor: str | None) -> Call[Page[TraceSummary]]:
        found = trace_page(where, order=order, cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def trace(id: str) -> Call[Trace]:  # noqa: A002 - the API's word
    """Give one whole trace.

    Args:
        id: The trace's id (`x-tracemill-trace-id`), or the completion's own id, or the answer's `x-request-id`.
    """
    return Call(Asked("get_trace", "GET", f"{API}/traces/{part(id)}"), as_shape(Trace))


def trace_json(id: str) -> Call[bytes]:  # noqa: A002
    """Give one whole trace as the JSON text that was answered, with every number as it was written.

    Args:
        id: As for `trace`.
    """
    return Call(Asked("get_trace", "GET", f"{API}/traces/{part(id)}"), bytes)


def raw_call(id: str) -> Call[RawCall]:  # noqa: A002
    """Give what was really sent and what came back, while it is kept.

    Args:
        id: As for `trace`.
    """
    return Call(Asked("get_raw_call", "GET", f"{API}/traces/{part(id)}/raw"), as_shape(RawCall))


def export(
    where: str | None = None,
    *,
    format: Literal["traces", "openai"] = "traces",  # noqa: A002
    all: bool = False,  # noqa: A002
) -> Lines:
    r"""Give traces as lines of JSON, oldest first, each ending in `\n`, as they come.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        format: `traces` for `tracemill process --traces`, `openai` for fine-tuning files.
        all: Whether traces that are not whole are given too.
    """
    return Lines(Asked("export", "GET", f"{API}/export", {"where": where, "format": format, "all": all}))
