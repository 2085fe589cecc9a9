"""SIGHUP: every process gets a successor with the settings of now, and no call notices."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests import chat
from tests.server import Server
from tests.upstream import (
    STREAM_END,
    STREAM_HEAD,
    Answer,
    Pause,
    ReceivedCall,
    ScriptedUpstream,
    event,
    framed,
    json_answer,
)

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
EVENTS = [framed(event(chunk)) for chunk in chat.chunks(chat.text("one two three"))]


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(lambda _call: json_answer(chat.completion(chat.text("Hello")))) as running:
        yield running


def hang_up(server: Server) -> None:
    """Send SIGHUP and return when every process has been replaced."""
    before = {role: set(server.children(role)) for role in ("worker", "ingest", "admin")}
    server.process.send_signal(signal.SIGHUP)

    def replaced() -> list[str]:
        now = {role: set(server.children(role)) for role in before}
        return [role for role in before if now[role] and not now[role] <= before[role]]

    server.wait_for(replaced, len(before), 20)


async def test_every_process_is_replaced_and_no_call_is_lost_or_refused(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """A stream goes on where it was, and new calls are answered all the while; one process alone hears no SIGHUP."""
    hold = Pause()

    def script(call: ReceivedCall) -> Answer:
        if call.header(b"x-slow"):
            return [STREAM_HEAD, EVENTS[0], hold, *EVENTS[1:], framed(event(b"[DONE]")), STREAM_END]
        return json_answer(chat.completion(chat.text("Hello")))

    upstream.script = script
    with Server(upstream.base_url, tmp_path / "data", "--workers", "2") as server:
        is_over = threading.Event()
        statuses: list[int] = []

        async def keep_calling(client: httpx.AsyncClient) -> None:
            while not is_over.is_set():
                response = await client.post(f"{server.base_url}/chat/completions", content=BODY)
                statuses.append(response.status_code)

        async with httpx.AsyncClient(timeout=20) as client, asyncio.TaskGroup() as group:
            slow = group.create_task(
                client.post(f"{server.base_url}/chat/completions", content=BODY, headers={"x-slow": "1"})
            )
            assert await asyncio.to_thread(hold.reached.wait, 10)
            for _ in range(4):
                group.create_task(keep_calling(client))
            for role in ("worker", "ingest", "admin"):
                for pid in server.children(role):
                    os.kill(pid, signal.SIGHUP)
            await asyncio.to_thread(hang_up, server)
            hold.let_go()
            answer = await slow
            is_over.set()
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert set(statuses) == {200}
        traces = server.wait_for(lambda: all_traces(server), len(statuses) + 1, 20)
        assert len(traces) == len({trace["id"] for trace in traces}) == len(statuses) + 1
        assert {trace["outcome"] for trace in traces} == {"completed"}
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def all_traces(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = server.admin(f"/admin/api/traces?limit=500{cursor}")
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def ask(server: Server) -> httpx.Response:
    return httpx.post(f"{server.base_url}/chat/completions", content=BODY, timeout=10)


def test_settings_of_the_file_are_read_anew_and_a_broken_file_changes_nothing(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "tracemill.yaml"
    config.write_text("max_body_bytes: 1048576\n")
    with Server(upstream.base_url, tmp_path / "data", "--config", str(config)) as server:
        assert ask(server).status_code == 200
        config.write_text("max_body_bytes: 1024\nworkers: 3\n")
        hang_up(server)
        response = httpx.post(f"{server.base_url}/chat/completions", content=b"x" * 2000, timeout=10)
        assert response.status_code == 413
        assert ask(server).status_code == 200
        assert "workers cannot change while serving" in server.log()
        complaint = "the settings stay as they were"
        contradiction = "no_capture: true\non_capture_failure: refuse\n"
        for count, broken in enumerate(("max_body_bites: 1\n", contradiction), 1):
            config.write_text(broken)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(lambda: [complaint] * server.log().count(complaint), count, 10)
        assert ask(server).status_code == 200
        assert server.stop() == 0
