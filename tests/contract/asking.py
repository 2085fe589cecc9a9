"""Calls on the bare socket whose answers repeat the question, so that each can be told from all others."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests import chat
from tests.faults.evidence import metrics
from tests.raw_client import RawClient, Received
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, Answer, ReceivedCall, event, framed, json_answer

ROLES = ("worker", "ingest", "admin")


def answer(call: ReceivedCall) -> Answer:
    """Repeat the question, streamed when asked to."""
    body = call.json()
    message = chat.text(f"You said {body['messages'][-1]['content'][:60]}.")
    if not body.get("stream"):
        return json_answer(chat.completion(message))
    return [STREAM_HEAD, *stream_events(message), framed(event(b"[DONE]")), STREAM_END]


def stream_events(message: dict[str, Any]) -> list[bytes]:
    return [framed(event(chunk)) for chunk in chat.chunks(message, piece=8)]


HALF = [STREAM_HEAD, *stream_events(chat.text("one two three four five six seven"))[:4]]
"""The beginning of a streamed answer."""


def request(question: str, *, stream: bool = False, session: str | None = None) -> bytes:
    """Return the bytes of one call; the upstream does not see the session."""
    body = {"model": chat.MODEL, "stream": stream, "messages": [{"role": "user", "content": question}]}
    return request_of(json.dumps(body).encode(), session=session)


def request_of(body: bytes, *, session: str | None = None) -> bytes:
    named = f"x-tracemill-session: {session}\r\n" if session else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n{named}content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(server: Server, question: str, *, stream: bool = False, session: str | None = None) -> Received:
    """Make one call and read its answer to the end."""
    with RawClient(server.port) as client:
        client.send(request(question, stream=stream, session=session))
        return client.read_answer(b"POST")


class Timed(NamedTuple):
    received: Received
    seconds: float


def ask_timed(server: Server, question: str, *, stream: bool = False) -> Timed:
    began = time.monotonic()
    received = ask(server, question, stream=stream)
    return Timed(received, time.monotonic() - began)


def trace_id(received: Received) -> str:
    return received.values(b"x-tracemill-trace-id")[0].decode()


def reply_of(line: dict[str, Any]) -> str:
    """Return the assistant's words in an exported line."""
    content: str = line["messages"][-1]["content"]
    return content


def wait_until(condition: Callable[[], Any], timeout_s: float = 10) -> Any:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come to that within {timeout_s} s"
        time.sleep(0.01)
    return value


def kill_everything(server: Server) -> None:
    """End all processes of a server at once, as a machine does that runs out of memory."""
    pids = [pid for role in ROLES for pid in server.children(role)]
    server.process.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.process.wait(10)


def settle(server: Server) -> None:
    """Wait until the journal has caught up and calls wait for it again."""
    wait_until(lambda: metrics(server).total("tracemill_journal_pending_bytes") == 0)
    wait_until(lambda: metrics(server).total("tracemill_journal_stuck") == 0)
