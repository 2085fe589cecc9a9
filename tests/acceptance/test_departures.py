"""Clients that leave, at every phase and by the hundred: nothing stays behind, and each has its one trace."""

import asyncio
import random
import re
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests import chat
from tests.process_state import open_files
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, Answer, ReceivedCall, ScriptedUpstream, Stall, event, framed

DEPARTURES = 2000
"""Each phase gets a quarter."""
AT_ONCE = 40
PHASES = ("body", "first_token", "middle", "last_block")
EVENTS = [framed(event(chunk)) for chunk in chat.chunks(chat.text("one two three four five six seven"), piece=4)]
WHOLE: Answer = [STREAM_HEAD, *EVENTS, framed(event(b"[DONE]")), STREAM_END]
SCRIPTS: dict[bytes, Answer] = {
    b"first_token": [Stall()],
    b"middle": [STREAM_HEAD, *EVENTS[:3], Stall()],
    b"last_block": WHOLE,
}


def script(call: ReceivedCall) -> Answer:
    return SCRIPTS.get(call.header(b"x-phase") or b"", WHOLE)


def head(phase: str, session: str, length: int) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: h", f"x-tracemill-session: {session}", f"x-phase: {phase}",
             "content-type: application/json", f"content-length: {length}", "", ""]  # fmt: skip
    return "\r\n".join(lines).encode()


BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'


async def leave(server: Server, phase: str, session: str, chance: random.Random) -> None:
    """Make one call and be gone in its middle: politely, or by a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    is_abrupt = chance.random() < 0.5
    size = chance.randrange(len(BODY)) if phase == "body" else len(BODY)
    writer.write(head(phase, session, len(BODY)) + BODY[:size])
    await writer.drain()
    if phase in ("body", "first_token"):
        await asyncio.sleep(chance.random() * 0.05)
    elif phase == "middle":
        await reader.readuntil(b"\n\n")
    else:
        await reader.readuntil(b"[DONE]" if is_abrupt else b"seven"[:3])
    if is_abrupt:
        writer.transport.abort()
    writer.close()


async def leave_many(server: Server) -> None:
    chance = random.Random(11)
    numbers = iter(range(DEPARTURES))

    async def keep_leaving() -> None:
        for number in numbers:
            phase = PHASES[number % len(PHASES)]
            await leave(server, phase, f"{phase}-{number}", chance)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(keep_leaving())


def all_traces(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.admin(f"/admin/api/traces?limit=500{cursor}")
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def in_flight(server: Server) -> float:
    with urllib.request.urlopen(server.admin_url + "/metrics", timeout=10) as answer:
        values = re.findall(r"^tracemill_calls_in_flight (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(float(value) for value in values)  # no value while no worker is up


@pytest.fixture
def upstream() -> Any:
    with ScriptedUpstream(script) as running:
        yield running


async def stream_whole(client: httpx.AsyncClient, server: Server) -> None:
    response = await client.post(f"{server.base_url}/chat/completions", content=BODY)
    assert response.content.endswith(b"data: [DONE]\n\n")


async def test_departures_at_every_phase_leave_nothing_behind_and_one_trace_each(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """A pool that loses a slot for some of them answers nobody in the end (encode/httpcore #1093)."""
    with Server(upstream.base_url, tmp_path / "data") as server:
        (worker,) = server.children("worker")
        async with httpx.AsyncClient(timeout=20) as client:
            await stream_whole(client, server)
        idle = open_files(worker)
        await leave_many(server)
        async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=None)) as client:
            await asyncio.gather(*(stream_whole(client, server) for _ in range(100)))
        async with asyncio.timeout(20):
            while open_files(worker) > idle + 2 or in_flight(server):
                await asyncio.sleep(0.5)
                async with httpx.AsyncClient(timeout=20) as client:  # the pool closes its idle ones on the next call
                    await stream_whole(client, server)
        traces = await asyncio.to_thread(server.wait_for, lambda: all_traces(server), DEPARTURES + 101, 20)
    assert "Traceback" not in server.log()
    left = [trace for trace in traces if trace["session"]]
    assert len(left) == len({trace["session"] for trace in left}) == DEPARTURES
    outcomes = Counter((trace["session"].split("-")[0], trace["outcome"]) for trace in left)
    quarter = DEPARTURES // len(PHASES)
    for phase in PHASES[:3]:
        assert outcomes[phase, "client_disconnect"] == quarter
    assert outcomes["last_block", "completed"] + outcomes["last_block", "client_disconnect"] == quarter
    assert outcomes["last_block", "completed"] > quarter // 3
