"""With redaction on, what a client and an upstream say in secret is nowhere in the data directory."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests import chat
from tests.faults.evidence import metrics
from tests.server import Server
from tests.upstream import Hangup, ReceivedCall, ScriptedUpstream, Step, framed, json_answer

MAIL = "jane.canary@example.com"
CARD = "4111111111111111"
KEY = "sk-proj-Ab3dEf6hIj9lMn2pQr5tUv8xYz1B"
PHONE = "+49 170 7654321"
TICKET = "TICKET-77001"
COUNTER = 'tracemill_ingest_redactions_total{category="ticket"}'
CANARIES = (MAIL, CARD, KEY, PHONE, TICKET)
SAID = f"{MAIL} {CARD} {KEY} {PHONE} {TICKET}"
ARGUMENTS = json.dumps({"to": MAIL, "card": int(CARD), "note": json.dumps({"key": KEY})})
REPLY = chat.calling(("send", ARGUMENTS), content=f"Sent to {SAID}; team@allowed.example")
CONFIG = r"""
redact: [all, -ipv4]
redact_rules:
  - {name: ticket, pattern: "TICKET-[0-9]{5}"}
redact_allow: ["*@allowed.example"]
"""


def script(call: ReceivedCall) -> list[Step]:
    wish = call.header(b"x-wish")
    if wish == b"error":
        return json_answer({"error": {"message": f"no such key {KEY} of {MAIL}"}}, status="401 Unauthorized")
    if wish == b"garbage":
        return [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", framed(SAID.encode()), Hangup()]
    return chat.replying(REPLY)(call)


def body(turns: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": "send", "description": f"Ask {MAIL}"}}]
    return {"model": chat.MODEL, "messages": turns, "tools": tools, "user": MAIL, "metadata": {"for": MAIL}, **fields}


def files_with(folder: Path, canary: str) -> list[str]:
    kinds = [canary.encode(), canary.encode("utf-16-le"), json.dumps(canary)[1:-1].encode()]
    return [
        str(path) for path in folder.rglob("*") if path.is_file() and any(kind in path.read_bytes() for kind in kinds)
    ]


def test_no_canary_is_in_any_file_and_the_conversation_is_one(tmp_path: Path) -> None:
    config = tmp_path / "t.yaml"
    config.write_text(CONFIG)
    with (
        ScriptedUpstream(script) as upstream,
        Server(upstream.base_url, tmp_path / "data", "--config", str(config)) as server,
    ):
        turns: list[dict[str, Any]] = [{"role": "system", "content": f"Key {KEY}, mail {MAIL}"}]
        headers = {"x-tracemill-session": MAIL, "x-tracemill-tags": json.dumps({"who": MAIL})}
        url = f"{server.base_url}/chat/completions"
        for turn in range(3):
            turns.append({"role": "user", "content": f"{turn}: {SAID}"})
            answer = httpx.post(url, json=body(turns, stream=turn == 1), headers=headers)
            assert MAIL in upstream.calls[-1].body.decode()
            assert answer.status_code == 200
            turns += [REPLY, {"role": "tool", "tool_call_id": "call_0", "content": json.dumps({"sent": MAIL})}]
        for wish in ("error", "garbage"):
            httpx.post(url, json=body([{"role": "user", "content": SAID}]), headers={**headers, "x-wish": wish})
        httpx.post(url, content=f"not JSON {SAID}".encode(), headers={**headers, "x-wish": "error"})
        traces = server.wait_traces(6)
        assert all("redacted" in trace["flags"] for trace in traces)
        (session,) = {trace["session"] for trace in traces}
        assert session.startswith("[EMAIL_")
        database = [path for path in (tmp_path / "data").iterdir() if path.name.startswith("traces.db")]
        assert database
        assert [path for path in database for canary in CANARIES if canary.encode() in path.read_bytes()] == []
        # Three calls with one, two and three questions, and their answers.
        server.wait_for(lambda: [1] * int(metrics(server).values.get(COUNTER, 0)), 10, 20)
    exported = server.export("--all")
    for canary in CANARIES:
        assert files_with(tmp_path / "data", canary) == []
        assert canary not in json.dumps(exported)
        assert canary not in server.log()
    chats = [trace for trace in exported if len(trace["messages"]) >= 2]
    assert len(chats) == 3
    for shorter, longer in pairwise(chats):
        assert longer["messages"][: len(shorter["messages"])] == shorter["messages"]
    assert "team@allowed.example" in json.dumps(chats)
