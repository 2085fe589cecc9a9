"""Calls over HTTP/2 keep to themselves: one that is given up ends at once, and no other notices."""

import asyncio
import sys
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest

from proxy.errors import SettingsError
from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.proxy.wire.calls import read, request
from tests.proxy.wire.certificates import Authority
from tests.proxy.wire.http2_upstream import Http2Upstream, http2_upstream
from tests.proxy.wire.listening import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def upstream(authority: Authority) -> AsyncIterator[Http2Upstream]:
    async with http2_upstream(authority.server_context()) as running:
        yield running


@pytest.fixture
async def http2(authority: Authority, upstream: Http2Upstream) -> AsyncIterator[Pool]:
    """A pool whose connections are closed before their upstream ends."""
    assert upstream.connections == 0
    pool = Pool(proxies=UpstreamProxies.from_environment({}), tls=authority.client_context(), http2=True)
    yield pool
    await pool.aclose()


def url(upstream: Http2Upstream, path: str) -> str:
    return f"https://localhost:{upstream.port}{path}"


async def test_a_call_over_http2_keeps_its_body_and_doubled_fields(http2: Pool, upstream: Http2Upstream) -> None:
    asked = request("POST", url(upstream, "/v1/chat"), body=b"hello")
    answer = await http2.handle_async_request(asked)
    assert answer.extensions["http_version"] == b"HTTP/2"
    assert [value for name, value in answer.headers.raw if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert b"".join(await read(answer)) == b"/v1/chat"
    assert upstream.bodies == [b"hello"]


async def test_a_connection_is_used_again_after_an_answer_that_was_read_to_its_end(
    http2: Pool, upstream: Http2Upstream
) -> None:
    for number in range(3):
        assert b"".join(await read(await http2.handle_async_request(request("GET", url(upstream, f"/{number}")))))
    assert upstream.connections == 1


async def test_connections_that_nobody_takes_any_more_are_closed(authority: Authority, upstream: Http2Upstream) -> None:
    proxies = UpstreamProxies.from_environment({})
    pool = Pool(proxies=proxies, tls=authority.client_context(), http2=True, keepalive_s=0)
    answers = [await pool.handle_async_request(request("GET", url(upstream, f"/{number}"))) for number in range(4)]
    for answer in answers:
        await read(answer)
    assert upstream.open == 4
    await read(await pool.handle_async_request(request("GET", url(upstream, "/last-one"))))
    await wait_until(lambda: upstream.open == 1, 1)
    await pool.aclose()


async def test_a_call_that_is_given_up_ends_at_the_upstream_and_its_neighbours_go_on(
    http2: Pool, upstream: Http2Upstream
) -> None:
    calls = [await http2.handle_async_request(request("GET", url(upstream, "/endless"))) for _ in range(6)]
    assert upstream.open == 6
    for call in calls[::2]:
        await call.aclose()
    await wait_until(lambda: upstream.open == 3, 1)
    for call in calls[1::2]:
        blocks = aiter(call.stream)  # type: ignore[arg-type]
        assert {await anext(blocks) for _ in range(20)} == {b"x"}
        await call.aclose()
    await wait_until(lambda: upstream.open == 0, 1)


async def test_a_call_that_is_cancelled_around_its_answer_leaves_nothing_behind(
    http2: Pool, upstream: Http2Upstream
) -> None:
    for turns in range(0, 30, 2):
        calling = asyncio.create_task(http2.handle_async_request(request("GET", url(upstream, "/endless"))))
        await wait_until(lambda: upstream.open == 1)
        for _ in range(turns):
            await asyncio.sleep(0)
        calling.cancel()
        outcome = (await asyncio.gather(calling, return_exceptions=True))[0]
        if isinstance(outcome, httpx.Response):
            await outcome.aclose()
        await wait_until(lambda: upstream.open == 0, 1)


async def test_an_idle_connection_that_the_upstream_closed_costs_no_call(http2: Pool, upstream: Http2Upstream) -> None:
    for number in range(3):
        assert b"".join(await read(await http2.handle_async_request(request("POST", url(upstream, "/last")))))
        await wait_until(lambda: upstream.open == 0)
        assert upstream.connections == number + 1


async def test_http2_without_its_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    with pytest.raises(SettingsError, match="needs the package h2"):
        Pool(http2=True)
