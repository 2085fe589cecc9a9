"""Whether calls that come in any order become the conversations that they were, and what that costs.

    .venv/bin/python -m benchmarks.conversations [--conversations 20000] [--seed 1]

Conversations are made up with everything that clients do: replies asked for again, messages edited, first messages and
system prompts that thousands share, tools, failed calls, sessions, histories cut to their last messages, phrases that
strangers repeat to the letter. Which call belongs where is known. The calls are shuffled as a whole and stored in
batches, as those of workers that lag behind each other. Then all pairs of calls are compared: pairs that were put into
one conversation and belong together, over all that were put together (precision) and over all that belong together
(recall).
"""

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from benchmarks.made_conversations import KINDS, WHOLE, Known, make_calls
from store.conversation_expressions import PARENT
from store.conversation_follower import Conversations
from store.conversation_lookup import id_of_conversation
from store.conversation_settling import ConversationSettling, stitch_again
from store.follower import StoredTrace
from store.trace import Trace
from store.traces import TraceWriter

BATCH_CALLS = 500


class Score(NamedTuple):
    """How many pairs of calls are right."""

    calls: int
    precision: float
    recall: float
    parents: float


def pairs(sizes: Iterable[int]) -> int:
    """Count the pairs within groups."""
    return sum(size * (size - 1) // 2 for size in sizes)


def score(calls: Sequence[Known], found: dict[UUID, tuple[int, UUID | None]]) -> Score:
    """Compare what was found with what is known."""
    both = Counter((call.conversation, found[call.trace.id][0]) for call in calls)
    together = pairs(both.values())
    put = pairs(Counter(found[call.trace.id][0] for call in calls).values())
    belong = pairs(Counter(call.conversation for call in calls).values())
    right = sum(call.parent == found[call.trace.id][1] for call in calls)
    return Score(len(calls), together / (put or 1), together / (belong or 1), right / (len(calls) or 1))


class WindowLinks(NamedTuple):
    """Parents that were found by what is left of a history."""

    right: int
    wrong: int
    cut: int


def window_links(path: Path, calls: Sequence[Known], found: dict[UUID, tuple[int, UUID | None]]) -> WindowLinks:
    """Count the calls that were joined although their history has no beginning."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT t.id FROM conversation_traces s JOIN traces t ON t.number = s.trace "
            "WHERE s.continues IS NOT NULL AND s.place IS NULL"
        ).fetchall()
    joined = {UUID(bytes=row[0]) for row in rows}
    right = sum(call.parent == found[call.trace.id][1] for call in calls if call.trace.id in joined)
    return WindowLinks(right, len(joined) - right, sum(call.is_cut for call in calls))


def look(path: Path) -> dict[UUID, tuple[int, UUID | None]]:
    """Read each call's conversation and parent."""
    query = f"""
        SELECT t.id, s.conversation, (SELECT p.id FROM traces p WHERE p.number = {PARENT})
        FROM conversation_traces s JOIN traces t ON t.number = s.trace
    """  # noqa: S608 - put together from constants
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(query).fetchall()
    return {UUID(bytes=id_): (number, None if parent is None else UUID(bytes=parent)) for id_, number, parent in rows}


def ids(path: Path) -> dict[int, bytes]:
    """Read the ids of all conversations."""
    with closing(sqlite3.connect(path)) as database:
        numbers = [row[0] for row in database.execute("SELECT DISTINCT conversation FROM conversation_traces")]
        return {number: id_of_conversation(database, number) for number in numbers}


def batches(calls: Sequence[Known], size: int) -> Iterator[list[Trace]]:
    """Cut calls into batches."""
    for at in range(0, len(calls), size):
        yield [call.trace for call in calls[at : at + size]]


class Timed(Conversations):
    """Stitches, and takes the time that it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Stitch a batch."""
        began = time.process_time()
        super().add(db, traces)
        self.seconds.append(time.process_time() - began)


async def write(path: Path, calls: Sequence[Known], size: int = BATCH_CALLS) -> Timed:
    """Store calls in this order."""
    timed = Timed()
    async with await TraceWriter.open(path) as writer:
        others = [each for each in writer._followers if not isinstance(each, Conversations)]  # noqa: SLF001
        writer._followers = [*others, timed]  # noqa: SLF001
        for batch in batches(calls, size):
            await writer.write(batch)
        settling = ConversationSettling()
        while (await writer.perform(settling)).has_more:
            pass
    return timed


async def stitch_all_again(path: Path) -> float:
    """Drop all conversations and have the chore make them again; give the seconds of the longest step."""
    longest = 0.0
    async with await TraceWriter.open(path) as writer:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            stitch_again(database)
        settling, has_more = ConversationSettling(), True
        while has_more:
            began = time.perf_counter()
            has_more = (await writer.perform(settling)).has_more
            longest = max(longest, time.perf_counter() - began)
    return longest


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    calls = make_calls(options.conversations, chance)
    with tempfile.TemporaryDirectory() as folder:
        in_order, shuffled = Path(folder) / "order.db", Path(folder) / "shuffled.db"
        costs = []
        for path in (in_order, shuffled):
            if path is in_order:
                calls.sort(key=lambda call: call.trace.created_at)
            else:
                chance.shuffle(calls)
            began = time.perf_counter()
            timed = asyncio.run(write(path, calls))
            wall = time.perf_counter() - began
            per_call = 1e6 * sum(timed.seconds) / len(calls)
            costs.append((path.stem, wall, per_call, 1e3 * max(timed.seconds), path.stat().st_size / len(calls)))
        found = look(shuffled)
        assert sorted(ids(in_order).values()) == sorted(ids(shuffled).values()), "ids depend on the order"  # noqa: S101
        print("| calls | number | precision | recall | right parents |\n|---|---|---|---|---|")
        for kind in (*KINDS, "all but the last two"):
            result = score([c for c in calls if c.kind == kind or (kind not in KINDS and c.kind in WHOLE)], found)
            print(
                f"| {kind} | {result.calls:,} | {result.precision:.4f} | {result.recall:.4f} | {result.parents:.4f} |"
            )
        links = window_links(shuffled, calls, found)
        print(f"\n{links.cut:,} calls without a beginning: {links.right:,} joined rightly, {links.wrong:,} wrongly")
        print("\n| order | whole run | stitching a call | longest batch | bytes a call |\n|---|---|---|---|---|")
        for name, wall, per_call, longest, size in costs:
            print(f"| {name} | {wall:.1f} s | {per_call:.0f} µs | {longest:.0f} ms | {size:,.0f} |")
        before, began = sorted(ids(shuffled).values()), time.perf_counter()
        longest = asyncio.run(stitch_all_again(shuffled))
        again = time.perf_counter() - began
        same = "the same" if sorted(ids(shuffled).values()) == before else "not the same"
        print(f"\nStitched again from the store in {again:.1f} s, longest step {1e3 * longest:.0f} ms: {same}")


if __name__ == "__main__":
    main()
