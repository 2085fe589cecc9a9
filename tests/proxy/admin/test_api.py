import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from proxy.admin.app import create_admin_app
from store.trace import DeadLetter, Outcome, Reply, Trace
from tests.proxy.admin.serving import Ask, listening, serving, write

START = datetime(2026, 1, 2, tzinfo=UTC)
WHOLE = Trace(
    id=UUID(int=1),
    created_at=START,
    method="POST",
    path="/v1/chat/completions",
    route="default",
    upstream="http://u/v1",
    status=200,
    outcome=Outcome.COMPLETED,
    endpoint="chat.completions",
    requested_model="m-1",
    messages=(b'{"role":"user","content":"Hi"}',),
    parameters=b'{"model":"m-1","parallel_tool_calls":true}',
    replies=(Reply(0, b'{"role":"assistant","content":"Hello"}', "stop"),),
    upstream_id="chatcmpl-1",
    request_id='req"1\\',
)
CUT = replace(WHOLE, id=UUID(int=2), created_at=START + timedelta(seconds=1), outcome=Outcome.CLIENT_DISCONNECT)
EMBEDDING = Trace(
    id=UUID(int=3),
    created_at=START + timedelta(seconds=2),
    method="POST",
    path="/v1/embeddings",
    route="default",
    upstream="http://u/v1",
    outcome=Outcome.COMPLETED,
)


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    await write(tmp_path, WHOLE, CUT, EMBEDDING, dead_letters=(DeadLetter("torn", "A writer died.", b"x"),))
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


async def test_traces_are_listed_newest_first_page_by_page(ask: Ask) -> None:
    first = (await ask("/admin/api/traces?limit=2")).json
    assert [summary["id"] for summary in first["data"]] == [str(EMBEDDING.id), str(CUT.id)]
    second = (await ask(f"/admin/api/traces?limit=2&cursor={first['next_cursor']}")).json
    assert [summary["id"] for summary in second["data"]] == [str(WHOLE.id)]
    assert second["next_cursor"] is None
    assert second["data"][0]["outcome"] == "completed"
    assert second["data"][0]["created_at"] == "2026-01-02T00:00:00+00:00"


async def test_a_filter_selects(ask: Ask) -> None:
    found = (await ask("/admin/api/traces?where=outcome%20%3D%20client_disconnect")).json["data"]
    assert [summary["id"] for summary in found] == [str(CUT.id)]


@pytest.mark.parametrize("asked", [str(WHOLE.id), WHOLE.id.hex])
async def test_a_trace_is_found_by_its_id(ask: Ask, asked: str) -> None:
    shown = (await ask(f"/admin/api/traces/{asked}")).json
    assert shown["id"] == str(WHOLE.id)
    assert shown["messages"] == [{"role": "user", "content": "Hi"}]
    assert shown["replies"][0]["message"] == {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize("asked", ["chatcmpl-1", "req%221%5C"])
async def test_a_trace_is_found_by_the_ids_a_client_holds(ask: Ask, asked: str) -> None:
    assert (await ask(f"/admin/api/traces/{asked}")).json["id"] == str(CUT.id)


@pytest.mark.parametrize("asked", ["nothing", "%22%20or%201", str(UUID(int=9)), "%00", "..%2f..%2fetc"])
async def test_an_id_that_names_nothing_is_not_found(ask: Ask, asked: str) -> None:
    answer = await ask(f"/admin/api/traces/{asked}")
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


async def test_export_streams_the_lines_of_whole_traces(ask: Ask) -> None:
    answer = await ask("/admin/api/export")
    (line,) = answer.body.splitlines()
    assert json.loads(line) == {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "metadata": {"trace_id": str(WHOLE.id)},
    }
    assert answer.headers["content-type"] == "application/x-ndjson"


async def test_export_takes_format_filter_and_all(ask: Ask) -> None:
    answer = await ask("/admin/api/export?format=openai&all=true&where=outcome%20!=%20completed")
    (line,) = answer.body.splitlines()
    assert json.loads(line)["parallel_tool_calls"] is True
    assert json.loads(line)["metadata"]["outcome"] == "client_disconnect"


async def test_a_large_export_comes_whole(tmp_path: Path) -> None:
    content = "x" * 2000
    traces = [
        replace(WHOLE, id=UUID(int=n), messages=(json.dumps({"role": "user", "content": f"{n} {content}"}).encode(),))
        for n in range(1, 301)
    ]
    await write(tmp_path, *traces)
    async with serving(create_admin_app(tmp_path)) as ask:
        lines = (await ask("/admin/api/export")).body.splitlines()
    assert [json.loads(line)["metadata"]["trace_id"] for line in lines] == [str(trace.id) for trace in traces]


async def test_stats_count_what_is_there(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "journal" / "w1").mkdir(parents=True)
    (tmp_path / "journal" / "w1" / "00000001.seg").write_bytes(b"12345")
    stats = (await ask("/admin/api/stats")).json
    assert (stats["traces"], stats["complete"], stats["dead_letters"], stats["journal_bytes"]) == (3, 1, 1, 5)
    assert stats["by_outcome"] == {"client_disconnect": 1, "completed": 2}
    assert stats["by_model"] == {"m-1": 2, "": 1}


async def test_metrics_tell_what_the_store_holds(ask: Ask) -> None:
    lines = (await ask("/metrics")).body.decode().splitlines()
    assert {"tracemill_traces 3.0", "tracemill_dead_letters 1.0", "tracemill_journal_bytes 0.0"} <= set(lines)


async def test_before_the_first_trace_everything_is_empty_and_later_it_is_not(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path / "data")) as ask:
        assert (await ask("/admin/api/traces")).json["data"] == []
        assert (await ask("/admin/api/stats")).json["traces"] == 0
        assert (await ask("/admin/api/export")).body == b""
        assert b"tracemill_traces 0.0" in (await ask("/metrics")).body
        assert (await ask("/admin/api/traces/x")).status == 404
        await write(tmp_path / "data", WHOLE)
        assert (await ask("/admin/api/stats")).json["traces"] == 1


async def test_a_database_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "traces.db").write_bytes(b"this is no database, and never was one" * 10)
    async with serving(create_admin_app(tmp_path)) as ask:
        for path in ("/admin/api/traces", "/admin/api/export", "/admin/api/stats", "/readyz"):
            answer = await ask(path)
            assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
            assert "traces.db" in answer.json["error"]["message"]
            assert str(tmp_path) not in answer.body.decode()
            assert "traces.db" in answer.json["error"]["message"]
        assert (await ask("/healthz")).status == 200
        told = await ask("/metrics")
        assert told.status == 200, "what else is counted is wanted most when the store is in trouble"
        assert b"\ntracemill_build_info{" in told.body
        assert b"\ntracemill_traces " not in told.body


# One error shape -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "status", "code", "param"),
    [
        ("/nothing", "GET", 404, "not_found", None),
        ("/admin/api/traces/", "GET", 404, "not_found", None),
        ("/admin/api/traces", "POST", 405, "method_not_allowed", None),
        ("/healthz", "DELETE", 405, "method_not_allowed", None),
        ("/admin/api/traces?limit=0", "GET", 400, "invalid_parameter", "limit"),
        ("/admin/api/traces?limit=501", "GET", 400, "invalid_parameter", "limit"),
        ("/admin/api/traces?limit=%D9%A3", "GET", 400, "invalid_parameter", "limit"),
        ("/admin/api/traces?limit=1&limit=2", "GET", 400, "invalid_parameter", "limit"),
        ("/admin/api/traces?wher=x", "GET", 400, "invalid_parameter", "wher"),
        ("/admin/api/traces?cursor=junk", "GET", 400, "invalid_cursor", "cursor"),
        ("/admin/api/traces?where=bogus%20=%201", "GET", 400, "invalid_filter", "where"),
        ("/admin/api/export?where=(", "GET", 400, "invalid_filter", "where"),
        ("/admin/api/export?format=csv", "GET", 400, "invalid_parameter", "format"),
        ("/admin/api/export?all=maybe", "GET", 400, "invalid_parameter", "all"),
    ],
)
async def test_every_error_has_one_shape(
    ask: Ask, path: str, method: str, status: int, code: str, param: str | None
) -> None:
    answer = await ask(path, method)
    assert answer.status == status
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert (answer.json["error"]["code"], answer.json["error"]["param"]) == (code, param)


async def test_a_failure_of_ours_has_the_shape_too(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE)
    async with serving(create_admin_app(tmp_path)) as ask:
        assert (await ask("/admin/api/stats")).status == 200
        with closing(sqlite3.connect(tmp_path / "traces.db")) as database, database:
            database.execute("UPDATE traces SET outcome = 'unheard of'")
        answer = await ask("/admin/api/traces")
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_client_that_leaves_within_its_body_is_one_quiet_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, framing: bytes
) -> None:
    async with listening(create_admin_app(tmp_path)) as port:
        head = b"POST /admin/api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with caplog.at_level("INFO", "tracemill.admin"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head + framing)
            await writer.drain()
            writer.transport.abort()
            async with asyncio.timeout(10):
                while not caplog.records:
                    await asyncio.sleep(0.01)
    (told,) = caplog.records
    assert (told.levelname, told.exc_info) == ("INFO", None)
    assert told.getMessage() == "POST /admin/api/jobs: the client left before its body was whole; nothing was done"


async def test_who_cannot_read_the_store_is_not_ready(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path)) as ask:
        assert (await ask("/readyz")).status == 200, "a store that is not there yet is empty, not broken"
        (tmp_path / "traces.db").write_bytes(b"not a database" * 100)
        refused = await ask("/readyz")
    assert refused.status == 503
    assert b"traces.db" in refused.body
