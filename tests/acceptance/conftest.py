from collections.abc import Iterator

import pytest

from tests.server import Server
from tests.upstream import ScriptedUpstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script=lambda _call: []) as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module's calls; tests tell their own traces apart by the trace id of their answers."""
    with Server(upstream.base_url, tmp_path_factory.mktemp("serve") / "data") as running:
        yield running
