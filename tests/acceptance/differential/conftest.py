from collections.abc import Iterator

import pytest

from tests.raw_upstream import RawUpstream
from tests.server import Server


@pytest.fixture(scope="session")
def raw_upstream() -> Iterator[RawUpstream]:
    with RawUpstream(script=lambda _request: []) as running:
        yield running


@pytest.fixture(scope="session")
def raw_server(raw_upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(raw_upstream.base_url, tmp_path_factory.mktemp("differential") / "data") as running:
        yield running
