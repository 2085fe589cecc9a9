"""Conversations over HTTP."""

from pathlib import Path

from proxy.admin.app import create_admin_app
from proxy.admin.shapes.conversation import Conversation, ConversationPage
from store.traces import TraceWriter
from tests.proxy.admin.serving import serving
from tests.proxy.admin.test_shapes import unknown_members
from tests.store.test_conversation_reader import CALLS


async def test_conversations_are_listed_and_shown(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(CALLS)
    async with serving(create_admin_app(tmp_path)) as ask:
        first = ConversationPage.model_validate_json((await ask("/admin/api/conversations?limit=2")).body)
        rest = (await ask(f"/admin/api/conversations?cursor={first.next_cursor}")).json
        tree = first.data[1]
        whole = Conversation.model_validate_json((await ask(f"/admin/api/conversations/{tree.id}")).body)
        one = (await ask("/admin/api/conversations?where=requested_model%20%3D%20n")).json
        traces = (await ask(f"/admin/api/traces?where=conversation%20%3D%20{tree.id}%20and%20is_leaf")).json
    assert unknown_members(first) == unknown_members(whole) == []
    assert [each.calls for each in first.data] == [2, 5]
    assert [each["calls"] for each in rest["data"]] == [1]
    assert rest["next_cursor"] is None
    assert [(member.turn, member.choice) for member in whole.members] == [(1, None), (1, None), (2, 0), (2, 0), (3, 1)]
    assert whole.members[4].parent == whole.members[3].id
    assert [each["id"] for each in one["data"]] == [tree.id]
    assert len(traces["data"]) == 3


async def test_what_is_not_there_is_empty_or_not_found(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path)) as ask:
        empty = await ask("/admin/api/conversations")
        missing = await ask("/admin/api/conversations/" + "00" * 20)
    assert empty.json == {"data": [], "next_cursor": None, "is_settled": True}
    assert (missing.status, missing.json["error"]["code"]) == (404, "not_found")


async def test_a_wrong_cursor_is_refused(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(CALLS)
    async with serving(create_admin_app(tmp_path)) as ask:
        answer = await ask("/admin/api/conversations?cursor=AAAA")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_cursor")
