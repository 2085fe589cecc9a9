"""An erasure, or retention, that is killed at any moment goes on where it was, and ends as if it never had been."""

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from store.chore import Chore
from store.erasing.selector import Selector, SelectorKind
from store.erasing.sweep import Sweep
from store.retention_space import FreedSpace
from store.search_index import SearchChore
from store.trace import Trace
from store.traces import TraceReader, TraceWriter
from tests.store.erasing.store import asked, chat, do, erasing, faults, rows, sizes
from tests.store.erasing.test_retention import NOW, aged, pruning

TABLES = ("nodes", "blobs", "node_blobs", "totals", "replies", "tags", "usages", "loose_nodes", "loose_blobs")


def test_an_erasure_that_is_killed_again_and_again_ends_whole(tmp_path: Path) -> None:
    """Named in `docs/contract.md`."""
    chance = random.Random(11)
    texts = ["one", "two", "three", "canary " * 3000]
    traces = [
        chat(
            n,
            *chance.choices(texts, k=chance.choice((2, 4))),
            f"q{n}",
            f"a{n}",
            user=chance.choice("ab"),
            error=f"e{n}",
        )
        for n in range(1, 1500)
    ]
    left = [trace for trace in traces if trace.user == "b"]
    kills = killed_until_done(tmp_path, traces, lambda: [erasing(tmp_path), SearchChore()], user="a")
    assert kills >= 3
    (tmp_path / "alone").mkdir()
    asyncio.run(written(tmp_path / "alone", left))
    compare(tmp_path / "traces.db", tmp_path / "alone" / "traces.db")
    assert rows(tmp_path / "traces.db", "SELECT count(*) FROM erasures") == [(0,)]
    assert len(rows(tmp_path / "traces.db", "SELECT id FROM forgotten_traces")) == len(traces) - len(left)
    assert asyncio.run(stored(tmp_path / "traces.db")) == sorted(left, key=lambda t: (t.created_at, t.id.bytes))


def test_retention_that_is_killed_again_and_again_ends_whole(tmp_path: Path) -> None:
    traces: list[Trace] = [aged(n, 100 - n / 10, error=f"e{n}") for n in range(1, 1000)]
    chores = lambda: [pruning(tmp_path, content_days=20, metadata_days=50), Sweep(), FreedSpace(pause_s=0)]  # noqa: E731
    assert killed_until_done(tmp_path, traces, chores) >= 3
    path = tmp_path / "traces.db"
    assert faults(path) == []
    assert sizes(path)["loose_nodes"] == sizes(path)["loose_blobs"] == 0
    found = asyncio.run(stored(path))
    assert min(trace.created_at for trace in found) >= NOW.replace(month=5, day=12)
    assert {bool(trace.messages) for trace in found} == {True, False}


def killed_until_done(
    data_dir: Path, traces: list[Trace], chores: Callable[[], Sequence[Chore]], user: str | None = None
) -> int:
    """Store traces, then do chores in processes that are killed, later each time; return how many were."""
    asyncio.run(written(data_dir, traces, user))
    chance, kills = random.Random(5), 0
    while True:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                threading.Timer(
                    chance.uniform(0.005, 0.03) * 1.2**kills, os.kill, (os.getpid(), signal.SIGKILL)
                ).start()
                asyncio.run(done(data_dir, chores()))
                code = 0
            finally:
                os._exit(code)
        chance.random()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return kills
        kills += 1
        assert kills < 200, "it never gets done"


async def written(data_dir: Path, traces: list[Trace], user: str | None = None) -> None:
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write(traces)
        if user is not None:
            await writer.write(changes=[asked(Selector(SelectorKind.USER, user))])


async def done(data_dir: Path, chores: Sequence[Chore]) -> None:
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await do(writer, *chores)


async def stored(path: Path) -> list[Trace]:
    async with await TraceReader.open(path) as reader:
        return [trace async for trace in reader.traces()]


def compare(path: Path, alone: Path) -> None:
    """Hold a store against one that never had what was erased."""
    assert faults(path) == []
    for table in TABLES:
        assert sizes(path)[table] == sizes(alone)[table], table
    assert rows(path, "SELECT * FROM totals") == rows(alone, "SELECT * FROM totals")
