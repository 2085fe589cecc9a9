"""Conversations that are made up, with everything that clients do; which call belongs where is known."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from store.trace import Outcome, Reply, Trace

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
