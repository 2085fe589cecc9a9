"""An answer that a client has whole has its trace, once, whichever of our processes is killed at that moment."""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx

from tests import chat
from tests.server import Server, export
from tests.upstream import STREAM_END, STREAM_HEAD, Answer, Dawdle, ReceivedCall, ScriptedUpstream, event, framed

STREAMS = 50
MIN_TURNS = 6
KILLS = ("worker", "ingest", "worker", "admin", "worker")


class Received(NamedTuple):
    """What one client holds in the end."""

    question: str
    text: str
    is_whole: bool


def count_up(call: ReceivedCall) -> Answer:
    """Answer with the question's own words, so that every answer is one of a kind.

    The connection is closed a while after `[DONE]`: whoever writes the trace only then is caught by a kill between.
    """
    question = call.json()["messages"][-1]["content"]
    chunks = chat.chunks(chat.text(f"You said {question}."), piece=2)
    return [
        STREAM_HEAD,
        *(framed(event(chunk)) for chunk in chunks),
        framed(event(b"[DONE]")),
        Dawdle(0.05),
        STREAM_END,
    ]


async def ask(client: httpx.AsyncClient, base_url: str, question: str) -> Received:
    body = {"model": chat.MODEL, "stream": True, "messages": [{"role": "user", "content": question}]}
    texts: list[str] = []
    is_whole = False
    try:
        async with client.stream("POST", f"{base_url}/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    is_whole = True
                elif line.startswith("data: "):
                    texts += [each["delta"].get("content") or "" for each in json.loads(line[6:])["choices"]]
    except httpx.TransportError:
        pass
    return Received(question, "".join(texts), is_whole)


async def drill(server: Server) -> list[Received]:
    """Run the streams while the processes are killed one after the other, each as soon as the last one is back."""
    received: list[Received] = []
    chance = random.Random(7)
    drilled = asyncio.Event()
    async with httpx.AsyncClient(timeout=30) as client:

        async def keep_asking(number: int) -> None:
            turn = 0
            while turn < MIN_TURNS or not drilled.is_set():
                received.append(await ask(client, server.base_url, f"{number}-{turn}"))
                turn += 1
                await asyncio.sleep(0)

        async def keep_killing() -> None:
            for role in KILLS:
                before = len(received)
                while len(received) < before + chance.randrange(10, 40):
                    await asyncio.sleep(0.005)
                killed = await asyncio.to_thread(server.kill, role)
                while killed in (alive := server.children(role)) or not alive:
                    await asyncio.sleep(0.01)
            drilled.set()

        async with asyncio.TaskGroup() as group:
            for number in range(STREAMS):
                group.create_task(keep_asking(number))
            group.create_task(keep_killing())
    return received


def test_fifty_streams_under_five_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    with ScriptedUpstream(count_up) as upstream:
        with Server(upstream.base_url, tmp_path / "data") as server:
            received = asyncio.run(drill(server))
            server.kill_supervisor()
        with Server(upstream.base_url, tmp_path / "data") as server:
            whole = [each for each in received if each.is_whole]
            exported = server.wait_for(lambda: export(tmp_path / "data"), len(whole), 20)
    cut = len(received) - len(whole)
    assert len(received) >= STREAMS * MIN_TURNS
    assert cut > 0, "no kill hit a stream: the drill proves nothing"
    texts = [line["messages"][-1]["content"] for line in exported]
    assert len(texts) == len(set(texts)), "an answer is recorded twice"
    missing = [each for each in whole if each.text not in texts]
    assert missing == []
    assert {each.text for each in whole} <= {f"You said {each.question}." for each in received}
    everything = export(tmp_path / "data", "--all")
    assert len({line["metadata"]["trace_id"] for line in everything}) == len(everything)


def test_nothing_is_left_running_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Killed while its children are still starting, too: a signal that comes before a server listens for it counts."""
    with ScriptedUpstream(count_up) as upstream:
        for number in range(3):  # each time the new worker is caught at another point of its start
            with Server(upstream.base_url, tmp_path / f"data{number}") as server:
                killed = server.kill("worker")
                server.wait_for(lambda killed=killed: set(server.children("worker")) - {killed}, 1, 10)
                left = [pid for role in ("worker", "ingest", "admin") for pid in server.children(role)]
                server.kill_supervisor()
                assert _left_after(10, left) == []


def _left_after(patience_s: float, pids: list[int]) -> list[int]:
    """Wait until the processes are gone, at most so long; return those that are not."""
    deadline = time.monotonic() + patience_s
    while (alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive
