"""A conversation, in short and with its calls, as the admin side gives it."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, Id, Time, one_of
from store.trace import Outcome

IsSettled = Annotated[
    bool,
    Field(description="Whether every stored call has its place; after a migration or a deletion that takes a while."),
]


class ConversationSummary(Given):
    """A conversation without its calls. A sum that no call reported anything for is null."""

    id: Annotated[str, Field(description="40 hexadecimal digits; docs/conversations.md tells when it changes.")]
    session: Annotated[str | None, Field(description="The session that it is, if the client named one.")]
    first_at: Annotated[Time, Field(description="When its first call arrived.")]
    last_at: Annotated[Time, Field(description="When its last call arrived.")]
    calls: Annotated[int, Field(description="How many calls it has.")]
    turns: Annotated[int, Field(description="The most messages of the user that a call of it holds.")]
    leaves: Annotated[
        int | None, Field(description="Calls that no other goes on from; null where there are too many calls to ask.")
    ]
    is_truncated: Annotated[
        bool, Field(description="Whether a call was joined although its client had dropped the history's beginning.")
    ]
    prompt_tokens: Annotated[int | None, Field(description="Sum over the calls that reported it.")]
    completion_tokens: Annotated[int | None, Field(description="Sum over the calls that reported it.")]
    cost_usd: Annotated[float | None, Field(description="Dollars, over the calls whose cost is known.")]
    models: Annotated[list[str | None], Field(description="The requested models; null for calls that named none.")]
    outcomes: Annotated[dict[str, int], Field(description="How many calls ended how.")]
    is_whole: Annotated[bool, Field(description="Whether all calls were added up; of very many only the newest are.")]


class ConversationPage(Given):
    """Some conversations, the one with the newest call first."""

    data: list[ConversationSummary]
    next_cursor: Cursor
    is_settled: IsSettled


class Member(Given):
    """A call of a conversation."""

    id: Annotated[Id, Field(description="The trace's id.")]
    created_at: Annotated[Time, Field(description="When the call arrived.")]
    parent: Annotated[Id | None, Field(description="The call that it goes on from; null for one that begins.")]
    choice: Annotated[int | None, Field(description="Which of the parent's replies it goes on from, from 0.")]
    is_truncated: Annotated[
        bool, Field(description="Whether the client had dropped the beginning; the end alone tells the parent.")
    ]
    turn: Annotated[int, Field(description="How many messages of the user its request holds.")]
    is_leaf: Annotated[bool, Field(description="Whether no other call goes on from it.")]
    is_regenerated: Annotated[bool, Field(description="Whether the same was asked more than once.")]
    is_edited: Annotated[bool, Field(description="Whether something else was asked at the same point, too.")]
    outcome: Annotated[str, one_of(Outcome), Field(description="How the call ended.")]
    is_complete: Annotated[bool, Field(description="Whether the trace holds a whole completion.")]
    requested_model: Annotated[str | None, Field(description="`model` of the request.")]
    message_count: Annotated[int, Field(description="Messages of the request.")]
    prompt_tokens: Annotated[int | None, Field(description="From the answer's usage.")]
    completion_tokens: Annotated[int | None, Field(description="From the answer's usage.")]


class Conversation(ConversationSummary):
    """A conversation with a page of its calls, the oldest first."""

    members: list[Member]
    next_cursor: Cursor
    is_settled: IsSettled
