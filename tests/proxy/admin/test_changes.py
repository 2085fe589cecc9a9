"""What is asked of the store by way of the admin side, and the audit log of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from proxy.admin.app import create_admin_app
from proxy.admin.shapes.change import Change, ChangePage
from proxy.serve.ingest_process import ingest_as_served
from store.change import ChangeKind
from tests.proxy.admin.serving import Ask, serving, write
from tests.proxy.admin.test_api import CUT, WHOLE

READ_TOKEN = "a-token-that-may-only-read"


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    await write(tmp_path, WHOLE, CUT)
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


async def log(ask: Ask, query: str = "") -> ChangePage:
    return ChangePage.model_validate_json((await ask(f"/admin/api/changes{query}")).body)


async def test_an_export_stands_in_the_audit_log_with_its_filter_and_without_contents(ask: Ask, tmp_path: Path) -> None:
    assert (await ask("/admin/api/export?where=model%20%3D%20m-1&format=openai")).status == 200
    await ingest_as_served(tmp_path)
    (found,) = (await log(ask)).data
    assert (found.kind, found.asked_by) == ("export", "local")
    assert found.result == {"where": "model = m-1", "format": "openai", "all": False}
    assert found.finished_at is not None
    one = await ask(f"/admin/api/changes/{found.id}")
    assert Change.model_validate_json(one.body) == found


async def test_the_audit_log_tells_whose_token_it_was(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE)
    async with serving(create_admin_app(tmp_path, read_token=READ_TOKEN)) as ask:
        await ask("/admin/api/export", Authorization=f"Bearer {READ_TOKEN}")
        await ingest_as_served(tmp_path)
        listed = await ask("/admin/api/changes", Authorization=f"Bearer {READ_TOKEN}")
    (found,) = listed.json["data"]
    assert found["asked_by"] == "read"
    assert READ_TOKEN not in str(found)


async def test_the_audit_log_is_read_page_by_page_and_by_kind(ask: Ask, tmp_path: Path) -> None:
    for limit in range(1, 4):
        await ask(f"/admin/api/export?where=status%20%3D%20{limit}")
    await ingest_as_served(tmp_path)
    seen: list[object] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await log(ask, f"?limit=1&cursor={cursor}")
        seen += [change.result["where"] for change in page.data]
        cursor = page.next_cursor
    assert seen == ["status = 3", "status = 2", "status = 1"]
    assert (await log(ask, "?kind=erase")).data == []
    assert len((await log(ask, "?kind=export")).data) == 3


async def test_what_is_asked_wrongly_of_the_audit_log_is_refused(ask: Ask) -> None:
    for query, param in (("cursor=x", "cursor"), ("cursor=-1", "cursor"), ("kind=nothing", "kind")):
        answer = await ask(f"/admin/api/changes?{query}")
        assert (answer.status, answer.json["error"]["param"]) == (400, param)
    for unknown in (UUID(int=5), "junk"):
        assert (await ask(f"/admin/api/changes/{unknown}")).status == 404


async def test_an_export_that_cannot_be_written_down_gives_nothing(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE)
    (tmp_path / "journal").write_text("a file where the folder should be")
    async with serving(create_admin_app(tmp_path)) as ask:
        answer = await ask("/admin/api/export")
    assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
    assert b"Hello" not in answer.body


async def test_asking_for_the_head_of_an_export_exports_nothing(ask: Ask, tmp_path: Path) -> None:
    answer = await ask("/admin/api/export", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    await ingest_as_served(tmp_path)
    assert (await log(ask)).data == []


async def test_without_capture_the_data_directory_is_left_alone(tmp_path: Path) -> None:
    await write(tmp_path, WHOLE)
    async with serving(create_admin_app(tmp_path, is_captured=False)) as ask:
        assert b"Hello" in (await ask("/admin/api/export")).body
    assert not (tmp_path / "journal").exists()


def test_kinds_are_those_of_the_store() -> None:
    kinds = Change.model_json_schema()["properties"]["kind"]["enum"]
    assert kinds == [kind.value for kind in ChangeKind]
