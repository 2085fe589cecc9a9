import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.body import Packer, cut_long_strings, put_back, unpack
from store.errors import CursorError, StoreError, StoreFullError, UnstorableTraceError
from store.filter import parse_filter
from store.json_text import dumps
from store.trace import DeadLetter, JournalPosition, Outcome, Reply, Trace
from store.traces import TraceReader, TraceWriter
from tests.store.traces import MESSAGES, TRACES, make_trace


async def read_all(path: Path, **options: bool) -> list[Trace]:
    async with await TraceReader.open(path) as reader:
        return [trace async for trace in reader.traces(**options)]


def growing_chat(turns: int) -> list[Trace]:
    """Make the traces of a chat whose client sends the whole history with each call."""
    history = [dumps({"role": "system", "content": "You are a bank's assistant. Be brief, be kind. " * 20})]
    traces = []
    for turn in range(turns):
        history.append(dumps({"role": "user", "content": f"Question {turn}: what about account {turn * 7919}? " * 8}))
        reply = dumps({"role": "assistant", "content": f"Answer {turn}: account {turn * 7919} holds {turn}. " * 8})
        size = sum(len(message) for message in history)
        traces.append(make_trace(turn, messages=tuple(history), replies=(Reply(0, reply, "stop"),), request_bytes=size))
        history.append(reply)
    return traces


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(TRACES, max_size=4, unique_by=lambda trace: trace.id))
def test_traces_come_back_equal_and_in_order_of_time(traces: list[Trace]) -> None:
    async def round_trip() -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "traces.db"
            async with await TraceWriter.open(path) as writer:
                counts = await writer.write(traces)
            expected = sorted(traces, key=lambda trace: (trace.created_at, trace.id))
            assert counts == (len(traces), 0, 0, 0)
            assert await read_all(path) == expected
            assert await read_all(path, newest_first=True) == expected[::-1]
            async with await TraceReader.open(path) as reader:
                for trace in traces:
                    stored = await reader.trace(trace.id)
                    assert stored == trace
                    assert list(stored.tags.items()) == list(trace.tags.items())

    asyncio.run(round_trip())


async def test_five_megabyte_strings_come_back_and_are_kept_once(tmp_path: Path) -> None:
    image = dumps(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + "aZ9\n" * 1_300_000}}]}
    )
    first = make_trace(1, messages=(image,))
    second = make_trace(2, messages=(b'{"role":"system","content":"S"}', image))
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([first])
        await writer.write([second])
    assert await read_all(tmp_path / "traces.db") == [first, second]
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        stats = await reader.stats()
    assert stats.nodes == 3
    assert stats.blobs == 2, "the image and the empty parameters"


async def test_a_chat_recorded_call_by_call_is_stored_once(tmp_path: Path) -> None:
    """Storage grows with the length of a chat, not with its square: 12 calls send 156 messages, and 25 are kept."""
    path = tmp_path / "traces.db"
    traces = growing_chat(12)
    async with await TraceWriter.open(path) as writer:
        for trace in traces:
            await writer.write([trace])
    connection = sqlite3.connect(path)
    nodes, kept, packed = connection.execute(
        "SELECT count(*), sum(body_bytes), sum(length(body)) FROM nodes"
    ).fetchone()
    connection.close()
    sent = sum(trace.request_bytes for trace in traces)
    once = sum(len(message) for message in traces[-1].messages) + len(traces[-1].replies[0].message)
    print(f"{nodes} nodes; {sent} bytes of requests sent, {kept} bytes of text kept, {packed} bytes packed")
    assert sum(len(trace.messages) for trace in traces) == 156
    assert nodes == 25
    assert kept == once
    assert packed < kept < sent / 5
    assert await read_all(path) == traces


async def test_a_batch_may_be_written_again(tmp_path: Path) -> None:
    trace, other = make_trace(1), make_trace(2)
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        assert await writer.write([trace, trace]) == (1, 1, 0, 0)
        assert await writer.write([trace, other]) == (1, 1, 0, 0)
        assert await writer.known([trace.id, UUID(int=9)]) == {trace.id}
        assert await writer.known([]) == set()
    assert await read_all(tmp_path / "traces.db") == [trace, other]


async def test_positions_move_with_the_batch_or_not_at_all(tmp_path: Path) -> None:
    naive = make_trace(2, created_at=datetime(2026, 1, 1))  # noqa: DTZ001
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([make_trace(1)], positions=[JournalPosition("b", 1, 10), JournalPosition("a", 1, 5)])
        with pytest.raises(UnstorableTraceError, match="without zone") as caught:
            await writer.write([make_trace(3), naive], positions=[JournalPosition("a", 2, 0)])
        assert caught.value.trace_id == naive.id
        assert await writer.positions() == [JournalPosition("a", 1, 5), JournalPosition("b", 1, 10)]
        await writer.write(positions=[JournalPosition("a", 2, 0)])
        assert await writer.positions() == [JournalPosition("a", 2, 0), JournalPosition("b", 1, 10)]
    assert len(await read_all(tmp_path / "traces.db")) == 1


@pytest.mark.parametrize(
    "trace",
    [
        make_trace(1, messages=(b'{"role":',)),
        make_trace(1, replies=(Reply(2**70, b"{}"),)),
        make_trace(1, status=-(2**64)),
    ],
    ids=["message", "index", "status"],
)
async def test_a_trace_that_can_never_be_stored_is_named(tmp_path: Path, trace: Trace) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        with pytest.raises(UnstorableTraceError) as caught:
            await writer.write([trace])
        assert caught.value.trace_id == trace.id
        assert await writer.write([make_trace(2)]) == (1, 0, 0, 0)


async def test_token_counts_beyond_all_sense_stay_in_usage_alone(tmp_path: Path) -> None:
    """They would overflow the sum that the statistics ask for."""
    usage = b'{"prompt_tokens":9223372036854775807}'
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([make_trace(n, usage=usage, prompt_tokens=2**63 - 1) for n in (1, 2)])
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert (await reader.stats()).prompt_tokens == 0
        trace = await reader.trace(UUID(int=1))
    assert trace is not None
    assert (trace.usage, trace.prompt_tokens) == (usage, None)


async def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    big = make_trace(2, messages=(dumps({"role": "user", "content": bytes(range(32, 92)).decode() * 100_000}),))
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(1)])
        await writer._connection.execute("PRAGMA max_page_count = 1")
        bulk = [make_trace(n, error=f"{n:09}" * 5000) for n in range(3, 400)]
        with pytest.raises(StoreFullError, match="full"):
            await writer.write([big, *bulk], positions=[JournalPosition("w", 1, 1)])
        assert await writer.positions() == []
        await writer._connection.execute("PRAGMA max_page_count = 1000000")
        assert await writer.write([big]) == (1, 0, 0, 0)
    assert [trace.id.int for trace in await read_all(path)] == [1, 2]


async def test_readers_see_whole_batches_while_a_writer_writes(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    seen: list[int] = []
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:

        async def write() -> None:
            for start in range(0, 200, 10):
                await writer.write([make_trace(n) for n in range(start, start + 10)])

        async def read() -> None:
            while not seen or seen[-1] < 200:
                seen.append(len([trace async for trace in reader.traces()]))

        await asyncio.wait_for(asyncio.gather(write(), read()), 30)
    assert seen == sorted(seen)
    assert all(count % 10 == 0 for count in seen)


async def test_an_iteration_ends_with_what_was_there_when_it_began(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([make_trace(n) for n in range(100)])
        found = []
        async for trace in reader.traces():
            found.append(trace.id.int)
            await writer.write([make_trace(1000 + trace.id.int)])
    assert found == list(range(100))


async def test_limits_hold_across_batches(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([make_trace(n, request_bytes=10_000_000) for n in range(150)])
    async with await TraceReader.open(path) as reader:
        assert [trace.id.int async for trace in reader.traces(limit=130)] == list(range(130))
        assert [trace.id.int async for trace in reader.traces(newest_first=True, limit=3)] == [149, 148, 147]
        assert [trace.id.int async for trace in reader.traces(parse_filter("id = " + str(UUID(int=77))))] == [77]
        assert [trace async for trace in reader.traces(limit=0)] == []


async def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_repetition(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    moment = make_trace(0).created_at
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([make_trace(n, created_at=moment) for n in range(7)])
        found, cursor = [], None
        while True:
            page = await reader.page(cursor=cursor, limit=3)
            found += [summary.id.int for summary in page.summaries]
            await writer.write([make_trace(100 + len(found))])
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == [6, 5, 4, 3, 2, 1, 0]


async def test_a_summary_tells_all_but_the_bodies(tmp_path: Path) -> None:
    call = b'{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}'
    trace = make_trace(
        1,
        messages=(b'{"role":"user","content":"a"}', b'{"role":"user","content":"b"}'),
        replies=(Reply(0, call, "tool_calls"), Reply(1, b"{}")),
        tags={"team": "search", "b\0": "\ud800"},
        session="s\0\ud800",
        status=200,
    )
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([trace])
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        [summary], next_cursor, *_ = await reader.page()
    assert next_cursor is None
    assert (summary.message_count, summary.has_tool_calls) == (2, True)
    assert summary.finish_reasons == ("tool_calls", None)
    for name in ("id", "created_at", "outcome", "status", "tags", "session", "is_complete", "flags", "path"):
        assert getattr(summary, name) == getattr(trace, name)


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "A" * 1000])
async def test_a_made_up_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    await (await TraceWriter.open(tmp_path / "traces.db")).close()
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        with pytest.raises(CursorError, match="leave it out"):
            await reader.page(cursor=cursor)


async def test_stats_add_up(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    message, reply = b'{"role":"user","content":"a"}', Reply(0, b'{"role":"assistant","content":"b"}')
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        empty = await reader.stats()
        await writer.write(
            [
                make_trace(1, requested_model="m", messages=(message,), replies=(reply,), prompt_tokens=3),
                make_trace(2, requested_model="m", outcome=Outcome.CLIENT_DISCONNECT, prompt_tokens=4),
                make_trace(3, request_bytes=5, completion_tokens=1),
            ],
            [DeadLetter("torn", "half an entry", b"\0")],
        )
        assert await reader.counts() == (3, 1)
        stats = await reader.stats()
    assert (empty.traces, empty.first_at, dict(empty.by_outcome)) == (0, None, {})
    assert (stats.traces, stats.complete, stats.dead_letters) == (3, 1, 1)
    assert stats.by_outcome == {"completed": 2, "client_disconnect": 1}
    assert stats.by_model == {"m": 2, None: 1}
    assert (stats.prompt_tokens, stats.completion_tokens, stats.request_bytes) == (7, 1, 5)
    assert (stats.first_at, stats.last_at) == (make_trace(1).created_at, make_trace(3).created_at)
    assert (stats.nodes, stats.blobs) == (2, 1)
    assert stats.bytes_on_disk > 4096


async def test_totals_stay_true_whatever_is_written_again(tmp_path: Path) -> None:
    """They are counted as rows are written, and a batch that fails must not count."""
    path, chat = tmp_path / "traces.db", growing_chat(5)
    image = dumps({"role": "user", "content": "data:," + "iVBORw0K" * 4000})
    async with await TraceWriter.open(path) as writer:
        await writer.write(chat[:3])
        await writer.write([*chat, make_trace(50, messages=(image, image), tools=b"[1]", parameters=b"[1]")])
        with pytest.raises(StoreError, match="cannot store TEXT"):
            await writer.write(
                [make_trace(51, messages=(b"{}",))], positions=[JournalPosition("w", 1, cast("int", "x"))]
            )
        await writer.write([make_trace(52, messages=(image,)), make_trace(53, tools=b"[2]")])
    with closing(sqlite3.connect(path)) as database:
        [kept] = database.execute("SELECT nodes, blobs, body_bytes FROM totals").fetchall()
        [nodes] = database.execute("SELECT count(*), sum(body_bytes) FROM nodes").fetchall()
        [blobs] = database.execute("SELECT count(*), sum(body_bytes) FROM blobs").fetchall()
    assert kept == (nodes[0], blobs[0], nodes[1] + blobs[1])
    assert kept[:2] == (13, 4)


async def test_dead_letters_come_back_in_order(tmp_path: Path) -> None:
    letters = [
        DeadLetter("torn", "a", b"\x28\xb5\x2f\xfd" * 100, UUID(int=5)),
        DeadLetter("bad_crc", "b\0\ud800", b""),
    ]
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        assert await writer.write(dead_letters=letters) == (0, 0, 2, 0)
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert [letter async for letter in reader.dead_letters()] == letters


@given(st.binary(max_size=300) | st.binary(max_size=9).map(lambda piece: piece * 50))
def test_packing_gives_back_what_it_was_given(body: bytes) -> None:
    packed = Packer().pack(body)
    assert unpack(packed) == body
    assert len(packed) <= len(body) + 1


@pytest.mark.parametrize("packed", [b"", b"\x02", b"\x01broken"])
def test_damaged_bodies_are_told(packed: bytes) -> None:
    with pytest.raises(ValueError, match="packed body"):
        unpack(packed)


@given(MESSAGES)
def test_cutting_long_strings_is_undone_exactly(message: bytes) -> None:
    shortened, cuts = cut_long_strings(message)
    assert put_back(shortened, cuts) == message
    assert all(len(cut.text) > 16 * 1024 for cut in cuts)
