"""How fast calls go from the journal into the store, and where the time goes.

    .venv/bin/python -m benchmarks.ingest [--scale 1.0] [--rounds 3] [--only NAME]

Calls are written with the real journal; then the real ingest runs over it until everything can be queried and the
database is closed, its log brought in. Only ingest is measured: CPU of its process, all threads. Reading, deriving and
hashing are measured apart, each alone over the same calls; what is left of the whole counts as SQLite. The index for
search is no part of the whole: what it adds is measured over the same traces, stored and indexed by and by.
"""

import argparse
import asyncio
import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from proxy.ingest.derive import derive
from proxy.ingest.ingest import run_ingest
from proxy.journal.format import EntryKind
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader
from proxy.journal.writer import JOURNAL_FOLDER, Journal
from store.data_files import TRACES_FILE
from store.fresh_messages import FreshMessages
from store.search_index import SearchChore
from store.trace import Trace
from store.trace_batch import Batch
from store.traces import TraceWriter
from store.tree import HashedMessages
from store.uuid7 import uuid7

MAX_DECODED_BYTES = 16 * 1024 * 1024
VOCABULARY = ["".join(random.Random(n).choices("aeiounrstlmdkgpb", k=2 + n % 9)) for n in range(4000)]
BATCH = 500
TURNS = 12
CHUNKS = 100


class Exchange(NamedTuple):
    """The bodies of one call, and whether the answer is a stream."""

    request: bytes
    answer: bytes
    is_stream: bool = False


class Figures(NamedTuple):
    """What one run came to; CPU in microseconds per call."""

    calls: int
    wall_s: float
    reading: float
    deriving: float
    hashing: float
    whole: float
    index: float
    bytes_per_call: float


def say(chance: random.Random, size: int) -> str:
    """Return about that many characters of words."""
    return " ".join(chance.choices(VOCABULARY, k=size // 7 + 1))


def ask(messages: list[dict[str, Any]], **fields: object) -> bytes:
    """Return a request's body as the OpenAI client writes it."""
    body = {"messages": messages, "model": "gpt-4o-mini", "temperature": 0.2, **fields}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def answer(number: int, text: str) -> bytes:
    """Return a plain answer as OpenAI writes it, white space between its tokens included."""
    body = {
        "id": f"chatcmpl-{number:024d}",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 211,
            "completion_tokens": 187,
            "total_tokens": 398,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_44added55e",
    }
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def stream(number: int, chunks: int, chance: random.Random) -> bytes:
    """Return an answer of that many chunks as OpenAI streams it."""
    base = {
        "id": f"chatcmpl-{number:024d}",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_44added55e",
    }
    deltas = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": " " + word} for word in chance.choices(VOCABULARY, k=chunks - 2)]
    events: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]} for delta in deltas
    ]
    events.append({**base, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]})
    texts = [json.dumps(event, separators=(",", ":")) for event in events]
    return b"".join(b"data: %s\n\n" % text.encode() for text in [*texts, "[DONE]"])


def single_turns(count: int, chance: random.Random, size: int) -> Iterator[Exchange]:
    """Give calls of one question each; request and answer are about `size` bytes together, every text another one."""
    for number in range(count):
        text = say(chance, size - 1024 - size // 4)
        yield Exchange(ask([{"role": "user", "content": text}]), answer(number, say(chance, size // 4)))


def chats(count: int, chance: random.Random, _: int) -> Iterator[Exchange]:
    """Give the calls of growing chats, the history sent whole on each call."""
    for number in range(0, count, TURNS):
        messages: list[dict[str, Any]] = [{"role": "system", "content": say(random.Random(0), 2000)}]
        for turn in range(TURNS):
            messages.append({"role": "user", "content": say(chance, 200)})
            reply = say(chance, 400)
            yield Exchange(ask(messages), answer(number + turn, reply))
            messages.append({"role": "assistant", "content": reply})


def streams(count: int, chance: random.Random, _: int) -> Iterator[Exchange]:
    """Give calls whose answers are streams."""
    for number in range(count):
        request = ask([{"role": "user", "content": say(chance, 800)}], stream=True)
        yield Exchange(request, stream(number, CHUNKS, chance), is_stream=True)


LOADS: dict[str, tuple[int, int, Callable[[int, random.Random, int], Iterable[Exchange]]]] = {
    "single turns, 2 KB": (12_000, 2 * 1024, single_turns),
    "single turns, 50 KB": (1_000, 50 * 1024, single_turns),
    f"chats of {TURNS} turns": (6_000, 0, chats),
    f"streams of {CHUNKS} chunks": (1_500, 0, streams),
}


async def write_journal(data_dir: Path, exchanges: Iterable[Exchange]) -> int:
    """Write calls as a data worker does; return how many."""
    journal = Journal(data_dir / JOURNAL_FOLDER, max_pending_bytes=1 << 30, max_disk_bytes=1 << 36)
    count = 0
    for exchange in exchanges:
        kind = "text/event-stream; charset=utf-8" if exchange.is_stream else "application/json"
        begin = {
            "started_at": time.time(),
            "method": "POST",
            "path": "/v1/chat/completions",
            "route": "default",
            "upstream": "https://api.openai.com/v1",
            "headers": [["content-type", "application/json"], ["user-agent", "OpenAI/Python 2.1.0"]],
            "key": "3f9c2b7a81d04e65",
        }
        end = {
            "outcome": "completed",
            "status": 200,
            "headers": [["content-type", kind], ["x-request-id", f"req_{count:032x}"]],
            "request_bytes": len(exchange.request),
            "response_bytes": len(exchange.answer),
            "ttft_ms": 310.25,
            "duration_ms": 1250.5,
        }
        trace_id = uuid7()
        journal.append_nowait(EntryKind.BEGIN, trace_id, begin, exchange.request)
        if exchange.is_stream:
            journal.append_nowait(EntryKind.ANSWERED, trace_id, end, exchange.answer)
            await journal.append(EntryKind.END, trace_id, end)
        else:
            await journal.append(EntryKind.END, trace_id, end, exchange.answer)
        count += 1
    await asyncio.to_thread(journal.close)
    return count


async def store(data_dir: Path) -> None:
    """Run ingest until everything is stored and the database closed."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=MAX_DECODED_BYTES))
    await asyncio.sleep(0)
    stop.set()
    await running


def read(journals: Path) -> list[RawCall]:
    """Read a journal whose writer has gone."""
    return [call for folder in sorted(journals.iterdir()) for call in JournalReader(folder).finish()]


def derive_all(calls: list[RawCall]) -> list[Trace]:
    """Make all traces."""
    return [derive(call, max_decoded_bytes=MAX_DECODED_BYTES) for call in calls]


def hash_all(traces: list[Trace]) -> None:
    """Make all rows: node ids, stitch keys, blob ids."""
    hashed = HashedMessages()
    for start in range(0, len(traces), BATCH):
        batch = Batch(hashed)
        for trace in traces[start : start + BATCH]:
            batch.add(trace)


async def index_all(data_dir: Path, traces: list[Trace]) -> float:
    """Store traces in batches as ingest does, and index each batch; return the CPU that the index took, in seconds."""
    fresh = FreshMessages()
    chore, cpu = SearchChore(fresh=fresh), 0.0
    async with await TraceWriter.open(data_dir / "indexed.db", fresh=fresh) as writer:
        for start in range(0, len(traces), BATCH):
            await writer.write(traces[start : start + BATCH])
            before = time.process_time()
            while (await writer.perform(chore)).has_more:
                pass
            cpu += time.process_time() - before
    return cpu


def stored(data_dir: Path) -> tuple[int, int]:
    """Tell how many traces can be queried, and the size of the file."""
    path = data_dir / TRACES_FILE
    connection = sqlite3.connect(path)
    count = connection.execute("SELECT count(*) FROM traces").fetchone()[0]
    connection.close()
    return count, path.stat().st_size


def measure(data_dir: Path, calls: int) -> Figures:
    """Run the phases alone, then ingest as a whole."""
    marks = [time.process_time()]
    raw = read(data_dir / JOURNAL_FOLDER)
    marks.append(time.process_time())
    traces = derive_all(raw)
    marks.append(time.process_time())
    hash_all(traces)
    marks.append(time.process_time())
    index = asyncio.run(index_all(data_dir, traces))
    del raw, traces
    begun, cpu = time.perf_counter(), time.process_time()
    asyncio.run(store(data_dir))
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    count, size = stored(data_dir)
    if count != calls:
        raise SystemExit(f"{count} of {calls} calls were stored")
    reading, deriving, hashing = ((after - before) * 1e6 / calls for before, after in pairwise(marks))
    return Figures(calls, wall_s, reading, deriving, hashing, cpu_s * 1e6 / calls, index * 1e6 / calls, size / calls)


def main() -> None:
    """Print the table; of several rounds the one with the least CPU counts, since others share the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of calls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only loads whose name holds this")
    options = parser.parse_args()
    print("| load | traces/s per core | CPU µs | reading | deriving | hashing | SQLite | index | bytes a trace |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (count, size, make) in LOADS.items():
        if options.only not in name:
            continue
        found: list[Figures] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                exchanges = make(int(count * options.scale), random.Random(1), size)
                calls = asyncio.run(write_journal(Path(folder), exchanges))
                found.append(measure(Path(folder), calls))
                shutil.rmtree(folder, ignore_errors=True)
                Path(folder).mkdir()
        best = min(found, key=lambda figures: figures.whole)
        rest = best.whole - best.reading - best.deriving - best.hashing
        costs = (best.reading, best.deriving, best.hashing, rest, best.index)
        phases = " | ".join(f"{cost:,.0f}" for cost in costs)
        print(f"| {name} | {1e6 / best.whole:,.0f} | {best.whole:,.0f} | {phases} | {best.bytes_per_call:,.0f} |")


if __name__ == "__main__":
    main()
