from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.asking import answer
from tests.contract.stuck_disk import StuckDisk
from tests.server import Server
from tests.upstream import ScriptedUpstream


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(answer) as running:
        yield running


@pytest.fixture
def server(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Server]:
    with Server(upstream.base_url, tmp_path / "data") as running:
        yield running


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StuckDisk:
    """Ask for it before `server`."""
    return StuckDisk(tmp_path, monkeypatch)
