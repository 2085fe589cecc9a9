"""Conversations: listed page by page, or one shown as the tree of its calls."""

from functools import partial

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, WHERE
from proxy.admin.refusal import AdminRefusal, Code
from store.conversation_json import conversation_json, page_json
from store.conversation_reader import list_conversations, show_conversation
from store.conversation_summary import ConversationPage


async def _list_conversations(context: Context, asked: Asked) -> Response:
    reader = await context.store.reader()
    page = ConversationPage([], None, is_settled=True)
    if reader is not None:
        listing = partial(list_conversations, where=asked[WHERE], cursor=asked[CURSOR], limit=asked[LIMIT])
        page = await reader.look(listing)
    return json_answer(page_json(page))


async def _get_conversation(context: Context, asked: Asked) -> Response:
    given = asked.path("id")
    reader = await context.store.reader()
    conversation = None
    if reader is not None:
        showing = partial(show_conversation, id_=given, cursor=asked[CURSOR], limit=asked[LIMIT])
        conversation = await reader.look(showing)
    if conversation is None:
        raise AdminRefusal(Code.NOT_FOUND, f"No conversation has the id {given[:80]!r}.")
    return json_answer(conversation_json(conversation))


OPERATIONS = (
    Operation(
        name="list_conversations",
        method="GET",
        path="/admin/api/conversations",
        summary="Lists conversations with a call that the filter selects, the one with the newest such call first.",
        handler=_list_conversations,
        good=Good("One page.", "conversation.ConversationPage"),
        parameters=(WHERE, CURSOR, LIMIT),
        tag="conversations",
    ),
    Operation(
        name="get_conversation",
        method="GET",
        path="/admin/api/conversations/{id}",
        summary="Gives one conversation with its calls, the oldest first.",
        handler=_get_conversation,
        good=Good("The conversation.", "conversation.Conversation"),
        parameters=(CURSOR, LIMIT),
        path_parts=(("id", "The conversation's id, or one that it had before a call came late."),),
        errors=(Code.NOT_FOUND,),
        tag="conversations",
    ),
)
