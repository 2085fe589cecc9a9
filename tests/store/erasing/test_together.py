"""All at once: what retention, erasing, raw calls, search, conversations, usage and feedback leave of each other."""

import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from store.change import Change, ChangeKind, find_change
from store.chore import Chore
from store.conversation_settling import ConversationSettling
from store.erasing.sweep import Sweep
from store.feedback_form import read_feedback, write_request
from store.filter_labels import LabelChore
from store.finding import Severity
from store.raw_call_check import check_raw_calls
from store.raw_call_retention import RawCallPruning
from store.raw_calls import RawCalls, RawRetention
from store.retention import Pruning, Retention
from store.retention_space import FreedSpace
from store.search_index import SearchChore
from store.trace import Trace
from store.traces import TraceReader, TraceWriter
from store.upkeep import make_followers
from store.uuid7 import uuid7
from tests.store.erasing.store import chat, do, erase, erasing, faults, ids, rows, sizes
from tests.store.erasing.test_remains import holds, is_whole
from tests.store.erasing.test_retention import NOW

KEPT = {"changes", "forgotten_traces", "pruned", "journal_positions", "conversation_count", "usage_state", "sweep"}
"""Tables in which something may be left when every trace is gone: numbers, ids, and what is set."""


class Store:
    """A data directory with everything on, and a clock of its own for what goes by age."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.path = data_dir / "traces.db"
        self.now = NOW.timestamp()
        self.raw_calls = RawCalls(data_dir, RawRetention(2**24, 3650), self._derive)
        self._made: dict[bytes, Trace] = {}

    def _derive(self, body: bytes) -> Trace:
        return self._made[body]

    def chores(self, **bounds: float) -> Sequence[Chore]:
        followers = make_followers(self.raw_calls)
        retention = Retention(**bounds)  # type: ignore[arg-type]
        return (
            ConversationSettling(), RawCallPruning(self.raw_calls, pause_s=0), erasing(self.data_dir),
            Pruning(retention, followers, clock=lambda: self.now, pause_s=0), Sweep(followers), FreedSpace(pause_s=0),
            LabelChore(), SearchChore(part_nodes=100),
        )  # fmt: skip

    async def fill(self, writer: TraceWriter, first: int, count: int, chance: random.Random) -> list[Trace]:
        traces: list[Trace] = []
        for number in range(first, first + count):
            turns = [f"canary {number % 40} {text}" for text in "abcdef"[: chance.choice((2, 4, 6))]]
            traces.append(
                chat(
                    number, *turns, created_at=NOW - timedelta(days=chance.uniform(0, 100)),
                    user=chance.choice(("jane", "joe", None)), session=chance.choice((None, None, f"s{number % 7}")),
                    tags={"team": "canary team"} if chance.random() < 0.3 else {}, usage=b'{"prompt_tokens":3}',
                    prompt_tokens=3, metadata=b'{"note":"canary"}', error=chance.choice((None, "canary error")),
                )
            )  # fmt: skip
        raw = {trace.id: b"canary raw %d " % trace.id.int * 40 for trace in traces}
        self._made.update({raw[trace.id]: trace for trace in traces})
        self.raw_calls.offer(raw)
        await writer.write(traces)
        self.raw_calls.offer({})
        await writer.write(changes=[opinion(trace) for trace in traces if chance.random() < 0.3])
        return traces

    def check(self) -> None:
        assert is_whole(self.path)
        assert faults(self.path) == []
        with closing(sqlite3.connect(self.path)) as db:
            db.row_factory = sqlite3.Row
            found = list(check_raw_calls(db, self.data_dir))
        assert [each.what for each in found if each.kind.severity is not Severity.OK] == []


def opinion(trace: Trace) -> Change:
    text = b'{"name": "comment", "value": "canary comment"}'
    return Change(uuid7(), ChangeKind.FEEDBACK, NOW, "me", write_request(trace.id, read_feedback(text)))


async def test_retention_with_everything_on_runs_to_an_empty_store(tmp_path: Path) -> None:
    store, chance = Store(tmp_path), random.Random(2)
    async with await TraceWriter.open(store.path, raw_calls=store.raw_calls) as writer:
        await store.fill(writer, 1, 300, chance)
        await do(writer, *store.chores())
        store.check()
        traces = 300
        for days in (20, 60, 90, 130):
            store.now = (NOW + timedelta(days=days)).timestamp()
            await do(writer, *store.chores(content_days=30, metadata_days=100))
            store.check()
            left = len(await ids(store.path))
            assert left < traces or days == 130
            traces = left
        store.now = (NOW + timedelta(days=300)).timestamp()
        await do(writer, *store.chores(content_days=30, metadata_days=100))
        assert await ids(store.path) == set()
        await do(writer, RawCallPruning(RawCalls(tmp_path), pause_s=0))
        store.check()
        # Rows of the index for search are checked by the words that are left.
        left_over = {name: count for name, count in sizes(store.path).items() if count and name not in KEPT}
        assert left_over.pop("totals") == 1
        assert left_over == {}
        assert rows(store.path, "SELECT nodes, blobs, body_bytes FROM totals") == [(0, 0, 0)]
        assert not [path for path in (tmp_path / "raw").iterdir() if path.stat().st_size]
        # What goes by age leaves shreds in pages until the next erasure.
        await store.fill(writer, 1000, 1, chance)
        await erase(writer, "traces", " ".join(map(str, await ids(store.path))))
        assert holds(tmp_path) == []
    assert store.path.stat().st_size < 2 * 2**20


async def test_contents_that_have_expired_are_not_made_again_of_anything(tmp_path: Path) -> None:
    store, chance = Store(tmp_path), random.Random(3)
    async with await TraceWriter.open(store.path, raw_calls=store.raw_calls) as writer:
        traces = await store.fill(writer, 1, 60, chance)
        store.now = (NOW + timedelta(days=1)).timestamp()
        await do(writer, *store.chores(content_days=50))
        expired = {trace.id for trace in traces if trace.created_at < NOW - timedelta(days=49)}
        some, others = sorted(expired)[:16], [trace.id for trace in traces if trace.id not in expired][:16]
        body = json.dumps({"ids": [str(id_) for id_ in (*some, *others)]}).encode()
        change = Change(uuid7(), ChangeKind.REINGEST, NOW, "me", body)
        await writer.write(changes=[change])
        await do(writer, *store.chores(content_days=50))
        async with await TraceReader.open(store.path) as reader:
            record = await reader.look(lambda db: find_change(db, change.id))
            assert record is not None
            assert record.result == {"replaced": len(others), "without_raw": len(some), "failed": 0, "gone": 0}
            for id_ in some:
                found = await reader.trace(id_)
                assert found is not None
                assert found.messages == ()
        store.check()


async def test_a_clock_that_steps_back_lets_nothing_go_before_its_time(tmp_path: Path) -> None:
    store, chance = Store(tmp_path), random.Random(4)
    bounds = {"content_days": 120.0, "metadata_days": 150.0}
    async with await TraceWriter.open(store.path, raw_calls=store.raw_calls) as writer:
        await store.fill(writer, 1, 50, chance)
        for days in (10, -400, 15, -3):
            store.now = (NOW + timedelta(days=days)).timestamp()
            await do(writer, *store.chores(**bounds))
            assert len(await ids(store.path)) == 50
        assert rows(store.path, "SELECT count(*) FROM traces WHERE instr(flags, 'expired')") == [(0,)]
        # Calls of the time that was set back to are of that time.
        await writer.write([chat(900, "q", "a", created_at=NOW - timedelta(days=400))])
        await do(writer, *store.chores(**bounds))
        assert len(await ids(store.path)) == 50
        await erase(writer, "user", "jane")
        store.check()
