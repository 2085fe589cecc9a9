"""The audit log."""

from proxy.admin.shapes.change import Change, ChangePage
from tracemill.client.call import API, PAGE, Asked, Call, Page, Pages, as_shape, part


def change_page(kind: str | None = None, *, cursor: str | None = None, limit: int | None = None) -> Call[ChangePage]:
    """Give one page of the audit log, the last applied first.

    Args:
        kind: Changes of one kind; None for all.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most changes of the page, up to 500; None for 50.
    """
    query = {"kind": kind, "cursor": cursor, "limit": limit}
    return Call(Asked("list_changes", "GET", f"{API}/changes", query), as_shape(ChangePage))


def changes(kind: str | None = None) -> Pages[Change]:
    """Give the whole audit log, the last applied first, page by page as it is taken.

    Args:
        kind: Changes of one kind; None for all.
    """

    def at(cursor: str | None) -> Call[Page[Change]]:
        found = change_page(kind, cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def change(id: str) -> Call[Change]:  # noqa: A002
    """Tell what became of a change that was asked for.

    Args:
        id: The change's id.
    """
    return Call(Asked("get_change", "GET", f"{API}/changes/{part(id)}"), as_shape(Change))
