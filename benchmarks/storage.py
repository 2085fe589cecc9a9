"""What a conversation costs on disk, recorded call by call, beside a plain table of requests and answers.

    .venv/bin/python benchmarks/storage.py [--conversations 20]

The plain table keeps the JSON of request and answer of every call, as most recorders do; beside it the same JSON packed
with zstd, row by row. Ours is the database file after the same calls, all indexes included, divided by the calls.
"""

import argparse
import asyncio
import random
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from backports import zstd

from store import json_text
from store.search_index import SearchChore
from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter
from store.uuid7 import uuid7

TURNS = (1, 12, 50)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{n}",
            "description": "Does one thing well. " * 4,
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
    for n in range(20)
]
WORDS = [
    "account",
    "balance",
    "card",
    "transfer",
    "please",
    "today",
    "amount",
    "month",
    "savings",
    "checking",
    "limit",
    "fee",
    "open",
    "close",
    "what",
    "when",
]


def say(chance: random.Random, words: int) -> str:
    """Return that many words."""
    return " ".join(chance.choice(WORDS) for _ in range(words))


def conversation(chance: random.Random, turns: int) -> list[Trace]:
    """Return the calls of one conversation: a system prompt of 10 KB, 20 tools, the history sent whole on each call."""
    messages = [json_text.dumps({"role": "system", "content": say(random.Random(0), 1500)})]
    calls = []
    for _ in range(turns):
        messages.append(json_text.dumps({"role": "user", "content": say(chance, 25)}))
        reply = json_text.dumps({"role": "assistant", "content": say(chance, 60), "refusal": None})
        calls.append(
            Trace(
                id=uuid7(),
                created_at=datetime.now(UTC),
                method="POST",
                path="/v1/chat/completions",
                route="default",
                upstream="https://api.example/v1",
                outcome=Outcome.COMPLETED,
                endpoint="chat.completions",
                status=200,
                requested_model="m",
                served_model="m",
                messages=tuple(messages),
                tools=json_text.dumps(TOOLS),
                parameters=b'{"model":"m","temperature":0.2}',
                replies=(Reply(0, reply, "stop"),),
                usage=b'{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}',
                ttft_ms=210.5,
                duration_ms=900.25,
            )
        )
        messages.append(json_text.dumps({"role": "assistant", "content": json_text.loads(reply)["content"]}))
    return calls


def as_sent(trace: Trace) -> tuple[bytes, bytes]:
    """Return request and answer as they crossed the wire."""
    messages = b",".join(trace.messages)
    request = b'{"model":"m","temperature":0.2,"messages":[%s],"tools":%s}' % (messages, trace.tools or b"[]")
    answer = b'{"id":"c","choices":[{"index":0,"message":%s,"finish_reason":"stop"}],"usage":%s}' % (
        trace.replies[0].message,
        trace.usage or b"null",
    )
    return request, answer


def plain_table(path: Path, traces: list[Trace], *, is_packed: bool) -> int:
    """Store every call's request and answer in a row of its own; return the file's size."""
    pack = zstd.compress if is_packed else bytes
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE calls (id BLOB PRIMARY KEY, at TEXT, request BLOB, answer BLOB)")
        rows = [(trace.id.bytes, trace.created_at.isoformat(), *map(pack, as_sent(trace))) for trace in traces]
        connection.executemany("INSERT INTO calls VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return path.stat().st_size


async def our_store(path: Path, traces: list[Trace], *, is_indexed: bool) -> int:
    """Store the calls as ingest does, with the index for search or without; return the file's size."""
    chore = SearchChore()
    async with await TraceWriter.open(path) as writer:
        for start in range(0, len(traces), 200):
            await writer.write(traces[start : start + 200])
            while is_indexed and (await writer.perform(chore)).has_more:
                pass
    return path.stat().st_size  # noqa: ASYNC240 - nothing else runs in this loop


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=20)
    count = parser.parse_args().conversations
    print("| turns | calls | plain table, bytes a call | zstd rows | ours | plain : ours | with index | plain : that |")
    print("|---|---|---|---|---|---|---|---|")
    for turns in TURNS:
        chance = random.Random(turns)
        traces = [call for _ in range(count) for call in conversation(chance, turns)]
        with tempfile.TemporaryDirectory() as folder:
            plain = plain_table(Path(folder) / "plain.db", traces, is_packed=False)
            packed = plain_table(Path(folder) / "packed.db", traces, is_packed=True)
            ours = asyncio.run(our_store(Path(folder) / "traces.db", traces, is_indexed=False))
            indexed = asyncio.run(our_store(Path(folder) / "indexed.db", traces, is_indexed=True))
        calls = len(traces)
        sizes = " | ".join(f"{size / calls:,.0f}" for size in (plain, packed, ours))
        print(f"| {turns} | {calls} | {sizes} | {plain / ours:.1f} | {indexed / calls:,.0f} | {plain / indexed:.1f} |")


if __name__ == "__main__":
    main()
