"""How fast usual questions are answered over many traces, while new ones come in.

    .venv/bin/python -m benchmarks.finding [--traces 1000000] [--rate 200] [--rounds 5] [--plans]

The store is made once and kept under the temporary folder (`tracemill-finding`, some 3 GB for 1,000,000 traces; delete
it when done); a change of the layout makes another. Another process writes `--rate` traces a second meanwhile, with all
derived tables, and indexes their texts. Each question is asked `--rounds` times of a fresh connection, the questions in
turn, so what one has read does not help it the next time more than it would in life. `--plans` shows how SQLite goes
about the questions that take longest.
"""

import argparse
import asyncio
import multiprocessing
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.finding_store import COMMON_WORD, OLD_WORD, RARE_WORD, Calls, build, folder
from store.database import TRACES
from store.filter import parse_filter
from store.filter_labels import LabelChore
from store.search_index import SearchChore, search_state
from store.trace_order import Order
from store.traces import TraceReader, TraceWriter


class Question(NamedTuple):
    """One thing to ask, in words and as a filter; of the page that so many pages come before."""

    words: str
    where: str = ""
    order: Order = Order.NEWEST
    skip: int = 0


QUESTIONS = (
    Question("the newest"),
    Question("the page after 100 pages", skip=100),
    Question("the slowest", order=Order.SLOWEST),
    Question("a common model", "model = gpt-4o"),
    Question("a rare model", "model = phi-4"),
    Question("a model's errors", "model = gpt-4o and outcome = upstream_error"),
    Question("errors of the last day", "status >= 500 and created_at >= -1d"),
    Question("a rare status", "status = 529"),
    Question("a session", "session = session-777"),
    Question("a user", "user = user-5"),
    Question("a key", "key = 0000000000000011"),
    Question("a tag", "tag.team = team-3"),
    Question("a tag of weeks ago", "tag.release = v3"),
    Question("... and a rare status", "tag.release = v3 and status = 529"),
    Question("metadata", "metadata.customer = c-77"),
    Question("nested metadata, common", "metadata.plan.tier = free"),
    Question("metadata that nobody has", "metadata.job = nothing"),
    Question("slow calls", "duration_ms > 60000"),
    Question("slow calls of a model", "duration_ms > 20000 and model = o4-mini"),
    Question("many tokens", "total_tokens > 20000"),
    Question("costly calls", "cost > 0.005"),
    Question("cut short", "finish_reason = length"),
    Question("tool calls of a model", "has_tool_calls and model = o4-mini"),
    Question("a tool", "tool = book and model = phi-4"),
    Question("without usage", "flag = no_usage"),
    Question("feedback", "feedback.helpful = false"),
    Question("a common word", f"text ~ {COMMON_WORD}"),
    Question("a rare word", f"text ~ {RARE_WORD}"),
    Question("a word of the first days", f"text ~ {OLD_WORD}"),
    Question("the beginning of a word", f"text ~ {OLD_WORD[:4]}*"),
    Question("a phrase of a system prompt", "text contains 'assistant of team 3'"),
    Question("a word and a model", f"text ~ {RARE_WORD} and model = phi-4"),
    Question("nobody's traces", "model = gpt-4o and user = nobody"),
    Question("two things that never meet", "has_tool_calls and finish_reason = stop"),
    Question("what has no index", "stream and route = nowhere"),
)


class Asked(NamedTuple):
    """What one asking came to."""

    seconds: float
    rows: int
    is_cut: bool


async def ask(path: Path, question: Question) -> Asked:
    """Ask once, of a connection that has read nothing yet."""
    async with await TraceReader.open(path) as reader:
        cursor = None
        for _ in range(question.skip):
            cursor = (await reader.page(None, cursor)).next_cursor
        began = time.perf_counter()
        page = await reader.page(parse_filter(question.where), cursor, order=question.order)
        seconds = time.perf_counter() - began
    return Asked(seconds, len(page.summaries), page.next_cursor is not None and len(page.summaries) < 50)


async def pages_to_the_end(path: Path, question: Question) -> tuple[int, float]:
    """Tell how many pages it takes until one is full or the last, and how long."""
    began, pages, found = time.perf_counter(), 0, 0
    async with await TraceReader.open(path) as reader:
        cursor = None
        while pages == 0 or (cursor is not None and found < 50):
            page = await reader.page(parse_filter(question.where), cursor)
            cursor, pages, found = page.next_cursor, pages + 1, found + len(page.summaries)
    return pages, time.perf_counter() - began


async def write_along(path: Path, rate: int, stop: Event, counts: "multiprocessing.Queue[tuple[int, float]]") -> None:
    """Write so many traces a second, and do what chores have to do between."""
    calls = Calls(int(time.time()), datetime.now(UTC), timedelta(seconds=1) / max(rate, 1))
    search, labels, written, began = SearchChore(), LabelChore(), 0, time.monotonic()
    async with await TraceWriter.open(path) as writer:
        while not stop.is_set():
            due = int((time.monotonic() - began) * rate) - written
            if due > 0:
                await writer.write(list(calls.make(due)))
                written += due
            for chore in (search, labels):
                await writer.perform(chore)
            await asyncio.sleep(0.2)
        counts.put((written, time.monotonic() - began))


def run_writer(path: Path, rate: int, stop: Event, counts: "multiprocessing.Queue[tuple[int, float]]") -> None:
    """Be the process that writes."""
    asyncio.run(write_along(path, rate, stop, counts))


@asynccontextmanager
async def writing(path: Path, rate: int) -> AsyncIterator[None]:
    """Have traces come in meanwhile."""
    context = multiprocessing.get_context("spawn")
    stop, counts = context.Event(), context.Queue()
    process = context.Process(target=run_writer, args=(path, rate, stop, counts))
    process.start()
    try:
        yield
    finally:
        stop.set()
        written, seconds = await asyncio.to_thread(counts.get)
        process.join()
        print(f"\nMeanwhile {written:,} traces came in, {written / seconds:.0f} a second.")


async def index_all(path: Path) -> None:
    """Index all texts."""
    began, chore = time.monotonic(), SearchChore()
    slowest = 0.0
    async with await TraceWriter.open(path) as writer:
        while True:
            step = time.monotonic()
            has_more = (await writer.perform(chore)).has_more
            slowest = max(slowest, time.monotonic() - step)
            if not has_more:
                break
    print(f"  indexed in {time.monotonic() - began:.0f} s, the longest step {slowest * 1000:.0f} ms", flush=True)


async def prepare(count: int) -> Path:
    """Give a store of so many traces of this layout; others are deleted."""
    home = folder(count, TRACES.sql())
    path = home / "traces.db"
    if not path.exists():
        for old in home.parent.glob(f"{count}-*"):
            shutil.rmtree(old)
        home.mkdir(parents=True, mode=0o700)
        print(f"Making a store of {count:,} traces in {home}:")
        await build(path, count)
        await index_all(path)
    return path


def show_plans(path: Path, question: Question) -> None:
    """Print the statements of a question with SQLite's plans."""
    from store.filter_functions import add_functions
    from store.filter_scan import Scan

    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    add_functions(database)
    said: list[str] = []
    database.set_trace_callback(said.append)
    Scan(database, parse_filter(question.where), question.order).look(question.order.start, 51, seconds=0.05)
    database.set_trace_callback(None)
    print(f"\n{question.words}: {question.where}")
    for sql in dict.fromkeys(" ".join(each.split())[:160] for each in said):
        print(f"  {sql}")


async def measure(path: Path, rate: int, rounds: int, *, with_plans: bool) -> None:
    """Ask everything, and print the table."""
    asked: dict[Question, list[Asked]] = {question: [] for question in QUESTIONS}
    async with writing(path, rate):
        await asyncio.sleep(2)
        for _ in range(rounds):
            for question in QUESTIONS:
                asked[question].append(await ask(path, question))
        print("| question | filter | p50 ms | max ms | rows | pages until full or done |")
        print("|---|---|---|---|---|---|")
        for question, found in asked.items():
            times = [each.seconds * 1000 for each in found]
            more = ""
            if found[-1].is_cut:
                pages, seconds = await pages_to_the_end(path, question)
                more = f"{pages} in {seconds:.1f} s"
            where = question.where.replace("|", "\\|")
            print(
                f"| {question.words} | `{where}` | {median(times):.1f} | {max(times):.1f} | {found[-1].rows} | {more} |"
            )
        async with await TraceReader.open(path) as reader:
            began = time.perf_counter()
            counted = await reader.count()
            print(f"\nCounting all {counted.traces:,}: {(time.perf_counter() - began) * 1000:.1f} ms.")
            print(f"Messages that wait for the index: {(await reader.look(search_state)).behind:,}.")
    everything = [each.seconds for found in asked.values() for each in found]
    print(f"Of {len(everything)} answers the slowest took {max(everything) * 1000:.0f} ms.")
    if with_plans:
        slowest = sorted(QUESTIONS, key=lambda question: -max(each.seconds for each in asked[question]))
        for question in slowest[:5]:
            show_plans(path, question)


def main() -> None:
    """Make the store if it is not there, and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=200, help="traces a second that come in meanwhile")
    parser.add_argument("--store", type=Path, help="ask this store, and write to it, instead of one made for it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plans", action="store_true", help="show the statements of the slowest questions")
    options = parser.parse_args()
    path = options.store or asyncio.run(prepare(options.traces))
    print(f"{path.stat().st_size / 2**30:.1f} GiB in {path}\n")
    asyncio.run(measure(path, options.rate, options.rounds, with_plans=options.plans))


if __name__ == "__main__":
    main()
