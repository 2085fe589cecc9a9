"""The bytes of a call, over HTTP, while they are kept."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from proxy.admin.app import create_admin_app
from proxy.admin.shapes.raw import RawCall
from proxy.journal.call_entries import call_entries
from store.raw_calls import RawCalls, RawRetention
from store.trace_writer import TraceWriter
from tests.proxy.admin.serving import serving
from tests.proxy.admin.test_shapes import unknown_members
from tests.proxy.ingest.raw_calls import BASE, made

BINARY = replace(BASE, trace_id=UUID(int=8), response_body=b"\xff\x00", is_response_truncated=True, response_bytes=99)


async def store(data_dir: Path) -> None:
    raw = RawCalls(data_dir, RawRetention(10**9, 7))
    raw.offer({call.trace_id: call_entries(call) for call in (BASE, BINARY)})
    async with await TraceWriter.open(data_dir / "traces.db", raw_calls=raw) as writer:
        traces = [made(), replace(made(), id=BINARY.trace_id, upstream_id="c-8"), replace(made(), id=UUID(int=9))]
        await writer.write(traces)


async def test_what_was_sent_and_came_back_is_given_as_it_was(tmp_path: Path) -> None:
    await store(tmp_path)
    async with serving(create_admin_app(tmp_path)) as ask:
        text = await ask(f"/admin/api/traces/{BASE.trace_id}/raw")
        binary = (await ask("/admin/api/traces/c-8/raw")).json
    given = RawCall.model_validate_json(text.body)
    assert unknown_members(given) == []
    assert (given.request.body.encode(), given.request.body_encoding) == (BASE.request_body, "utf-8")
    assert given.response.headers == [list(pair) for pair in BASE.response_headers]
    assert (given.status, given.outcome, given.path) == (200, "completed", "/v1/chat/completions")
    assert binary["response"] == {
        "headers": json.loads(text.body)["response"]["headers"],
        "body": "/wA=",
        "body_encoding": "base64",
        "bytes": 99,
        "is_truncated": True,
    }


async def test_what_is_not_kept_is_not_found(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path)) as ask:
        assert (await ask(f"/admin/api/traces/{BASE.trace_id}/raw")).status == 404
    await store(tmp_path)
    async with serving(create_admin_app(tmp_path)) as ask:
        bare = await ask(f"/admin/api/traces/{UUID(int=9)}/raw")
        unknown = await ask(f"/admin/api/traces/{UUID(int=10)}/raw")
    assert (bare.status, unknown.status) == (404, 404)
    assert "raw_retention" in bare.json["error"]["message"]
    assert "raw_retention" not in unknown.json["error"]["message"]
