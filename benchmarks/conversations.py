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
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from store.conversation_expressions import PARENT
from store.conversation_follower import Conversations
from store.conversation_lookup import id_of_conversation
from store.conversation_settling import ConversationSettling, stitch_again
from store.follower import StoredTrace
from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter

BATCH_CALLS = 500
WORDS = ["".join(random.Random(n).choices("aeiounrstlmdkgpb", k=2 + n % 9)) for n in range(4000)]
PROMPTS = [" ".join(random.Random(n).choices(WORDS, k=60)) for n in range(20)]
GREETINGS = [("Hi", "Hello! How can I help you today?"), ("Hello", "Hello! What can I do for you?")]
FAQ = [
    (
        f"What are your opening hours in {town}?",
        f"Our office in {town} is open from Monday to Friday between 9 am and 5 pm, except on public holidays.",
    )
    for town in ("Oslo", "Bergen", "Tromsø")
]
BOILERPLATE = [("yes", "ok"), ("ok", "Done."), ("thanks", "You're welcome!"), ("no", "I see."), ("continue", "ok")]
KINDS = ("plain", "regenerated", "edited", "greeting", "tools", "session", "truncated", "boilerplate")
WHOLE = KINDS[:-2]
"""Kinds whose calls all hold their whole history, and can be stitched without a doubt."""
START = datetime(2026, 1, 1, tzinfo=UTC)

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A call, and what is known of it.

    Attributes:
        conversation: Names the conversation that it belongs to.
        parent: The call that it goes on from.
        is_cut: Whether its client left out the beginning of the history.
    """

    trace: Trace
    kind: str
    conversation: str
    parent: UUID | None
    is_cut: bool


@dataclass(slots=True)
class Chat:
    """One conversation while it is made up."""

    number: int
    kind: str
    chance: random.Random
    at: datetime
    system: Message | None
    session: str | None = None
    window: int | None = None
    keeps_system: bool = True
    made: list[Known] = field(default_factory=list)

    def call(self, history: Sequence[Message], parent: UUID | None, reply: Message | None) -> UUID:
        """Make one call a little later than the one before."""
        self.at += timedelta(microseconds=self.chance.randrange(1_000_000, 60_000_000))
        sent = list(history)
        is_cut = self.window is not None and len(sent) > self.window
        if is_cut:
            sent = sent[-self.window :]
        if self.system is not None and (self.keeps_system or not is_cut):
            sent = [self.system, *sent]
        trace = Trace(
            id=UUID(int=self.number << 64 | len(self.made) << 32 | self.chance.getrandbits(32)),
            created_at=self.at,
            method="POST",
            path="/v1/chat/completions",
            route="default",
            upstream="https://api.openai.com/v1",
            outcome=Outcome.COMPLETED if reply else Outcome.UPSTREAM_ERROR,
            endpoint="chat.completions",
            requested_model="gpt-4o-mini",
            messages=tuple(text_of(message) for message in sent),
            replies=() if reply is None else (Reply(0, text_of({**reply, "refusal": None}), "stop"),),
            prompt_tokens=10 * len(sent),
            completion_tokens=10,
            session=self.session,
        )
        name = self.session or json.dumps([self.system, history[0]])
        self.made.append(Known(trace, self.kind, name, parent, is_cut))
        return trace.id

    def say(self, least: int = 8) -> str:
        """Say something that nobody else says."""
        return " ".join(self.chance.choices(WORDS, k=self.chance.randrange(least, 3 * least)))


def text_of(message: Message) -> bytes:
    """Write a message as clients do."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def user(text: str) -> Message:
    """Make a message of the user's."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Make a reply."""
    return {"role": "assistant", "content": text}


def hold(chat: Chat) -> list[Known]:
    """Hold a conversation of its kind."""
    chance, history, parent = chat.chance, [], None
    turns = chance.randrange(1, 8) if chat.kind != "truncated" else chance.randrange(6, 12)
    for turn in range(turns):
        asked, answered = exchange(chat, turn)
        history = [*history, user(asked)]
        if chance.random() < 0.03:
            chat.call(history, parent, None)
        if chat.kind == "regenerated" and chance.random() < 0.5:
            chat.call(history, parent, assistant(chat.say()))
        if chat.kind == "tools":
            parent, history = use_tool(chat, history, parent)
        reply = assistant(answered)
        parent_before, parent = parent, chat.call(history, parent, reply)
        if chat.kind == "edited" and turn and chance.random() < 0.5:
            edited = [*history[:-1], user(chat.say())]
            chat.call(edited, parent_before, assistant(chat.say()))
        history = [*history, reply]
        if chat.kind == "session" and chance.random() < 0.3:
            history, parent = [], None
    return chat.made


def exchange(chat: Chat, turn: int) -> tuple[str, str]:
    """Choose what is asked and answered in a turn."""
    chance = chat.chance
    if chat.kind in ("greeting", "session") and turn == 0:
        return chance.choice(GREETINGS)
    if chat.kind == "boilerplate" and turn:
        return chance.choice(BOILERPLATE + FAQ)
    if chat.kind == "truncated" and chance.random() < 0.1:
        return chance.choice(FAQ + BOILERPLATE)
    return chat.say(), chat.say(12)


def use_tool(chat: Chat, history: list[Message], parent: UUID | None) -> tuple[UUID, list[Message]]:
    """Have the model call a tool first; the client's echo has other white space and another id."""
    arguments = {"city": chat.chance.choice(WORDS), "days": chat.chance.randrange(9)}
    called = {"type": "function", "function": {"name": "weather", "arguments": json.dumps(arguments)}}
    echoed = {"type": "function", "function": {"name": "weather", "arguments": json.dumps(arguments, indent=1)}}
    parent = chat.call(history, parent, {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **called}]})
    return parent, [
        *history,
        {"role": "assistant", "tool_calls": [{"id": "b", **echoed}]},
        {"role": "tool", "tool_call_id": "b", "content": chat.say()},
    ]


def make_calls(conversations: int, chance: random.Random) -> list[Known]:
    """Make conversations up; the calls come in the order of conversations."""
    calls: list[Known] = []
    for number in range(1, conversations + 1):
        kind = chance.choice(KINDS)
        system = {"role": "system", "content": chance.choice(PROMPTS)} if chance.random() < 0.8 else None
        chat = Chat(number, kind, chance, START + timedelta(seconds=chance.randrange(1_000_000)), system)
        if kind == "session":
            chat.session = f"session-{number}"
        if kind in ("truncated", "boilerplate") and (kind == "truncated" or chance.random() < 0.2):
            chat.window = chance.randrange(5, 12)
            chat.keeps_system = chance.random() < 0.5
        calls += hold(chat)
    return calls


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
