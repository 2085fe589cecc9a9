"""What is told of conversations: in sums, and call by call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from store.trace import Outcome


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """What is told of a conversation without its calls.

    Attributes:
        id: 40 hexadecimal digits (`docs/conversations.md`).
        session: The session that it is, if the client named one.
        calls: How many calls it has; with `is_whole` false, at least so many.
        turns: The most messages of the user that a call of it holds.
        leaves: Calls that no other goes on from: each is a version of the conversation. None where there are too many
            calls to ask.
        is_truncated: Whether a call was joined although its client had dropped the beginning of the history.
        prompt_tokens: Sum over the calls that reported it, None when none did; the same for `completion_tokens`.
        cost_usd: Dollars, over the calls whose cost is known; None when that is none.
        models: The requested models.
        outcomes: How many calls ended how.
        is_whole: Whether all calls were added up; of more than 10,000 only the newest are.
    """

    id: str
    session: str | None
    first_at: datetime
    last_at: datetime
    calls: int
    turns: int
    leaves: int | None
    is_truncated: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    models: tuple[str | None, ...]
    outcomes: Mapping[str, int]
    is_whole: bool


class ConversationPage(NamedTuple):
    """Some conversations.

    Attributes:
        next_cursor: Of the page after; None on the last page.
        is_settled: Whether every stored call has its place; after a migration that takes a while.
    """

    conversations: list[ConversationSummary]
    next_cursor: str | None
    is_settled: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A call of a conversation.

    Attributes:
        parent: The call that it goes on from; None for one that begins the conversation.
        choice: Which of the parent's replies it goes on from, counted from 0.
        is_truncated: Whether the client had dropped the beginning of the history; its end alone tells the parent.
        turn: How many messages of the user its request holds.
        is_leaf: Whether no other call goes on from it.
        is_regenerated: Whether the same was asked more than once.
        is_edited: Whether something else was asked at the same point, too.
    """

    id: UUID
    created_at: datetime
    parent: UUID | None
    choice: int | None
    is_truncated: bool
    turn: int
    is_leaf: bool
    is_regenerated: bool
    is_edited: bool
    outcome: Outcome
    is_complete: bool
    requested_model: str | None
    message_count: int
    prompt_tokens: int | None
    completion_tokens: int | None


class WholeConversation(NamedTuple):
    """A conversation with a page of its calls, the oldest first, and the cursor of the page after."""

    summary: ConversationSummary
    members: list[Member]
    next_cursor: str | None
    is_settled: bool
