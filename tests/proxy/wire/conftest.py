import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop

from proxy.wire.pool import Pool
from proxy.wire.upstream_proxy import UpstreamProxies
from tests.upstream import ScriptedUpstream


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what stands on sockets on the loop that workers use, and the pool, which others can use, on asyncio's too."""
    if item.path.name.startswith(("test_pool", "test_upstream")):
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script=lambda _call: []) as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    running = Pool(proxies=UpstreamProxies.from_environment({}))
    yield running
    await running.aclose()
