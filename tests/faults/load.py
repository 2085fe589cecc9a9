"""Load from real clients: many at once, plain and streamed, each answer one of a kind, and a note of what came back."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import httpx2 as httpx

from tests import chat
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, Answer, Dawdle, ReceivedCall, event, framed, json_answer

PADDING = "x" * 1500


class Received(NamedTuple):
    """What one client holds in the end.

    Attributes:
        trace_id: As the answer's header says; None when no head came.
        is_whole: Whether the client was sent the last byte, or `[DONE]`.
        seconds: From the call to its end, whatever end that was.
        client: Number of the client that asked, from 0.
    """

    question: str
    text: str
    is_whole: bool
    status: int | None
    trace_id: str | None
    seconds: float
    client: int


def own_words(question: str) -> str:
    return f"You said {question}. {PADDING}"


def answer_in_own_words(call: ReceivedCall) -> Answer:
    """Answer with the question's own words, so that every answer is one of a kind.

    A stream's connection is closed a while after `[DONE]`: whoever writes the trace only then is caught by a kill
    between.
    """
    body = call.json()
    message = chat.text(own_words(body["messages"][-1]["content"]))
    if not body.get("stream"):
        return json_answer(chat.completion(message))
    pieces = [framed(event(chunk)) for chunk in chat.chunks(message, piece=400)]
    return [STREAM_HEAD, *pieces, framed(event(b"[DONE]")), Dawdle(0.02), STREAM_END]


async def ask(client: httpx.AsyncClient, base_url: str, question: str, *, stream: bool, number: int = 0) -> Received:
    """Make one call; a call that fails is an answer that is not whole."""
    body = {"model": chat.MODEL, "stream": stream, "messages": [{"role": "user", "content": question}]}
    text, is_whole, status, trace_id = "", False, None, None
    began = time.perf_counter()
    try:
        async with client.stream("POST", f"{base_url}/chat/completions", json=body) as response:
            status = response.status_code
            trace_id = response.headers.get("x-tracemill-trace-id")
            if stream:
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        is_whole = True
                    elif line.startswith("data: "):
                        text += "".join(
                            each["delta"].get("content") or "" for each in json.loads(line[6:]).get("choices", ())
                        )
            else:
                read = await response.aread()
                is_whole = True
                text = json.loads(read)["choices"][0]["message"]["content"] if status == 200 else ""
    except (httpx.TransportError, json.JSONDecodeError):
        pass
    seconds = time.perf_counter() - began
    return Received(question, text, is_whole and status == 200, status, trace_id, seconds, number)


class Load:
    """Clients that keep asking, each one call after the other, until they are told to stop."""

    def __init__(self, clients: int = 12, *, timeout_s: float = 20) -> None:
        self.received: list[Received] = []
        self._clients = clients
        self._timeout_s = timeout_s
        self._numbers = itertools.count()
        self._stop = asyncio.Event()

    async def run(self, base_url: Callable[[], str], stop: asyncio.Event | None = None) -> Self:
        """Ask until stopped; `base_url` is looked up for each call."""
        if stop is not None:
            self._stop = stop

        async def keep_asking(client: httpx.AsyncClient, asker: int) -> None:
            while not self._stop.is_set():
                number = next(self._numbers)
                got = await ask(client, base_url(), f"question {number}", stream=number % 2 == 0, number=asker)
                self.received.append(got)
                # A server that is not there refuses at once; nobody is helped by asking it a thousand times.
                await asyncio.sleep(0 if got.status else 0.02)

        async with httpx.AsyncClient(timeout=self._timeout_s) as client, asyncio.TaskGroup() as group:
            for asker in range(self._clients):
                group.create_task(keep_asking(client, asker))
        return self

    @asynccontextmanager
    async def on(self, server: Server) -> AsyncIterator[Self]:
        """Ask for as long as the block runs; then let the calls under way end."""
        self._stop = asyncio.Event()
        running = asyncio.create_task(self.run(lambda: server.base_url))
        try:
            yield self
        finally:
            self._stop.set()
            await running

    @property
    def whole(self) -> list[Received]:
        return [each for each in self.received if each.is_whole]

    def waiting_since(self, seen: int) -> int:
        """Return how many clients have had no call end since that many had ended.

        A machine that is busy slows every call, so no time can tell whether one waited for a fault. But a client whose
        call waits for the end of a fault ends none as long as the fault lasts.
        """
        return self._clients - len({each.client for each in self.received[seen:]})

    async def more(self, count: int, timeout_s: float = 30) -> None:
        """Wait until that many more calls are answered whole."""
        wanted = len(self.whole) + count
        await wait_until(lambda: len(self.whole) >= wanted, timeout_s)


async def kill_and_wait(server: Server, role: str) -> None:
    """End one process of that role as `kill -9` does, and wait until another has its place."""
    # On a thread: the clients' answers would wait in their sockets while this loop looks for the process.
    killed = await asyncio.to_thread(server.kill, role)

    def is_replaced() -> bool:
        alive = server.children(role)
        return bool(alive) and killed not in alive

    await wait_until(is_replaced)


async def wait_until(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    """Return the condition's value once it is true.

    Raises:
        AssertionError: It did not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come to that within {timeout_s} s"
        await asyncio.sleep(0.01)
    return value


def p99_ms(received: list[Received]) -> float:
    """Return the time that 99 of 100 calls took at most, in milliseconds."""
    times = sorted(each.seconds for each in received)
    return round(times[int(len(times) * 0.99)] * 1000, 1) if times else 0.0
