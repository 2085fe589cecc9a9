"""Retention: content and traces go by age and by size, oldest first, and the disk has the room back."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from store.erasing.sweep import Sweep
from store.raw_calls import RawCalls, RawRetention, find_raw_calls
from store.retention import Pruning, Retention
from store.retention_space import FreedSpace
from store.trace import DeadLetter, Flag, Trace
from store.traces import TraceReader, TraceWriter
from store.upkeep import make_followers
from tests.store.erasing.store import chat, do, faults, ids, rows, sizes

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def pruning(data_dir: Path, *, at: datetime = NOW, **bounds: float) -> Pruning:
    retention = Retention(**bounds)  # type: ignore[arg-type]
    return Pruning(retention, make_followers(RawCalls(data_dir)), clock=at.timestamp, pause_s=0)


def aged(number: int, days: float, **fields: Any) -> Trace:
    return chat(
        number, f"canary question {number}", f"canary reply {number}", created_at=NOW - timedelta(days=days), **fields
    )


async def test_content_goes_first_and_what_is_known_of_the_call_stays(tmp_path: Path) -> None:
    raw_calls = RawCalls(tmp_path, RawRetention(2**20, 400))
    old = aged(
        1, 31, user="jane", tags={"team": "a"}, usage=b'{"prompt_tokens":3}', prompt_tokens=3, error="canary error",
        tools=b'["canary tool"]', parameters=b'{"stop":"canary"}', status=200, metadata=b'{"kept":1}',
    )  # fmt: skip
    young = aged(2, 29, parameters=b"{}")
    async with await TraceWriter.open(tmp_path / "traces.db", raw_calls=raw_calls) as writer:
        raw_calls.offer({old.id: b"canary raw", young.id: b"raw of the young"})
        await writer.write([old, young])
        await do(writer, pruning(tmp_path, content_days=30, metadata_days=365), Sweep())
        async with await TraceReader.open(writer.path) as reader:
            left = await reader.trace(old.id)
            assert await reader.trace(young.id) == young
            raw = await reader.look(lambda db: find_raw_calls(db, [1, 2]))
        assert raw == {young.id: b"raw of the young"}
        assert left is not None
        assert (left.messages, left.replies, left.tools, left.error, left.parameters) == ((), (), None, None, b"{}")
        assert (left.user, left.tags, left.usage, left.status) == ("jane", {"team": "a"}, b'{"prompt_tokens":3}', 200)
        assert left.metadata == b'{"kept":1}'
        assert left.flags == {Flag.CONTENT_EXPIRED}
        assert not left.is_complete
        assert faults(writer.path) == []
        assert rows(writer.path, "SELECT what, traces FROM pruned") == [("content", 1)]
        # A second look finds nothing more to do.
        await do(writer, pruning(tmp_path, content_days=30))
        assert rows(writer.path, "SELECT what, traces FROM pruned") == [("content", 1)]
        await do(writer, pruning(tmp_path, at=NOW + timedelta(days=335), metadata_days=365), Sweep())
        assert await ids(writer.path) == {young.id}
        assert faults(writer.path) == []


async def test_what_retention_took_may_be_imported_again(tmp_path: Path) -> None:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([aged(1, 400)])
        await do(writer, pruning(tmp_path, metadata_days=365), Sweep())
        assert (await writer.write([aged(1, 400)])).traces == 1


async def test_dead_letters_go_with_the_content_of_their_time_and_gaps_stay(tmp_path: Path) -> None:
    def at(days: float) -> UUID:
        milliseconds = int((NOW - timedelta(days=days)).timestamp() * 1000)
        return UUID(bytes=milliseconds.to_bytes(6, "big") + b"\x70\0\x80\0\0\0\0\0\0\0")

    letters = [
        DeadLetter("gap", "", b'{"reason":"journal_backlog","count":7}', UUID(int=1)),
        DeadLetter("torn", "", b"old", UUID(int=2)),
        DeadLetter("unstorable", "", b"old", at(31)),
        DeadLetter("torn", "", b"young", UUID(int=3)),
        DeadLetter("unstorable", "", b"young", at(29)),
    ]
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(dead_letters=letters)
        await do(writer, pruning(tmp_path, content_days=30))
        async with await TraceReader.open(writer.path) as reader:
            assert [letter async for letter in reader.dead_letters()] == [letters[0], *letters[3:]]


async def test_a_store_past_its_size_lets_the_oldest_content_go_and_the_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        for start in range(0, 3000, 500):
            traces = [
                aged(n, 100 - n / 100, parameters=b"{}", error=os.urandom(2000).hex())
                for n in range(start, start + 500)
            ]
            await writer.write(traces)
        await writer.write([aged(5000, 0)])
        full = await size_on_disk(writer)
        bound = full // 2
        await do(writer, pruning(tmp_path, max_bytes=bound), Sweep(), FreedSpace(pause_s=0))
        left = rows(path, "SELECT number, instr(flags, 'content_expired') > 0 FROM traces ORDER BY created_at")
        gone = [number for number, is_gone in left if is_gone]
        assert len(left) == 3001
        assert gone == [number for number, _ in left][: len(gone)]
        assert bound * 0.5 < await size_on_disk(writer) <= bound
        assert faults(path) == []
        # Content alone does not make room enough: then traces go, the newest last.
        await do(writer, pruning(tmp_path, max_bytes=500_000), Sweep(), FreedSpace(pause_s=0))
        assert sizes(path)["traces"] < 3001
        assert UUID(int=5000) in await ids(path)
        assert await size_on_disk(writer) < full / 4
        assert faults(path) == []


async def size_on_disk(writer: TraceWriter) -> int:
    """Bring the log in, as time does."""

    class Checkpoint:
        name = "checkpoint"

        def step(self, db: object) -> object:
            from store.chore import NOTHING_TO_DO
            from store.erasing.remains import cut_log

            assert cut_log(db)  # type: ignore[arg-type]
            return NOTHING_TO_DO

    await writer.perform(Checkpoint())  # type: ignore[arg-type]
    return writer.path.stat().st_size
