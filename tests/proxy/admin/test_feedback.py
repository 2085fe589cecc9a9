"""Feedback over HTTP: durable and readable when the answer says so, given once, and on what there is."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from proxy.admin import feedback
from proxy.admin.app import create_admin_app
from proxy.ingest.ingest import ingest_once, run_ingest
from store.trace import Reply
from store.uuid7 import uuid7
from tests.proxy.admin.serving import Answer, Ask, serving, write
from tests.store.traces import make_trace

ANSWER = rb'{"role":"assistant","content":"\ud800 \u2028","x":1.0}'
TRACE = make_trace(
    1,
    messages=(b'{"role":"user","content":"a"}',),
    replies=(Reply(0, b'{"role":"assistant","content":"c"}'),),
    upstream_id="chatcmpl-1",
)
TYPE = {"content_type": "application/json"}


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    await write(tmp_path, TRACE)
    stop = asyncio.Event()
    ingest = asyncio.create_task(run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20))
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask
    stop.set()
    await ingest


async def give(ask: Ask, trace_id: object = TRACE.id, body: bytes | None = None, **members: Any) -> Answer:
    text = json.dumps(members).encode() if body is None else body
    answer: Answer = await ask(f"/admin/api/traces/{trace_id}/feedback", "POST", text, **TYPE)
    return answer


async def test_what_was_given_can_be_read_at_once(ask: Ask) -> None:
    given = await give(ask, name="helpful", value=True)
    assert given.status == 201
    assert (given.json["kind"], given.json["value"], given.json["by"]) == ("boolean", True, "local")
    listed = (await ask(f"/admin/api/traces/{TRACE.id}/feedback")).json["data"]
    assert listed == [given.json]
    assert (await ask(f"/admin/api/traces/{TRACE.id}")).json["feedback"] == listed
    line = json.loads((await ask("/admin/api/export")).body or b"{}")
    assert line["metadata"]["feedback"] == listed


async def test_a_demonstration_comes_back_letter_by_letter(ask: Ask) -> None:
    given = await give(ask, "chatcmpl-1", b'{ "value": ' + ANSWER + b', "choice": 0 , "by": "anna" }')
    assert given.status == 201
    assert b'"value":' + ANSWER in given.body
    assert ANSWER in (await ask("/admin/api/export")).body
    assert (await ask("/admin/api/traces/chatcmpl-1/feedback")).json["data"][0]["by"] == "anna"


async def test_feedback_asked_for_again_is_given_once(ask: Ask) -> None:
    id_ = str(uuid4())
    first = await give(ask, name="helpful", value=True, id=id_)
    again = await give(ask, name="helpful", value=True, id=id_)
    other = await give(ask, name="helpful", value=False, id=id_)
    assert (first.status, first.json["id"], again.status, again.json) == (201, id_, 201, first.json)
    assert (other.status, other.json["error"]["code"]) == (409, "conflict")
    assert len((await ask(f"/admin/api/traces/{TRACE.id}/feedback")).json["data"]) == 1


async def test_feedback_may_come_before_its_trace_but_not_for_an_id_of_nothing(ask: Ask) -> None:
    early = uuid7()
    assert (await give(ask, early, name="helpful", value=1)).status == 201
    assert len((await ask(f"/admin/api/traces/{early}/feedback")).json["data"]) == 1
    old = UUID(int=(int((datetime.now(UTC) - timedelta(days=2)).timestamp() * 1000) << 80) | 7 << 76 | 2 << 62)
    for named in (uuid4(), old, "chatcmpl-none"):
        answer = await give(ask, named, name="helpful", value=1)
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
        assert (await ask(f"/admin/api/traces/{named}/feedback")).status == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b'{"name":"a"}', "value"),
        (b'{"value":{"role":"user","content":"a"}}', "value"),
        (b'{"value":1,"name":"a","message":1}', "message"),
        (b'{"value":1,"name":"a","choice":1}', "choice"),
        (b'{"value":1,"name":"a","score":1}', "score"),
    ],
)
async def test_what_cannot_be_feedback_is_refused(ask: Ask, body: bytes, param: str | None) -> None:
    answer = await give(ask, body=body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_body")
    assert answer.json["error"]["param"] == param


async def test_feedback_that_ingest_has_not_come_to_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the disk: whoever ingests next gives it."""
    monkeypatch.setattr(feedback, "_PATIENCE_S", 0.1)
    await write(tmp_path, TRACE)
    async with serving(create_admin_app(tmp_path)) as ask:
        promised = await give(ask, name="helpful", value=True)
        assert promised.status == 202
        assert (await ask(f"/admin/api/traces/{TRACE.id}/feedback")).json["data"] == []
        await ingest_once(tmp_path, max_decoded_bytes=1 << 20)
        (listed,) = (await ask(f"/admin/api/traces/{TRACE.id}/feedback")).json["data"]
    assert listed["id"] == promised.json["id"]


async def test_a_token_that_may_only_read_gives_no_feedback(tmp_path: Path) -> None:
    await write(tmp_path, TRACE)
    async with serving(create_admin_app(tmp_path, token="a" * 16, read_token="b" * 16)) as ask:
        path = f"/admin/api/traces/{TRACE.id}/feedback"
        bearer = {"authorization": f"Bearer {'b' * 16}"}
        assert (await ask(path, "POST", b'{"name":"a","value":1}', **TYPE, **bearer)).status == 403
        assert (await ask(path, **bearer)).json == {"data": []}
