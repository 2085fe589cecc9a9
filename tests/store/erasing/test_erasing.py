"""Erasing on demand: what is asked for goes, what others hold stays, and nothing of it comes back."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from store.change import find_change
from store.conversation_lookup import conversation_of_trace, id_of_conversation
from store.erasing.preview import preview
from store.erasing.selector import Selector, SelectorKind
from store.erasing.under_way import erasures_under_way
from store.erasing.work_erasing import WorkErasing
from store.filter_fields import FIELDS, ID, OUTCOME, TEXT, TIME, TRUTH
from store.search_index import SearchChore
from store.trace import DeadLetter
from store.traces import TraceReader, TraceWriter
from store.work import WorkStore
from tests.store.erasing.store import asked, chat, do, erase, erasing, faults, ids, rows, sizes

VALUES = {TIME: "2026-01-01", OUTCOME: "completed", ID: str(UUID(int=1)), TRUTH: "true"}


async def test_an_erased_trace_goes_with_all_that_only_it_held(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    kept = chat(1, "kept", "reply", tags={"a": "b"}, usage=b"{}", metadata=b'{"x":1}', tools=b'[{"shared":1}]')
    gone = chat(
        2, "canary one", "canary two " * 2000,
        tags={"canary": "three"}, usage=b'{"canary":4}',
        metadata=b'{"canary":5}', tools=b'[{"shared":1}]', error="canary six", user="canary seven",
        session="canary eight",
    )  # fmt: skip
    async with await TraceWriter.open(path) as writer:
        await writer.write([kept])
        before = sizes(path)
        letter = DeadLetter("unstorable", "x", b"canary nine", gone.id)
        await writer.write([gone], [letter])
        await do(writer, SearchChore())
        assert any(b"canary" in file.read_bytes() for file in tmp_path.iterdir())
        record = await erase(writer, "traces", str(gone.id))
        assert record.result["traces"] == 1
        assert record.result["dead_letters"] == 1
        assert record.finished_at is not None
        after = sizes(path)
        assert {name: count for name, count in after.items() if count != before[name]} == {
            "changes": 1,
            "forgotten_traces": 1,
        }
        for file in tmp_path.iterdir():
            assert b"canary" not in file.read_bytes(), file
        assert faults(path) == []
        async with await TraceReader.open(path) as reader:
            assert await reader.trace(kept.id) == kept


async def test_what_other_traces_hold_stays_until_the_last_of_them_goes(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    long = "shared words " * 2000
    traces = [chat(n, "canary first", long, f"question {n}", f"answer {n}", user=f"u{n}") for n in (1, 2, 3)]
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
        for trace in traces[:2]:
            await erase(writer, "traces", str(trace.id))
            assert faults(path) == []
        async with await TraceReader.open(path) as reader:
            assert await reader.trace(traces[2].id) == traces[2]
            assert await reader.trace(traces[0].id) is None
        await erase(writer, "user", "u3")
        assert {table: sizes(path)[table] for table in ("nodes", "blobs", "traces", "node_blobs")} == {
            "nodes": 0, "blobs": 0, "traces": 0, "node_blobs": 0,
        }  # fmt: skip
        assert rows(path, "SELECT * FROM totals") == [(0, 0, 0)]


async def test_by_session_user_and_filter_the_named_go_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    traces = [
        chat(n, f"q{n}", f"a{n}", session=f"s{n % 3}", user=f"u{n % 5}", route=f"r{n % 2}") for n in range(1, 200)
    ]
    left = {trace.id for trace in traces}
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
        for kind, value, matches in (
            ("session", "s1", lambda n: n % 3 == 1),
            ("user", "u2", lambda n: n % 5 == 2),
            ("where", "route = r1 and user = u3", lambda n: n % 5 == 3 and n % 2 == 1),
        ):
            expected = {UUID(int=n) for n in range(1, 200) if matches(n)} & left
            record = await erase(writer, kind, value)
            left -= expected
            assert record.result["traces"] == len(expected) > 0
            assert record.result["by"] == kind
            assert await ids(path) == left
            assert faults(path) == []


async def test_by_what_was_said_the_named_go_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    traces = [chat(n, f"q{n} {'apple' if n % 3 else 'pear'}", f"a{n}", route=f"r{n % 2}") for n in range(1, 100)]
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces)
        await do(writer, SearchChore())
        expected = {UUID(int=n) for n in range(1, 100) if n % 3 == 0 and n % 2}
        selector = Selector(SelectorKind.WHERE, "text ~ pear and route = r1")
        async with await TraceReader.open(path) as reader:
            assert (await reader.look(lambda db: preview(db, tmp_path, selector))).traces == len(expected)
        record = await erase(writer, "where", selector.value)
        assert record.result["traces"] == len(expected)
        assert await ids(path) == {trace.id for trace in traces} - expected
        assert faults(path) == []


async def test_what_was_said_is_found_also_where_it_is_not_indexed_yet(tmp_path: Path) -> None:
    """Only what the index held at that moment went, and the erasure called itself done."""
    path = tmp_path / "traces.db"
    change = asked(Selector(SelectorKind.WHERE, "text ~ pear"))
    search, chore = SearchChore(part_nodes=50), erasing(tmp_path)
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(n, f"q{n} {'apple' if n % 3 else 'pear'}", f"a{n}") for n in range(1, 200)])
        await writer.write(changes=[change])
        for _ in range(20):
            await writer.perform(chore)
        assert len(await ids(path)) == 199, "it waits for the index"
        await writer.perform(search)
        # In flight when it was asked for; the chores take turns from here on.
        await writer.write([chat(n, f"late {n} {'apple' if n % 2 else 'pear'}", f"b{n}") for n in range(300, 310)])
        await do(writer, search, chore)
        left = {UUID(int=n) for n in range(1, 200) if n % 3} | {UUID(int=n) for n in range(301, 310, 2)}
        assert await ids(path) == left
        assert rows(path, "SELECT count(*) FROM erasures") == [(0,)]
        assert faults(path) == []


async def test_many_traces_found_by_what_was_said_go_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(n, f"q{n} {'apple' if n % 3 else 'pear'}", f"a{n}") for n in range(1, 3300)])
        await do(writer, SearchChore())
        record = await erase(writer, "where", "text ~ apple")
        assert record.result["traces"] == sum(1 for n in range(1, 3300) if n % 3)
        assert await ids(path) == {UUID(int=n) for n in range(1, 3300) if n % 3 == 0}


@pytest.mark.parametrize("field", [name for name in [*FIELDS, "tag.a", "metadata.a", "feedback.a"] if name != "text"])
async def test_whatever_a_filter_asks_for_the_erasure_ends(tmp_path: Path, field: str) -> None:
    """One that cannot be carried out would hold up all that are asked for after it."""
    path = tmp_path / "traces.db"
    kind = FIELDS[field].kind if field in FIELDS else TEXT
    where = (
        f"{field} != null" if kind.null else f"{field} = {VALUES.get(kind, '1' if 'number' in kind.expects else 'a')}"
    )
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(1, "q", "a", tags={"a": "b"}, metadata=b'{"a":"b"}', user="jane")])
        record = await erase(writer, "where", where)
        assert record.finished_at is not None
        assert "error" not in record.result
        assert faults(path) == []


async def test_without_an_index_what_was_said_selects_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(1, "apple", "a", user="jane")])
        await writer.perform(SearchChore(is_on=False))
        refused = asked(Selector(SelectorKind.WHERE, "text ~ apple"))
        await writer.write(changes=[refused])
        async with await TraceReader.open(path) as reader:
            told = await reader.look(lambda db: find_change(db, refused.id))
        assert told is not None
        assert "not indexed" in str(told.result)
        other = asked(Selector(SelectorKind.USER, "jane"))
        await writer.write(changes=[other])
        await do(writer, SearchChore(is_on=False), erasing(tmp_path))
        assert await ids(path) == set()


async def test_the_audit_log_names_no_one(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(1, "q", "a", user="Jane Canary", session="canary session")])
        await erase(writer, "user", "Jane Canary")
        await erase(writer, "session", "canary session")
        await erase(writer, "where", 'user = "Jane Canary"')
    for file in tmp_path.iterdir():
        assert b"anary" not in file.read_bytes(), file


async def test_what_was_erased_is_never_stored_again(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(1, "q", "a", user="jane")])
        await erase(writer, "traces", f"{UUID(int=1)} {UUID(int=2)}")
        late = [chat(1, "q", "a"), chat(2, "in flight", "a"), chat(3, "another", "a")]
        counts = await writer.write(late, [DeadLetter("unstorable", "x", b"y", UUID(int=2))])
        assert (counts.traces, counts.forgotten, counts.dead_letters) == (1, 3, 0)
        await erase(writer, "user", "jane")
        counts = await writer.write([chat(4, "of jane", "a", user="jane"), chat(5, "of joe", "a", user="joe")])
        assert (counts.traces, counts.forgotten) == (1, 1)
        assert await ids(path) == {UUID(int=3), UUID(int=5)}
        # Its id is remembered, whoever it is said to be of later.
        assert (await writer.write([chat(4, "q", "a")])).forgotten == 1


async def test_who_was_erased_may_come_back(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        record = await erase(writer, "user", "jane")
        later = chat(1, "q", "a", user="jane", created_at=record.asked_at.replace(year=record.asked_at.year + 1))
        assert (await writer.write([later])).traces == 1


async def test_a_change_that_names_nothing_is_noted_and_changes_nothing(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([chat(1, "q", "a")])
        for selector in (
            Selector(SelectorKind.WHERE, "canary ="),
            Selector(SelectorKind.TRACES, "canary"),
            Selector(SelectorKind.USER, ""),
        ):
            change = asked(selector)
            await writer.write(changes=[change])
        async with await TraceReader.open(writer.path) as reader:
            assert await reader.look(erasures_under_way) == []
        errors = rows(writer.path, "SELECT CAST(result AS TEXT) FROM changes")
        assert all('"error"' in text and "canary" not in text for (text,) in errors)
        assert await ids(writer.path) == {UUID(int=1)}


async def test_any_half_of_any_store_goes_and_the_other_half_is_as_if_it_had_been_alone(tmp_path: Path) -> None:
    """Messages, values and sums are those of a store that never held what was erased."""
    chance = random.Random(7)
    texts = ["one", "two", "three", "long " * 4000]
    traces = [
        chat(
            number, *chance.choices(texts, k=chance.choice((2, 4, 6))), user=chance.choice("abc"),
            tools=chance.choice((None, b"[1]", b"[2]")), error=chance.choice((None, "e1", "e2")),
            metadata=chance.choice((None, b'{"m":1}')),
        )
        for number in range(1, 120)
    ]  # fmt: skip
    path, alone = tmp_path / "traces.db", tmp_path / "alone" / "traces.db"
    async with await TraceWriter.open(path) as writer, await TraceWriter.open(alone) as other:
        await writer.write(traces)
        for user in "ab":
            await erase(writer, "user", user)
            assert faults(path) == []
            # What comes in afterwards takes numbers that were given out before.
            more = [chat(200 + ord(user) * 10 + n, *chance.choices(texts, k=2), user="c") for n in range(5)]
            await writer.write(more)
            traces += more
        left = [trace for trace in traces if trace.user == "c"]
        await other.write(left)
        for table in ("nodes", "blobs", "node_blobs", "totals", "replies"):
            assert sizes(path)[table] == sizes(alone)[table], table
        assert rows(path, "SELECT * FROM totals") == rows(alone, "SELECT * FROM totals")
        async with await TraceReader.open(path) as reader:
            assert [trace async for trace in reader.traces()] == sorted(left, key=lambda t: (t.created_at, t.id.bytes))


async def test_a_conversation_goes_as_a_whole_and_its_neighbour_stays(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    turns = ["canary one", "answer", "canary two", "answer two"]
    mine = [chat(1, *turns[:2]), chat(2, *turns[:4]), chat(3, *turns, "canary three", "answer three")]
    other = chat(4, "another", "answer")
    async with await TraceWriter.open(path) as writer:
        await writer.write([*mine, other])
        async with await TraceReader.open(path) as reader:
            id_ = await reader.look(lambda db: id_of_conversation(db, conversation_of_trace(db, 2) or 0))
        record = await erase(writer, "conversation", id_.hex())
        assert (record.result["by"], record.result["traces"]) == ("conversation", 3)
        assert await ids(path) == {other.id}
        assert faults(path) == []
        record = await erase(writer, "conversation", id_.hex())
        assert record.finished_at is not None
        assert record.result["traces"] == 0
    for file in tmp_path.iterdir():
        assert b"canary" not in file.read_bytes(), file


async def test_a_working_memory_that_somebody_has_to_himself_is_waited_for(tmp_path: Path) -> None:
    """Whoever opens or closes it last has it so for a moment; the erasure was called failed, and left for a minute."""
    async with await WorkStore.open(tmp_path / "work.db"):
        pass
    async with await TraceWriter.open(tmp_path / "traces.db"):
        pass
    erasing = WorkErasing(tmp_path)
    with closing(sqlite3.connect(tmp_path / "traces.db")) as traces:
        with closing(sqlite3.connect(tmp_path / "work.db", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            assert erasing.step(traces, 0) is None
        assert erasing.step(traces, 0) is not None
