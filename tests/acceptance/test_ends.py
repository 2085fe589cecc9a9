"""Every way a call can end: what the client sees, and what is on record."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest

from tests import chat
from tests.acceptance.test_openai_client import client, stored
from tests.server import Server
from tests.upstream import STREAM_HEAD, Hangup, Pause, Reset, ScriptedUpstream, Stall, event, framed

ASK: dict[str, Any] = {"model": chat.MODEL, "messages": [{"role": "user", "content": "Count to ten."}]}
CHUNKS = chat.chunks(chat.text("one two three four five"), piece=4)
HALF = [STREAM_HEAD, *(framed(event(chunk)) for chunk in CHUNKS[:4])]
HALF_TEXT = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in CHUNKS[:4])


def newest(server: Server, marker: str, timeout_s: float = 10) -> dict[str, Any]:
    """Return the whole trace of the session, which is stored within that time."""

    def look() -> list[dict[str, Any]]:
        page = server.admin(f"/admin/api/traces?where=session%20%3D%20'{marker}'")
        found: list[dict[str, Any]] = page["data"]
        return found

    (summary,) = server.wait_for(look, 1, timeout_s)
    whole: dict[str, Any] = server.admin(f"/admin/api/traces/{summary['id']}")
    return whole


def stream_until_broken(server: Server, marker: str) -> None:
    """Read a stream until the client says that its connection broke."""
    with client(server.base_url) as talking:
        stream = talking.chat.completions.create(**ASK, stream=True, extra_headers={"x-tracemill-session": marker})
        with pytest.raises(openai.APIConnectionError):
            list(stream)


@pytest.mark.parametrize("fault", [Reset(), Hangup()], ids=["reset", "hangup"])
def test_a_stream_that_the_upstream_cuts_is_cut_for_the_client_and_kept_so_far(
    upstream: ScriptedUpstream, server: Server, fault: Reset | Hangup
) -> None:
    """OpenTracy ends such a stream as if it were whole (HTTP 200, error:0); LiteLLM keeps nothing of it."""
    marker = f"cut-{type(fault).__name__}"
    pause = Pause()
    pause.let_go()
    upstream.script = lambda _call: [*HALF, pause, fault]
    stream_until_broken(server, marker)
    trace = newest(server, marker)
    assert trace["outcome"] == "upstream_aborted"
    assert trace["status"] == 200
    assert trace["replies"][0]["finish_reason"] is None
    assert trace["usage"] is None
    assert trace["is_complete"] is False
    assert HALF_TEXT.startswith(trace["replies"][0]["message"]["content"])
    assert trace["replies"][0]["message"]["content"] != ""


def test_a_body_shorter_than_its_length_is_not_a_whole_answer(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = lambda _call: [b'HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"id":', Hangup()]
    with client(server.base_url) as talking, pytest.raises((openai.APIConnectionError, Exception)) as caught:
        talking.chat.completions.create(**ASK, extra_headers={"x-tracemill-session": "short"})
    assert not isinstance(caught.value, openai.APIStatusError)
    assert newest(server, "short")["outcome"] == "upstream_aborted"


def test_an_answer_that_is_no_http_is_ours_to_report(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = lambda _call: [b"SSH-2.0-OpenSSH_9.2\r\n", Hangup()]
    with client(server.base_url) as talking, pytest.raises(openai.InternalServerError) as caught:
        talking.chat.completions.create(**ASK, extra_headers={"x-tracemill-session": "garbage"})
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_aborted"
    assert newest(server, "garbage")["outcome"] == "upstream_aborted"


def test_an_error_event_inside_a_stream_is_an_upstream_error_with_the_text_so_far(
    upstream: ScriptedUpstream, server: Server
) -> None:
    error = {"error": {"message": "overloaded", "type": "server_error", "code": "x"}}
    upstream.script = lambda _call: [*HALF, framed(event(error)), b"0\r\n\r\n"]
    with client(server.base_url) as talking, pytest.raises(openai.APIError, match="overloaded"):
        list(talking.chat.completions.create(**ASK, stream=True, extra_headers={"x-tracemill-session": "in-band"}))
    trace = newest(server, "in-band")
    assert trace["outcome"] == "upstream_error"
    assert "overloaded" in trace["error"]
    assert trace["replies"][0]["message"]["content"] == HALF_TEXT


@pytest.fixture
def dead_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server_on_nothing(dead_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(f"http://127.0.0.1:{dead_port}/v1", tmp_path_factory.mktemp("dead") / "data") as running:
        yield running


def test_an_upstream_that_is_down_is_said_in_the_clients_own_error_shape(server_on_nothing: Server) -> None:
    with client(server_on_nothing.base_url) as talking, pytest.raises(openai.InternalServerError) as caught:
        talking.chat.completions.create(**ASK)
    error = caught.value
    assert (error.status_code, error.code) == (502, "upstream_unreachable")
    assert "cannot be reached" in str(error)
    assert error.response.headers["x-tracemill-error"] == "upstream_unreachable"
    trace = stored(server_on_nothing, error.response.headers["x-tracemill-trace-id"])
    assert trace["outcome"] == "upstream_unreachable"
    assert trace["messages"] == ASK["messages"]
    assert trace["status"] is None


@pytest.mark.parametrize("flag", ["first-byte", "total"])
def test_silence_ends_in_a_timeout_of_ours(
    upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory, flag: str
) -> None:
    upstream.script = lambda _call: [Stall()]
    data_dir = tmp_path_factory.mktemp("silence") / "data"
    with Server(upstream.base_url, data_dir, f"--{flag}-timeout-s", "0.3") as server:
        with client(server.base_url) as talking, pytest.raises(openai.InternalServerError) as caught:
            talking.chat.completions.create(**ASK)
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        trace = stored(server, caught.value.response.headers["x-tracemill-trace-id"])
        assert trace["outcome"] == "upstream_timeout"


@pytest.mark.parametrize("is_streaming", [False, True], ids=["plain", "stream"])
def test_a_client_that_leaves_ends_the_upstreams_call_and_leaves_what_came(
    upstream: ScriptedUpstream, server: Server, is_streaming: bool
) -> None:
    """Whoever leaves before the first token is not noticed by a proxy that only writes (LiteLLM #13245, #37140)."""
    marker = f"left-{is_streaming}"
    upstream.script = lambda _call: [*HALF, Stall()] if is_streaming else [Stall()]
    body = json.dumps({**ASK, "stream": is_streaming}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"x-tracemill-session: {marker}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    count = len(upstream.calls)
    with closing(socket.create_connection(("127.0.0.1", server.port))) as leaving:
        leaving.sendall(head + body)
        if is_streaming:
            received = b""
            while event(CHUNKS[3]) not in received:
                received += leaving.recv(65536)
        else:
            server.wait_for(lambda: upstream.calls[count:], 1, 5)
    assert upstream.departures.acquire(timeout=1), "the upstream's call went on for nobody"
    trace = newest(server, marker)
    assert trace["outcome"] == "client_disconnect"
    assert trace["messages"] == ASK["messages"]
    if is_streaming:
        assert trace["replies"][0]["message"]["content"] == HALF_TEXT
        assert trace["replies"][0]["finish_reason"] is None
    else:
        assert trace["replies"] == []


def test_only_whole_answers_are_exported_unless_asked(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = lambda _call: [*HALF, Hangup()]
    stream_until_broken(server, "partial")
    newest(server, "partial")
    where = "session = 'partial'"
    assert server.export("--where", where) == []
    (line,) = server.export("--where", where, "--all")
    assert line["metadata"]["outcome"] == "upstream_aborted"
    assert line["messages"][0] == ASK["messages"][0]


def test_a_stop_finishes_what_is_in_flight_and_exits_cleanly(
    upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pause = Pause()
    whole = [framed(event(chunk)) for chunk in CHUNKS[4:]]
    upstream.script = lambda _call: [*HALF, pause, *whole, framed(event(b"[DONE]")), b"0\r\n\r\n"]
    with Server(upstream.base_url, tmp_path_factory.mktemp("stop") / "data") as server:
        talking = client(server.base_url)
        stream = talking.chat.completions.create(**ASK, stream=True)
        texts = [next(iter(stream)).choices[0].delta.content]
        server.tell_to_stop()
        pause.let_go()
        texts += [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        talking.close()
        assert server.stop() == 0
    assert "".join(text or "" for text in texts) == "one two three four five"
    (line,) = server.export()
    assert line["messages"][-1]["content"] == "one two three four five"


def test_what_outlasts_the_drain_is_recorded_as_interrupted(
    upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    upstream.script = lambda _call: [*HALF, Stall()]
    flags = ("--drain-timeout", "1")
    with Server(upstream.base_url, tmp_path_factory.mktemp("drain") / "data", *flags) as server:
        talking = client(server.base_url)
        stream = talking.chat.completions.create(**ASK, stream=True)
        for _ in HALF[1:]:
            next(stream)
        assert server.stop() == 0
        talking.close()
    (line,) = server.export("--all")
    assert line["metadata"]["outcome"] == "interrupted"
    assert line["messages"][-1]["content"] == HALF_TEXT


async def test_a_streamed_block_reaches_the_client_before_the_next_one_is_there(
    upstream: ScriptedUpstream, server: Server
) -> None:
    """Gateways have held streams back until their end, or per 16 KB (LiteLLM #26102)."""
    pauses = [Pause() for _ in CHUNKS]
    steps: list[Any] = [STREAM_HEAD]
    for chunk, pause in zip(CHUNKS, pauses, strict=True):
        steps += [framed(event(chunk)), pause]
    upstream.script = lambda _call: [*steps, framed(event(b"[DONE]")), b"0\r\n\r\n"]
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as talking:
        stream = await talking.chat.completions.create(**ASK, stream=True)
        count = 0
        async for _ in stream:
            assert pauses[count].reached.wait(5)
            assert count == len(pauses) - 1 or not pauses[count + 1].reached.is_set()
            pauses[count].let_go()
            count += 1
            await asyncio.sleep(0)
    assert count == len(CHUNKS)
