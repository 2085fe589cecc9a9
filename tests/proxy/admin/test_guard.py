from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.admin.app import create_admin_app
from proxy.admin.bearer import FailedTokens, Tokens
from proxy.admin.guard import AdminGuard
from tests.proxy.admin.serving import Ask, serving


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    async with serving(create_admin_app(tmp_path)) as ask:
        yield ask


TOKEN = "a-token-of-sixteen-or-more"
READ_TOKEN = "another-token-for-readers"


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/admin/api/traces", "/admin/api/export", "/nothing"])
async def test_without_its_token_nothing_is_told(tmp_path: Path, path: str) -> None:
    async with serving(create_admin_app(tmp_path, token=TOKEN)) as ask:
        for wrong in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
        ):
            answer = await ask(path, **wrong)
            assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_token")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN.encode() not in answer.body
        assert (await ask(path, Authorization=f"bearer {TOKEN}")).status in (200, 404)


async def test_health_needs_no_token(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, token=TOKEN)) as ask:
        assert (await ask("/healthz")).body == b"ok\n"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:8081/#@evil.example", ""])
async def test_a_foreign_host_name_is_refused_everywhere(ask: Ask, host: str) -> None:
    for path in ("/healthz", "/admin/api/traces"):
        answer = await ask(path, Host=host)
        assert answer.status == 403
        assert answer.json["error"]["code"] == "host_not_allowed"


async def test_the_name_of_the_admin_host_is_allowed(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, own_names=["admin.internal"])) as ask:
        assert (await ask("/healthz", Host="admin.internal:8081")).status == 200


async def test_answers_are_not_sniffed_cached_or_shared(ask: Ask) -> None:
    for path in ("/healthz", "/admin/api/traces", "/admin/api/export", "/nothing"):
        headers = (await ask(path, Origin="http://evil.example")).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert not any(name.startswith("access-control-") for name in headers)


async def test_each_token_reads_and_only_the_one_for_it_changes(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, token=TOKEN, read_token=READ_TOKEN)) as ask:
        for token in (TOKEN, READ_TOKEN):
            assert (await ask("/admin/api/stats", Authorization=f"Bearer {token}")).status == 200
        assert (await ask("/admin/api/stats")).status == 401


async def test_a_read_token_alone_keeps_everybody_else_out(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, read_token=READ_TOKEN)) as ask:
        assert (await ask("/admin/api/stats")).status == 401
        assert (await ask("/admin/api/stats", Authorization=f"Bearer {READ_TOKEN}")).status == 200


async def test_a_peer_that_guesses_is_refused_for_the_rest_of_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    failed = FailedTokens(most=3, clock=lambda: now[0])
    guarded = create_admin_app(tmp_path)
    async with serving(AdminGuard(guarded, tokens=Tokens(admin=TOKEN), failed=failed)) as ask:
        for _ in range(3):
            assert (await ask("/admin/api/stats", Authorization="Bearer wrong")).status == 401
        now[0] = 18.5
        refused = await ask("/admin/api/stats", Authorization=f"Bearer {TOKEN}")
        assert (refused.status, refused.json["error"]["code"]) == (429, "too_many_failures")
        assert refused.headers["retry-after"] == "42"
        assert (await ask("/healthz")).status == 200
        now[0] = 60.0
        assert (await ask("/admin/api/stats", Authorization=f"Bearer {TOKEN}")).status == 200


async def test_requests_without_a_token_are_no_guesses(tmp_path: Path) -> None:
    async with serving(create_admin_app(tmp_path, token=TOKEN)) as ask:
        for _ in range(30):
            assert (await ask("/admin/api/stats")).status == 401
        assert (await ask("/admin/api/stats", Authorization=f"Bearer {TOKEN}")).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_page_of_another_origin_is_refused_whatever_it_asks(ask: Ask, method: str) -> None:
    answer = await ask("/admin/api/stats", method, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
    assert (answer.status, answer.json["error"]["code"]) == (403, "foreign_origin")


async def test_a_link_that_somebody_follows_is_answered(ask: Ask) -> None:
    answer = await ask("/admin/api/stats", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert answer.status == 200
