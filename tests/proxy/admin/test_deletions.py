"""Erasing over HTTP: what is asked is on the disk when it is answered, and done by ingest."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.admin.app import create_admin_app
from proxy.serve.ingest_process import ingest_as_served
from store.uuid7 import uuid7
from tests.proxy.admin.serving import Ask, serving, write
from tests.proxy.admin.test_api import CUT, WHOLE

READ_TOKEN, TOKEN = "a-token-that-may-only-read", "a-token-that-may-do-everything"
ERASURES = "/admin/api/erasures"


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    await write(tmp_path, WHOLE, CUT)
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


async def post(ask: Ask, body: Any) -> Any:
    return await ask(ERASURES, "POST", json.dumps(body).encode(), **{"Content-Type": "application/json"})


async def all_done(ask: Ask, data_dir: Path) -> None:
    """Take the journals in until every erasure is finished: the admin side gives its own up when it is idle."""
    deadline = asyncio.get_running_loop().time() + 15
    while True:
        await ingest_as_served(data_dir)
        changes = (await ask("/admin/api/changes?kind=erase")).json["data"]
        if all(each["finished_at"] for each in changes):
            return
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)


async def ids(ask: Ask) -> set[UUID]:
    return {UUID(trace["id"]) for trace in (await ask("/admin/api/traces")).json["data"]}


async def test_a_trace_is_erased_and_the_answer_tells_where_to_look(ask: Ask, tmp_path: Path) -> None:
    answer = await ask(f"/admin/api/traces/{WHOLE.id}", "DELETE")
    assert answer.status == 202
    change = answer.json["change_id"]
    assert (await ask(f"{ERASURES}/{change}")).json["phase"] == "asked"
    await all_done(ask, tmp_path)
    done = (await ask(f"{ERASURES}/{change}")).json
    assert (done["phase"], done["result"]["traces"]) == ("done", 1)
    assert done["trace_ids"] == [str(WHOLE.id)]
    assert await ids(ask) == {CUT.id}
    listed = (await ask("/admin/api/changes?kind=erase")).json["data"]
    assert [each["id"] for each in listed] == [change]


async def test_what_nobody_knows_is_not_found_but_a_call_in_flight_may_be_erased(ask: Ask) -> None:
    assert (await ask(f"/admin/api/traces/{UUID(int=99)}", "DELETE")).status == 404
    assert (await ask("/admin/api/traces/chatcmpl-none", "DELETE")).status == 404
    assert (await ask(f"/admin/api/traces/{uuid7()}", "DELETE")).status == 202
    for unknown in (str(UUID(int=99)), "x", str(uuid7())):
        assert (await ask(f"{ERASURES}/{unknown}")).status == 404


async def test_sessions_users_and_filters_are_erased(ask: Ask, tmp_path: Path) -> None:
    for answer in (
        await ask("/admin/api/sessions/nobody's", "DELETE"),
        await ask("/admin/api/users/%C3%A9mile", "DELETE"),
        await post(ask, {"user": "a/b"}),
        await post(ask, {"where": "not complete"}),
    ):
        assert answer.status == 202
    await all_done(ask, tmp_path)
    assert await ids(ask) == {WHOLE.id}
    changes = (await ask("/admin/api/changes?kind=erase")).json["data"]
    assert sorted(each["result"]["by"] for each in changes) == ["session", "user", "user", "where"]


@pytest.mark.parametrize(
    "body",
    [{}, {"user": "a", "session": "b"}, {"user": ""}, {"traces": []}, {"traces": ["x"]}, {"conversation": "x"}, []],
)
async def test_what_cannot_be_told_is_refused(ask: Ask, body: Any) -> None:
    answer = await post(ask, body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_body")


async def test_a_filter_that_cannot_be_understood_is_refused_with_its_position(ask: Ask) -> None:
    answer = await post(ask, {"where": "modle = x"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_filter")


async def test_a_token_that_may_only_read_erases_nothing(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE)
    async with serving(create_admin_app(tmp_path, token=TOKEN, read_token=READ_TOKEN)) as ask:
        for path in (f"/admin/api/traces/{WHOLE.id}", "/admin/api/users/u", "/admin/api/sessions/s"):
            answer = await ask(path, "DELETE", Authorization=f"Bearer {READ_TOKEN}")
            assert (answer.status, answer.json["error"]["code"]) == (403, "scope_missing")
    assert not (tmp_path / "journal").exists()
