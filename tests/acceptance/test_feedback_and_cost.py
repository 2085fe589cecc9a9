"""Through the front door: a call, what it cost, and what somebody thought of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests import chat
from tests.server import Server, export
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain

USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 500_000}}


def script(_call: ReceivedCall) -> Answer:
    return plain(json.dumps({**chat.completion(chat.text("Lyon.")), "usage": USAGE}).encode())


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


def test_feedback_on_an_answer_is_given_with_the_id_that_came_with_it(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, while the trace may not be stored yet; and the call costs what the settings say."""
    table = [{"model": "*", "input": 2, "output": 8, "cached": 1}]
    monkeypatch.setenv("TRACEMILL_PRICES", json.dumps(table))
    corrected = {"role": "assistant", "content": "Paris."}
    with Server(upstream.base_url, tmp_path / "data") as server:
        body = {"model": "m", "messages": [{"role": "user", "content": "Capital of France?"}]}
        answer = httpx.post(f"{server.base_url}/chat/completions", json=body)
        path = f"{server.admin_url}/admin/api/traces/{answer.headers['x-tracemill-trace-id']}/feedback"
        given = [httpx.post(path, json=asked) for asked in ({"name": "helpful", "value": False}, {"value": corrected})]
        assert [each.status_code for each in given] == [201, 201]
        server.wait_traces(1)

        def priced() -> list[object]:
            """The first step of the chore may come after the trace."""
            groups = server.admin("/admin/api/stats?group_by=model")["usage"]["groups"]
            return [group for group in groups if group["cost_usd"] is not None]

        (group,) = server.wait_for(priced, 1, 10)
        assert (group["model"], group["cost_usd"]) == ("m", 1.5)
        (line,) = server.export("--where", "feedback.helpful = false and has_demonstration and cost > 1")
    assert [each["value"] for each in line["metadata"]["feedback"]] == [False, corrected]
    assert export(tmp_path / "data") == [line]
