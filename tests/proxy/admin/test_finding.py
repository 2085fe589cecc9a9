"""Lists of traces on the admin side: their order, and searching what was said."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from proxy.admin.app import create_admin_app
from store.search_index import SearchChore
from store.traces import TraceWriter
from tests.proxy.admin.serving import Ask, serving
from tests.proxy.admin.test_api import CUT, EMBEDDING, WHOLE

SLOW = replace(CUT, duration_ms=900.5, messages=(b'{"role":"user","content":"<b>A refund</b>, please"}',))
FAST = replace(WHOLE, duration_ms=2.0)


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([SLOW, FAST, EMBEDDING])
        while (await writer.perform(chore := SearchChore())).has_more:
            await writer.perform(chore)
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


async def test_traces_are_listed_in_the_order_that_is_asked_for(ask: Ask) -> None:
    first = (await ask("/admin/api/traces?order=-duration_ms&limit=1")).json
    assert [each["id"] for each in first["data"]] == [str(SLOW.id)]
    second = (await ask(f"/admin/api/traces?order=-duration_ms&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in second["data"]] == [str(FAST.id)]
    oldest = (await ask("/admin/api/traces?order=created_at")).json["data"]
    assert [UUID(each["id"]).int for each in oldest] == [1, 2, 3]


async def test_a_cursor_of_another_order_is_refused(ask: Ask) -> None:
    cursor = (await ask("/admin/api/traces?order=-duration_ms&limit=1")).json["next_cursor"]
    for order in ("created_at", "duration_ms", "-prompt_tokens"):
        answer = await ask(f"/admin/api/traces?order={order}&cursor={cursor}")
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_cursor")
    answer = await ask("/admin/api/traces?order=model")
    assert (answer.status, answer.json["error"]["param"]) == (400, "order")


async def test_a_search_gives_a_plain_stretch_of_what_was_said(ask: Ask) -> None:
    answer = await ask("/admin/api/traces?where=text%20~%20refund")
    assert [each["id"] for each in answer.json["data"]] == [str(SLOW.id)]
    assert answer.json["snippets"] == {str(SLOW.id): "<b>A refund</b>, please"}
    assert answer.json["search_behind"] == 0
    answer = await ask("/admin/api/traces?where=text%20~%20%22!%22")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_filter")


async def test_counts_and_metrics_tell_how_far_the_index_is_behind(ask: Ask, tmp_path: Path) -> None:
    assert (await ask("/admin/api/stats")).json["search_behind"] == 0
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([replace(WHOLE, id=UUID(int=9), messages=(b'{"role":"user","content":"new"}',))])
    assert (await ask("/admin/api/stats")).json["search_behind"] == 2
    assert "tracemill_search_behind_messages 2.0" in (await ask("/metrics")).body.decode().splitlines()


async def test_without_a_search_there_is_nothing_to_tell_of_one(ask: Ask) -> None:
    answer = (await ask("/admin/api/traces")).json
    assert (answer["search_behind"], answer["snippets"]) == (None, {})
