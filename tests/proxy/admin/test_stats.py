"""What calls used and cost, over HTTP."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from proxy.admin.app import create_admin_app
from tests.proxy.admin.serving import serving, write
from tests.store.traces import STARTED_AT, make_trace

USAGE = b'{"prompt_tokens":10,"completion_tokens":5}'
TRACES = [
    make_trace(1, requested_model="a", usage=USAGE, prompt_tokens=10),
    make_trace(2, requested_model="a", status=500),
    make_trace(3, requested_model="b", usage=USAGE, created_at=STARTED_AT + timedelta(days=1)),
]


async def asked(tmp_path: Path, **query: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    await write(tmp_path, *TRACES)
    async with serving(create_admin_app(tmp_path)) as ask:
        answer = await ask(f"/admin/api/stats?{urlencode(query)}")
        return answer.status, answer.json


async def test_calls_are_counted_by_what_they_have_in_common(tmp_path: Path) -> None:
    status, told = await asked(tmp_path, group_by="model,day")
    assert status == 200
    usage = told["usage"]
    assert [(group["model"], group["day"], group["calls"]) for group in usage["groups"]] == [
        ("a", "2026-01-01", 2),
        ("b", "2026-01-02", 1),
    ]
    assert (usage["is_scan"], usage["total"]["input_tokens"], usage["total"]["cost_usd"]) == (False, 20, None)
    assert (usage["total"]["unpriced_calls"], usage["total"]["unreported_calls"]) == (2, 1)
    assert (told["traces"], told["prompt_tokens"], told["by_model"]) == (3, 10, {"a": 2, "b": 1})


async def test_days_and_a_filter_select(tmp_path: Path) -> None:
    _, told = await asked(tmp_path, **{"from": "2026-01-02", "to": "2026-01-02"})
    assert (told["usage"]["total"]["calls"], told["usage"]["groups"]) == (1, [])
    _, told = await asked(tmp_path, where="status = 500", group_by="status", to="2026-01-01")
    assert told["usage"]["is_scan"] is True
    assert [(group["status"], group["calls"]) for group in told["usage"]["groups"]] == [("5xx", 1)]


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ({"group_by": "colour"}, "invalid_parameter", "group_by"),
        ({"from": "yesterday"}, "invalid_parameter", "from"),
        ({"where": "colour = red"}, "invalid_filter", "where"),
    ],
)
async def test_what_cannot_be_asked_is_refused(tmp_path: Path, query: dict[str, str], code: str, param: str) -> None:
    status, told = await asked(tmp_path, **query)
    assert (status, told["error"]["code"], told["error"]["param"]) == (400, code, param)


async def test_a_store_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path / "none")) as ask:
        told = (await ask("/admin/api/stats?group_by=model")).json
    assert (told["traces"], told["usage"]["total"]["calls"], told["usage"]["groups"]) == (0, 0, [])
