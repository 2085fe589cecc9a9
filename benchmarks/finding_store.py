"""A store of many traces to ask questions of: made once for each layout, then kept in the temporary folder.

Thirty days of calls of about 2 KB: single questions and growing chats under a few hot system prompts, with models,
outcomes, sessions, users, tags, metadata, tools and finish reasons as unevenly spread as they are in life.
"""

import hashlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

from store import json_text
from store.trace import Flag, Outcome, Reply, Trace
from store.traces import TraceWriter

DAYS = 30
WORDS = ["".join(random.Random(n).choices("aeiounrstlmdkgpb", k=2 + n % 9)) for n in range(30_000)]
_WEIGHTS = list(accumulate(1 / (rank + 10) for rank in range(len(WORDS))))
MODELS = ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "claude-sonnet-4-5", "o4-mini", "llama-3.3-70b", "qwen3-32b", "phi-4"]
_MODEL_WEIGHTS = list(accumulate([50, 25, 10, 8, 4, 2, 0.9, 0.1]))
COMMON_WORD, RARE_WORD, OLD_WORD = "invoice", "zebrafish", "quokka"
_SYSTEM = [f"You are the assistant of team {n}. Handle each invoice with care. " + "Be brief. " * 60 for n in range(20)]
_BATCH = 2000
_LAYOUT = "4"
"""Changed with what is written here."""


class Calls:
    """Makes traces, the same for the same seed; each is later than the one before."""

    def __init__(self, seed: int, begin: datetime, step: timedelta) -> None:
        self._chance = random.Random(seed)
        self._moment = begin
        self._step = step
        self._chats: list[list[bytes]] = []
        self._count = 0

    def make(self, count: int) -> Iterator[Trace]:
        """Give the next traces."""
        for _ in range(count):
            yield self._trace()

    def _say(self, words: int) -> str:
        return " ".join(self._chance.choices(WORDS, cum_weights=_WEIGHTS, k=words))

    def _trace(self) -> Trace:
        chance = self._chance
        self._count += 1
        self._moment += self._step * chance.uniform(0.2, 1.8)
        draw = chance.random
        model = chance.choices(MODELS, cum_weights=_MODEL_WEIGHTS)[0]
        outcome, status = Outcome.COMPLETED, 200
        if draw() < 0.02:
            outcome, status = Outcome.UPSTREAM_ERROR, chance.choices((429, 500, 400, 529), (60, 25, 14, 1))[0]
        is_calling = draw() < 0.1
        team = int(draw() ** 2 * 40)
        duration_ms = chance.lognormvariate(7, 1)
        messages, reply = self._messages(outcome, is_calling=is_calling)
        return Trace(
            id=UUID(int=int(self._moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(62)),
            created_at=self._moment,
            method="POST",
            path="/v1/chat/completions",
            route="default" if draw() < 0.9 else "batch",
            upstream="https://api.openai.com/v1",
            outcome=outcome,
            endpoint="chat.completions",
            status=status,
            is_streaming=draw() < 0.5,
            requested_model=model,
            served_model=model + "-2025-04-14",
            messages=tuple(messages),
            tools=b'[{"type":"function","function":{"name":"look_up"}}]' if is_calling else None,
            parameters=b'{"temperature":0.2}',
            replies=() if reply is None else (Reply(0, reply, self._finish_reason(is_calling=is_calling)),),
            usage=b'{"prompt_tokens":400,"completion_tokens":100,"total_tokens":500}',
            prompt_tokens=int(chance.lognormvariate(6, 1)),
            completion_tokens=int(chance.lognormvariate(5, 0.8)),
            ttft_ms=duration_ms / 5,
            duration_ms=duration_ms,
            upstream_id=f"chatcmpl-{chance.getrandbits(96):024x}",
            request_id=f"req_{chance.getrandbits(128):032x}",
            session=f"session-{int(draw() * self._count / 20)}" if draw() < 0.6 else None,
            user=f"user-{int(draw() ** 3 * 20_000)}" if draw() < 0.5 else None,
            tags={"team": f"team-{team}", "release": f"v{self._count // 50_000}"} if draw() < 0.5 else {},
            metadata=self._metadata() if draw() < 0.5 else None,
            key_fingerprint=f"{int(draw() ** 2 * 50):016x}",
            error=None if outcome is Outcome.COMPLETED else '{"error":{"message":"Rate limit reached"}}',
            flags=frozenset({Flag.NO_USAGE}) if draw() < 0.02 else frozenset(),
            request_bytes=1500,
            response_bytes=600,
        )

    def _finish_reason(self, *, is_calling: bool) -> str:
        if is_calling:
            return "tool_calls"
        return "length" if self._chance.random() < 0.003 else "stop"

    def _metadata(self) -> bytes:
        chance = self._chance
        value: dict[str, Any] = {
            "customer": f"c-{int(chance.random() ** 2 * 5000)}",
            "job": f"{chance.getrandbits(64):016x}",
            "plan": {"tier": chance.choice(("free", "pro", "pro", "team")), "seats": chance.randrange(100)},
        }
        return json.dumps(value, separators=(",", ":")).encode()

    def _messages(self, outcome: Outcome, *, is_calling: bool) -> tuple[list[bytes], bytes | None]:
        chance = self._chance
        history: list[bytes] = []
        if chance.random() < 0.5:
            if self._chats and chance.random() < 0.8:
                history = self._chats[chance.randrange(len(self._chats))]
            else:
                history = [json_text.dumps({"role": "system", "content": chance.choice(_SYSTEM)})]
                self._chats.append(history)
                if len(self._chats) > 200:
                    del self._chats[chance.randrange(200)]
        text = self._say(80)
        # Words by which the questions find one trace in 200, one in 20,000, and ten of the first days.
        if chance.random() < 0.005:
            text += " " + COMMON_WORD
        if chance.random() < 0.000_05:
            text += " " + RARE_WORD
        if self._count % 2000 == 0 and self._count <= 20_000:
            text += " " + OLD_WORD
        history.append(json_text.dumps({"role": "user", "content": text}))
        messages = list(history)
        if outcome is not Outcome.COMPLETED:
            return messages, None
        reply: dict[str, Any] = {"role": "assistant", "content": self._say(60)}
        if is_calling:
            name = "look_up" if chance.random() < 0.9 else "book"
            arguments = json.dumps({"query": self._say(3)})
            reply = {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
                ],
            }
        answer = json_text.dumps(reply)
        history.append(answer)
        if len(history) > 40 and history in self._chats:
            self._chats.remove(history)
        return messages, answer


def folder(count: int, schema: str) -> Path:
    """Name the folder that keeps the store of so many traces of this layout."""
    version = hashlib.sha256((_LAYOUT + schema).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / "tracemill-finding" / f"{count}-{version}"


async def build(path: Path, count: int) -> None:
    """Write a store whose last trace is made now."""
    made = path.with_name("making.db")
    for file in made.parent.glob("making.db*"):  # of a run that was ended
        file.unlink()
    step = timedelta(days=DAYS) / count
    calls = Calls(1, datetime.now(UTC) - timedelta(days=DAYS), step)
    began = time.monotonic()
    async with await TraceWriter.open(made) as writer:
        for done in range(0, count, _BATCH):
            await writer.write(list(calls.make(min(_BATCH, count - done))))
            if done % 50_000 == 0:
                print(f"  {done:,} traces, {time.monotonic() - began:.0f} s", flush=True)
    made.replace(path)
