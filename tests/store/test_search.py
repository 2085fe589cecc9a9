"""Full-text search: what is found, how it keeps up, and that it forgets."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.database import TRACES
from store.erasing.erasure import Erasing
from store.erasing.selector import Selector, SelectorKind
from store.erasing.under_way import erasures_under_way
from store.errors import FilterError
from store.filter import parse_filter
from store.fresh_messages import FreshMessages
from store.json_text import dumps
from store.search_check import check_search
from store.search_index import SearchChore, erase_nodes, search_state
from store.search_query import SearchQueryError, phrase_query, words_query
from store.search_text import MOST_CHARACTERS, indexed_text, message_text, snippet
from store.trace import Reply, Trace
from store.traces import TraceReader, TraceWriter
from tests.store.erasing.store import asked, do, erasing
from tests.store.traces import make_trace


def says(text: object) -> bytes:
    return dumps({"role": "user", "content": text})


def said(number: int, *texts: str, reply: str | None = None, user: str | None = None) -> Trace:
    """Make a trace of a request that says these texts, and what was answered."""
    replies = () if reply is None else (Reply(0, dumps({"role": "assistant", "content": reply}), "stop"),)
    return make_trace(number, messages=tuple(map(says, texts)), replies=replies, user=user)


async def index(writer: TraceWriter, chore: SearchChore | None = None) -> None:
    chore = chore or SearchChore()
    while (await writer.perform(chore)).has_more:
        pass


async def find(path: Path, expression: str) -> list[int]:
    async with await TraceReader.open(path) as reader:
        return [trace.id.int async for trace in reader.traces(parse_filter(expression))]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("text ~ refund", [1, 2]),
        ("text ~ REFUND", [1, 2]),
        ("text ~ 'refund week'", [1, 2]),
        ("text ~ 'week refund'", [1, 2]),
        ("text contains 'next week'", [1, 2]),
        ("text contains 'week next'", []),
        ("""text ~ 'refund "next week"'""", [1, 2]),
        ("""text ~ 'refund "week next"'""", []),
        ("text ~ refu", []),
        ("text ~ refu*", [1, 2]),
        ("text ~ cafe", [3]),
        ("text ~ café", [3]),
        ("text ~ CAFÉ", [3]),
        ("text ~ 退款", [4]),
        ("text ~ 款项", []),
        ("text contains 我要退款", [4]),
        ("text ~ 환불", [4]),
        ("text ~ 'ราคา'", [4]),
        ("text ~ granted", [2]),
        ("text ~ refund and text ~ granted", [2]),
        ("text ~ 'refund granted'", []),
        ("not text ~ refund", [3, 4, 5]),
        ("text ~ refund or text ~ cafe", [1, 2, 3]),
        ("text ~ lookup_order", [5]),
        ("text ~ A-17", [5]),
        ("text contains 'order A-17'", [5]),
        ("text ~ shipped", [5]),
        ("text ~ iVBORw0KGgo", []),
        ("text ~ zebra", []),
    ],
)
async def test_words_find_the_traces_that_hold_them(tmp_path: Path, expression: str, expected: list[int]) -> None:
    path = tmp_path / "traces.db"
    call = {"id": "1", "type": "function", "function": {"name": "lookup_order", "arguments": '{"id":"order\\nA-17"}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo"}}
    traces = [
        said(1, "I want a Refund, next   week."),
        said(2, "I want a Refund, next   week.", reply="It is granted"),
        said(3, "Le café est fermé"),
        said(4, "我要退款。환불해 주세요 ราคาเท่าไหร่"),
        make_trace(
            5,
            messages=(
                says([{"type": "text", "text": "look"}, image]),
                dumps({"role": "assistant", "content": None, "tool_calls": [call]}),
                dumps({"role": "tool", "tool_call_id": "1", "content": "has been shipped"}),
            ),
        ),
    ]
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
        await index(writer)
    assert await find(path, expression) == expected


async def test_a_text_is_indexed_once_however_many_traces_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    history = [f"turn {n} apple" for n in range(30)]
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(n, *history[: n + 1]) for n in range(30)])
        await index(writer)
    with closing(sqlite3.connect(path)) as database:
        table = database.execute("SELECT 'search_words_' || number FROM search_parts").fetchone()[0]
        [(matches,)] = database.execute(f"SELECT count(*) FROM {table} WHERE {table} MATCH 'apple'").fetchall()  # noqa: S608
    assert matches == 30
    assert await find(path, "text ~ 'turn 29'") == [29]
    assert await find(path, "text ~ 'turn 3'") == list(range(3, 30))


async def test_a_page_tells_what_was_found_and_how_far_the_index_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    hostile = "<script>alert(1)</script> " * 20 + "the refund\n\tof <b>today</b>" + " and so on" * 50
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(1, hostile)])
        await index(writer)
        await writer.write([said(2, "another refund", "third")])
        async with await TraceReader.open(path) as reader:
            page = await reader.page(parse_filter("text ~ refund"))
            plain = await reader.page(parse_filter("not stream"))
        await index(writer)
        async with await TraceReader.open(path) as reader:
            later = await reader.page(parse_filter("text ~ refund"))
    assert [summary.id.int for summary in page.summaries] == [1]
    assert page.search_behind == 2
    [shown] = page.snippets.values()
    assert "the refund of <b>today</b> and so on" in shown
    assert len(shown) < 200
    assert (plain.search_behind, dict(plain.snippets)) == (None, {})
    assert ([summary.id.int for summary in later.summaries], later.search_behind) == ([2, 1], 0)


HOSTILE = [
    '"',
    '""',
    "*",
    "a*b",
    "AND",
    "a AND",
    "NOT b",
    "NEAR(a b)",
    "a:b",
    "^a",
    "-a",
    "{a}: b",
    "(a",
    "a'",
    "\\",
    "\0a",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("operator", ["~", "contains"])
async def test_whatever_is_looked_for_is_words_and_never_syntax(tmp_path: Path, text: str, operator: str) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(1, f"so: {text}"), said(2, "nothing")])
        await index(writer)
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if any(character.isalnum() for character in text):
        assert await find(path, f"text {operator} {quoted}") == [1]
        return
    with pytest.raises(FilterError, match="no word"):
        parse_filter(f"text {operator} {quoted}")


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_any_text_is_a_query_that_the_index_takes_or_a_clear_error(text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2')")
        database.execute("INSERT INTO words (text) VALUES (?)", (indexed_text(says(text)),))
        for make in (words_query, phrase_query):
            try:
                query = make(text)
            except SearchQueryError:
                continue
            database.execute("SELECT rowid FROM words WHERE words MATCH ?", (query.expression,)).fetchall()


@pytest.mark.parametrize("text", ["", "!!!", "a " * 40, "x" * 1001])
def test_a_query_without_words_or_too_long_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(FilterError, match="text cannot be searched") as caught:
        parse_filter(f"complete and text ~ '{text}'")
    assert caught.value.position == 21


@pytest.mark.parametrize(
    "message", [b"[]", b"1", b'{"content":5}', b'{"tool_calls":[1,{"function":3}]}', b'{"content":[{"type":"text"}]}']
)
def test_a_message_that_is_none_has_no_text(message: bytes) -> None:
    assert message_text(message) == ""


def test_long_runs_and_what_comes_behind_the_bound_are_left_out() -> None:
    assert message_text(says("key " + "QUJD" * 100 + " end")).split() == ["key", "end"]
    assert len(message_text(says("word " * MOST_CHARACTERS))) <= MOST_CHARACTERS
    assert (
        message_text(says([{"type": "text", "text": "a " * MOST_CHARACTERS}, {"type": "text", "text": "b"}]))[-1] != "b"
    )


def test_a_snippet_is_a_stretch_around_the_word() -> None:
    text = "first " * 100 + "ein Café\nhier" + " last" * 100
    shown = snippet(text, ("cafe",))
    assert shown.startswith("… first")
    assert "ein Café hier last" in shown
    assert shown.endswith(" …")
    assert snippet("short", ("missing",)) == "short"
    assert snippet("我要退款项目", ("退款",)) == "我要退款项目"


async def test_a_long_text_that_was_cut_out_of_its_message_is_found(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(1, "word " * 10_000 + "needle")])
        await index(writer)
    assert await find(path, "text ~ needle") == [1]
    assert await find(path, "text ~ 'word needle'") == [1]


def rows(path: Path) -> list[tuple[int, int, int, str]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(
            "SELECT number, first_node, indexed_node, state FROM search_parts ORDER BY 2"
        ).fetchall()


def held_in(path: Path, text: str) -> bool:
    """Look for a text in every file of the store."""
    return any(text.encode() in file.read_bytes() for file in path.parent.iterdir() if file.is_file())


SECRETS = [f"secretword{n:03}" for n in range(40)]


@pytest.mark.parametrize(
    "erased", [range(10, 20), range(30, 40), range(40), range(5, 6), range(39, 40), range(0, 40, 3)]
)
async def test_of_an_erased_message_no_word_stays_in_any_file(tmp_path: Path, erased: range) -> None:
    """Deleted from an index, a word stays in its pages until all of them are merged: FTS5 only notes the deletion."""
    path = tmp_path / "traces.db"
    fresh = FreshMessages()
    search = SearchChore(part_nodes=16, fresh=fresh)
    async with await TraceWriter.open(path, fresh=fresh) as writer:
        await writer.write(
            [said(n, f"{SECRETS[n]} kept{n} shared", user="gone" if n in erased else None) for n in range(40)]
        )
        await index(writer, search)
        assert held_in(path, "ecretword")
        eraser = await begin_erasing(writer, "gone")
        for n in range(40):
            assert await find(path, f"text ~ {SECRETS[n]}") == ([] if n in erased else [n])
        async with await TraceReader.open(path) as reader:
            assert len(await reader.look(erasures_under_way)) == 1
        await do(writer, search, eraser)
        async with await TraceReader.open(path) as reader:
            assert await reader.look(search_state) == (True, 0, 0)
            assert await reader.look(erasures_under_way) == []
        assert [n for n in erased if held_in(path, SECRETS[n]) or held_in(path, f"kept{n} ")] == []
        for n in range(40):
            assert await find(path, f"text ~ {SECRETS[n]}") == ([] if n in erased else [n])
        assert await find(path, "text ~ shared") == [n for n in range(40) if n not in erased]
        assert {state for *_, state in rows(path)} <= {"whole", "growing"}


async def begin_erasing(writer: TraceWriter, who: str) -> Erasing:
    """Have all calls of somebody erased, but for what other chores have to do for it."""
    chore = erasing(writer.path.parent)
    await writer.write(changes=[asked(Selector(SelectorKind.USER, who))])
    await do(writer, chore)
    return chore


@pytest.mark.parametrize("fresh", [None, FreshMessages()], ids=["read back", "at hand"])
@pytest.mark.parametrize("erased", [1, 2, 3])
async def test_a_number_that_is_given_again_is_not_found_by_the_words_it_once_had(
    tmp_path: Path, erased: int, fresh: FreshMessages | None
) -> None:
    path = tmp_path / "traces.db"
    search = SearchChore(part_nodes=2, fresh=fresh)
    async with await TraceWriter.open(path, fresh=fresh) as writer:
        old = [said(n, f"old{n} apple", user="gone" if n >= 4 - erased else None) for n in range(4)]
        await writer.write(old)
        await index(writer, search)
        eraser = await begin_erasing(writer, "gone")
        kept = list(range(4 - erased))
        assert await find(path, "text ~ apple") == kept
        await writer.write([said(n, f"new{n} plum") for n in range(10, 14)])
        assert await find(path, "text ~ apple") == kept
        for _ in range(3):
            await writer.perform(search)
            assert await find(path, "text ~ apple") == kept
        await do(writer, search, eraser)
        assert await find(path, "text ~ apple") == kept
        assert await find(path, "text ~ plum") == [10, 11, 12, 13]


async def test_what_is_erased_before_it_is_indexed_is_never_indexed(tmp_path: Path) -> None:
    """It is at hand until then, in the middle of others that stay."""
    path = tmp_path / "traces.db"
    fresh = FreshMessages()
    search = SearchChore(fresh=fresh)
    async with await TraceWriter.open(path, fresh=fresh) as writer:
        await writer.write([said(0, "kept apple"), said(1, SECRETS[1], user="gone"), said(2, "kept fig")])
        eraser = await begin_erasing(writer, "gone")
        await writer.write([said(3, "kept plum"), said(4, "kept pear")])
        await do(writer, search, eraser)
        assert await find(path, "text ~ secretword*") == []
        assert await find(path, "text ~ kept") == [0, 2, 3, 4]
    assert not held_in(path, "ecretword")


@pytest.mark.parametrize("most_bytes", [1, 100, 300, 10_000])
async def test_a_message_is_found_whether_it_was_at_hand_or_read_back(tmp_path: Path, most_bytes: int) -> None:
    path = tmp_path / "traces.db"
    fresh = FreshMessages(most_bytes)
    search = SearchChore(part_nodes=7, fresh=fresh)
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(n, f"word{n} " + "long " * 4000) for n in range(5)])
    async with await TraceWriter.open(path, fresh=fresh) as writer:
        for n in range(5, 50, 5):
            await writer.write([said(m, f"word{m}", reply=f"answer{m}") for m in range(n, n + 5)])
            if n % 3 == 0:
                await writer.perform(search)
        await index(writer, search)
    assert fresh.first is None
    for n in range(50):
        assert await find(path, f"text ~ word{n}") == [n]
        assert await find(path, f"text ~ answer{n}") == ([n] if n >= 5 else [])


async def test_a_few_new_messages_wait_for_more_and_many_do_not(tmp_path: Path) -> None:
    path, chore = tmp_path / "traces.db", SearchChore(gather_s=3600)
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(1, "first")])
        await index(writer, chore)
        await writer.write([said(2, "second")])
        await index(writer, chore)
        assert (await find(path, "text ~ first"), await find(path, "text ~ second")) == ([1], [])
        await writer.write([said(number, f"word{number}") for number in range(3, 600)])
        await index(writer, chore)
        assert (await find(path, "text ~ second"), await find(path, "text ~ word599")) == ([2], [599])


async def test_erasing_again_while_a_part_is_made_anew_begins_it_once_more(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    search = SearchChore(part_nodes=16)
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(n, SECRETS[n], user={2: "late", 3: "early"}.get(n)) for n in range(40)])
        await index(writer, search)
        early = await begin_erasing(writer, "early")
        for _ in range(4):
            await writer.perform(search)
        late = await begin_erasing(writer, "late")
        await do(writer, search, early, late)
        assert [n for n in range(40) if not held_in(path, SECRETS[n])] == [2, 3]
        assert await find(path, f"text ~ {SECRETS[2]} or text ~ {SECRETS[3]} or text ~ {SECRETS[4]}") == [4]


async def test_what_was_begun_goes_on_after_the_process_was_killed(tmp_path: Path) -> None:
    """All that is left to do stands in the database: each step is done by a new chore here."""
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(n, f"word{n}") for n in range(40)])
        turn = 0
        while turn < 200 and ((await writer.perform(SearchChore(part_nodes=16))).has_more or turn < 100):
            turn += 1
    assert await find(path, "text ~ word*") == list(range(40))


async def test_switched_off_the_index_goes_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(0, SECRETS[0])])
        await index(writer)
        await index(writer, SearchChore(is_on=False))
        assert rows(path) == []
        async with await TraceReader.open(path) as reader:
            with pytest.raises(FilterError, match="search"):
                await reader.page(parse_filter(f"text ~ {SECRETS[0]}"))
        await index(writer)
    assert await find(path, f"text ~ {SECRETS[0]}") == [0]


def checked(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [found.kind.name for found in check_search(database)]


async def test_the_self_check_tells_of_what_is_not_indexed_and_not_forgotten_yet(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        assert checked(path) == ["search"]
        await writer.write([said(n, *[f"word{n} {m}" for m in range(51)], user="gone") for n in range(200)])
        assert checked(path) == ["search_behind"]
        await index(writer)
        assert checked(path) == ["search"]
        eraser = await begin_erasing(writer, "gone")
        assert checked(path) == ["search", "search_forgetting"]
        await do(writer, SearchChore(), eraser)
        assert checked(path) == ["search"]
        await index(writer, SearchChore(is_on=False))
        assert checked(path) == ["search_off"]


@given(st.integers(0, 9), st.integers(190, 210))
def test_a_run_of_two_hundred_letters_is_no_word_wherever_it_begins(before: int, letters: int) -> None:
    text = f"{' ' * before}{'x' * letters} after"
    assert ("x" in message_text(says(text))) == (letters < 200)


async def test_nothing_to_do_costs_next_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    chore = SearchChore()
    async with await TraceWriter.open(path) as writer:
        await writer.write([said(n, f"word{n}") for n in range(10)])
        await index(writer, chore)
        before = writer._connection.total_changes
        assert not (await writer.perform(chore)).has_more
        assert not (await writer.perform(chore)).has_more
        assert writer._connection.total_changes == before


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(TRACES.sql())
        yield database


def test_an_empty_database_has_nothing_behind(empty: sqlite3.Connection) -> None:
    assert search_state(empty) == (True, 0, 0)
    erase_nodes(empty, [])
    erase_nodes(empty, [1, 2])
    assert search_state(empty) == (True, 0, 0)
