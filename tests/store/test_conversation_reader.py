"""Conversations are listed by their newest call, told in sums, and shown as the tree that they are."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from store.conversation_reader import list_conversations, show_conversation
from store.conversation_settling import ConversationSettling, stitch_again
from store.conversation_summary import ConversationPage
from store.errors import CursorError, FilterError
from store.filter import parse_filter
from store.search_index import SearchChore
from store.trace import Outcome
from store.traces import TraceReader, TraceWriter
from tests.store.test_conversation_follower import call
from tests.store.traces import STARTED_AT, make_trace

CALLS = [
    call(1, 0, ["S", "U"], "A", prompt_tokens=10, completion_tokens=1, requested_model="m"),
    call(2, 1, ["S", "U"], "B", prompt_tokens=10, requested_model="n"),
    call(3, 2, ["S", "U", "A", "U2"], "C"),
    call(4, 3, ["S", "U", "A", "U3"], "D", "E", outcome=Outcome.UPSTREAM_ERROR),
    call(5, 4, ["S", "U", "A", "U3", "E", "U4"], "F"),
    call(6, 5, ["Uother"], "A", session="s"),
    call(7, 6, ["Uelse"], "A", session="s"),
    call(8, 1.5, ["Ulone"]),
    make_trace(9, endpoint=None, path="/v1/embeddings"),
]


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[TraceReader]:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(CALLS)
    async with await TraceReader.open(tmp_path / "traces.db") as opened:
        yield opened


async def listed(reader: TraceReader, where: str = "", cursor: str | None = None, limit: int = 50) -> ConversationPage:
    selection = parse_filter(where) if where else None
    return await reader.look(partial(list_conversations, where=selection, cursor=cursor, limit=limit))


async def selected(reader: TraceReader, where: str) -> list[int]:
    return sorted(summary.id.int for summary in (await reader.page(parse_filter(where))).summaries)


async def test_a_list_sums_up_each_conversation_the_newest_first(reader: TraceReader) -> None:
    page = await listed(reader)
    session, tree, lone = page.conversations
    assert (session.session, session.calls, session.turns, session.leaves) == ("s", 2, 1, 2)
    assert (tree.calls, tree.turns, tree.leaves, tree.is_truncated, tree.is_whole) == (5, 3, 3, False, True)
    assert (tree.prompt_tokens, tree.completion_tokens, tree.cost_usd) == (20, 1, None)
    assert tree.models == ("m", "n", None)
    assert tree.outcomes == {"completed": 4, "upstream_error": 1}
    assert (tree.first_at, tree.last_at) == (STARTED_AT, STARTED_AT + timedelta(seconds=4))
    assert (lone.calls, lone.prompt_tokens) == (1, None)
    assert (page.next_cursor, page.is_settled) == (None, True)


@pytest.mark.parametrize("where", ["", "created_at >= 2020-01-01", "turn >= 1"])
async def test_pages_hold_each_conversation_once(reader: TraceReader, where: str) -> None:
    found: list[str] = []
    cursor = None
    for _ in range(10):
        page = await listed(reader, where, cursor, limit=1)
        found += [each.id for each in page.conversations]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert cursor is None
    assert found == [each.id for each in (await listed(reader)).conversations]


@pytest.mark.parametrize(
    ("where", "calls"),
    [("requested_model = n", [5]), ("session = s", [2]), ("message_count <= 2", [2, 1, 5]), ("status = 999", [])],
)
async def test_a_filter_selects_conversations_by_any_of_their_calls(
    reader: TraceReader, where: str, calls: list[int]
) -> None:
    assert [each.calls for each in (await listed(reader, where)).conversations] == calls


async def test_a_conversation_is_shown_as_a_tree_page_by_page(reader: TraceReader) -> None:
    name = (await listed(reader)).conversations[1].id
    members = []
    cursor = None
    while True:
        shown = await reader.look(partial(show_conversation, id_=name, cursor=cursor, limit=2))
        assert shown is not None
        members += shown.members
        cursor = shown.next_cursor
        if cursor is None:
            break
    assert [(each.id.int, each.parent and each.parent.int, each.choice, each.turn) for each in members] == [
        (1, None, None, 1),
        (2, None, None, 1),
        (3, 1, 0, 2),
        (4, 1, 0, 2),
        (5, 4, 1, 3),
    ]
    assert [each.id.int for each in members if each.is_leaf] == [2, 3, 5]
    assert [each.id.int for each in members if each.is_regenerated] == [1, 2]
    assert [each.id.int for each in members if each.is_edited] == [3, 4]
    assert not any(each.is_truncated for each in members)


@pytest.mark.parametrize("id_", ["", "00" * 20, "zz" * 20, "0" * 39])
async def test_an_id_of_nothing_finds_nothing(reader: TraceReader, id_: str) -> None:
    assert await reader.look(partial(show_conversation, id_=id_)) is None


async def test_a_cursor_of_something_else_is_refused(reader: TraceReader) -> None:
    name = (await listed(reader)).conversations[0].id
    with pytest.raises(CursorError):
        await reader.look(partial(show_conversation, id_=name, cursor="AAAA"))
    with pytest.raises(CursorError):
        await listed(reader, cursor="AAAA")


async def test_traces_are_selected_by_their_conversation_turn_and_place(reader: TraceReader) -> None:
    session, tree, _ = (await listed(reader)).conversations
    assert await selected(reader, f"conversation = {tree.id}") == [1, 2, 3, 4, 5]
    assert await selected(reader, f"conversation = {tree.id.upper()} and is_leaf") == [2, 3, 5]
    assert await selected(reader, f"conversation in ({tree.id}, {session.id}) and turn = 1") == [1, 2, 6, 7]
    assert await selected(reader, f"conversation != {tree.id}") == [6, 7, 8, 9]
    assert await selected(reader, "conversation = null") == [9]
    assert await selected(reader, "turn = null") == [9]
    assert await selected(reader, "turn > 1 and not is_leaf") == [4]
    with pytest.raises(FilterError):
        parse_filter("conversation = 12")


async def test_an_inner_request_names_the_conversation_too(reader: TraceReader, tmp_path: Path) -> None:
    tree = (await listed(reader)).conversations[1]
    with sqlite3.connect(tmp_path / "traces.db") as database:
        [(key,)] = database.execute(
            "SELECT n.stitch_key FROM traces t JOIN nodes n ON n.number = t.request_node WHERE t.id = ?",
            (UUID(int=5).bytes,),
        )
    shown = await reader.look(partial(show_conversation, id_=key.hex()))
    assert shown is not None
    assert shown.summary.id == tree.id != key.hex()


async def test_a_list_says_that_calls_are_still_to_be_stitched(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write(CALLS)
        before = await listed(reader)
        with sqlite3.connect(path) as database:
            stitch_again(database)
        unsettled = await listed(reader)
        assert (unsettled.conversations, unsettled.is_settled) == ([], False)
        settling = ConversationSettling()
        while (await writer.perform(settling)).has_more:
            pass
        assert await listed(reader) == before


async def test_texts_that_are_searched_select_conversations_once(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write(CALLS)
        search = SearchChore()
        while (await writer.perform(search)).has_more:
            pass
    async with await TraceReader.open(path) as reader:
        everything = await listed(reader)
        tree = everything.conversations[1]
        assert [each.id for each in (await listed(reader, "text ~ U2 or text ~ U3")).conversations] == [tree.id]
        found: list[str] = []
        cursor = None
        for _ in range(12):
            page = await listed(reader, "text ~ A", cursor, limit=1)
            found += [each.id for each in page.conversations]
            if (cursor := page.next_cursor) is None:
                break
        assert cursor is None
        assert found == [each.id for each in everything.conversations[:2]]
