"""Databases of released schemas, as they were written then, read by today's code."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from store.conversation_settling import ConversationSettling
from store.database import TRACES, open_reader, open_writer
from store.errors import OlderSchemaError
from store.filter_labels import LabelChore
from store.json_text import dumps
from store.price import PriceBook
from store.trace import DeadLetter, Flag, JournalPosition, Outcome, Reply, Trace
from store.trace_feed import TraceFeed
from store.traces import TraceReader, TraceWriter
from store.usage_chore import UsageChore
from tests.store.traces import make_trace

RELEASED = Path(__file__).parent / "released"
LETTERS = [DeadLetter("torn", "half\0 an entry", b"\x00\xff" * 40, UUID(int=900)), DeadLetter("bad_crc", "x", b"")]
POSITIONS = [JournalPosition("w1", 3, 4096), JournalPosition("w2", 1, 0)]
IMAGE = dumps({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:," + "iVBORw0K" * 2100}}]})


def turn(number: int) -> bytes:
    return dumps({"role": "user", "content": f"Question {number}, \0 and \ud800?"})


def answer(number: int) -> bytes:
    return dumps({"role": "assistant", "content": f"Answer {number}. " * 9, "refusal": None})


def traces_of_all_kinds() -> list[Trace]:
    """Make the traces of the files in `released/`, each written in this order by the version that it is named for."""
    history = [dumps({"role": "system", "content": "Be brief. " * 30})]
    traces = []
    for number in range(4):
        history.append(turn(number))
        replies = (Reply(0, answer(number), "stop"),)
        traces.append(make_trace(number + 1, messages=tuple(history), replies=replies, usage=b'{"prompt_tokens":1.0}'))
        history.append(answer(number))
    again = (Reply(0, answer(50), "length", b'{"content":[]}'), Reply(1, answer(51)))
    traces.append(make_trace(5, messages=traces[0].messages, replies=again, tags={"team": "a", "b\0": "\ud800"}))
    traces.append(
        make_trace(
            60,
            messages=(IMAGE,),
            replies=(Reply(0, IMAGE, "stop"),),
            tools=b'[{"type":"function"}]',
            response_format=b'{"type":"json_object"}',
            parameters=b'{"temperature":1.0,"seed":12345678901234567890}',
            metadata=b'{"a":1,"a":2}',
            requested_model="m",
            served_model="m-1",
            status=200,
            is_streaming=True,
            prompt_tokens=7,
            completion_tokens=8,
            ttft_ms=1.5,
            duration_ms=2.5,
            upstream_id="chatcmpl-1",
            request_id="req_1",
            system_fingerprint="fp",
            session="s",
            user="ü",
            key_fingerprint="k",
            request_bytes=10,
            response_bytes=20,
        )
    )
    # Stored last and the earliest of all: a call that took long.
    failed = make_trace(0, outcome=Outcome.UPSTREAM_ERROR, status=500, error="no", flags=frozenset({Flag.NO_USAGE}))
    return [*traces, make_trace(70, endpoint=None, path="/v1/embeddings"), failed]


async def catch_up(writer: TraceWriter) -> None:
    """Do what is left to do for traces of an earlier version."""
    for chore in (ConversationSettling(), LabelChore(), UsageChore(PriceBook())):
        while (await writer.perform(chore)).has_more:
            pass


@pytest.fixture(params=sorted(RELEASED.glob("traces-*.sql")), ids=lambda path: path.stem)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "traces.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(request.param.read_text("utf-8"))
        database.execute("PRAGMA journal_mode = WAL")
    return path


def test_each_version_but_todays_is_kept(released: Path) -> None:
    with closing(sqlite3.connect(released)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] < TRACES.version
        assert database.execute("PRAGMA application_id").fetchone()[0] == TRACES.application_id
    assert len(list(RELEASED.glob("traces-*.sql"))) == TRACES.version - 1


async def test_everything_in_an_older_database_is_there_after_its_migration(released: Path) -> None:
    with pytest.raises(OlderSchemaError):
        await open_reader(released, TRACES)
    await (await open_writer(released, TRACES)).close()
    expected = traces_of_all_kinds()
    async with await TraceFeed.open(released) as reader:
        assert [fed.trace for fed in await reader.after(0, 100)] == expected
        in_time = sorted(expected, key=lambda trace: (trace.created_at, trace.id))
        assert [trace async for trace in reader.traces()] == in_time
        assert [letter async for letter in reader.dead_letters()] == LETTERS
        assert [summary.id for summary in (await reader.page()).summaries] == [trace.id for trace in in_time[::-1]]
    async with await TraceWriter.open(released) as writer:
        assert await writer.positions() == POSITIONS


async def test_a_migrated_database_is_the_one_that_today_would_write(released: Path, tmp_path: Path) -> None:
    """Ids and numbers too: a row that only looks the same would be stored a second time, or be taken for another."""
    async with await TraceWriter.open(released) as writer:
        await catch_up(writer)
    async with await TraceWriter.open(tmp_path / "fresh.db") as writer:
        await writer.write(traces_of_all_kinds(), LETTERS, POSITIONS)
        await catch_up(writer)
    with closing(sqlite3.connect(released)) as old, closing(sqlite3.connect(tmp_path / "fresh.db")) as fresh:
        tables = [row[0] for row in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        assert tables == [
            row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        ]
        for table in tables:
            columns = [row[1] for row in fresh.execute(f"PRAGMA table_info({table})")]
            query = f"SELECT * FROM {table} ORDER BY {', '.join(columns)}"  # noqa: S608 - names of our own tables
            assert old.execute(query).fetchall() == fresh.execute(query).fetchall(), table
        assert old.execute("PRAGMA foreign_key_check").fetchall() == []
        assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_migrated_database_goes_on_where_it_was(released: Path) -> None:
    traces = traces_of_all_kinds()
    history = (*traces[3].messages, traces[3].replies[0].message, turn(4))
    following = make_trace(100, messages=history, replies=(Reply(0, answer(4), "stop"),))
    async with await TraceWriter.open(released) as writer, await TraceReader.open(released) as reader:
        before = await reader.stats()
        assert await writer.write([*traces, following]) == (1, len(traces), 0, 0)
        after = await reader.stats()
        found = await reader.trace(following.id)
    assert found == following
    assert (after.nodes, after.blobs, after.traces) == (before.nodes + 2, before.blobs, before.traces + 1)
