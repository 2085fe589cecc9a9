"""Conversations and their calls."""

from typing import NamedTuple

from proxy.admin.shapes.conversation import Conversation, ConversationPage, ConversationSummary, Member
from tracemill.client.call import API, PAGE, Asked, Call, Page, Pages, as_shape, part


def conversation_page(
    where: str | None = None, *, cursor: str | None = None, limit: int | None = None
) -> Call[ConversationPage]:
    """Give one page of conversations without their calls, the one with the newest selected call first.

    Args:
        where: Selects the conversations that have a call of this kind, as in docs/filter.md; None for all.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most conversations of the page, up to 500; None for 50.
    """
    query = {"where": where, "cursor": cursor, "limit": limit}
    return Call(Asked("list_conversations", "GET", f"{API}/conversations", query), as_shape(ConversationPage))


def conversations(where: str | None = None) -> Pages[ConversationSummary]:
    """Give all conversations without their calls, the one with the newest selected call first, page by page.

    Args:
        where: As for `conversation_page`.
    """

    def at(cursor: str | None) -> Call[Page[ConversationSummary]]:
        found = conversation_page(where, cursor=cursor, limit=PAGE)
        return Call(found.asked, found.read)

    return Pages(at)


def conversation(id: str, *, cursor: str | None = None, limit: int | None = None) -> Call[Conversation]:  # noqa: A002
    """Give one conversation with a page of its calls, the oldest first.

    Args:
        id: The conversation's id, or one that it had before.
        cursor: `next_cursor` of the page before; None for the first.
        limit: Most calls of the page, up to 500; None for 50.
    """
    path = f"{API}/conversations/{part(id)}"
    return Call(Asked("get_conversation", "GET", path, {"cursor": cursor, "limit": limit}), as_shape(Conversation))


def conversation_calls(id: str) -> Pages[Member]:  # noqa: A002
    """Give all calls of a conversation, the oldest first, page by page as they are taken.

    Args:
        id: As for `conversation`.
    """

    def at(cursor: str | None) -> Call[Page[Member]]:
        found = conversation(id, cursor=cursor, limit=PAGE)
        return Call(found.asked, lambda body: _members(found.read(body)))

    return Pages(at)


class _Members(NamedTuple):
    data: list[Member]
    next_cursor: str | None


def _members(page: Conversation) -> Page[Member]:
    return _Members(page.members, page.next_cursor)
