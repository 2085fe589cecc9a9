"""A change asked for on the command line is applied with a server and without one, by the server's rules."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from proxy.journal.writer import JOURNAL_FOLDER
from proxy.serve.ingest_process import SETTINGS_FILE
from store.change import ChangeKind, ChangeRecord
from store.errors import StoreError
from tests.server import Server, export
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain
from tracemill.change_request import ask, make_change


def script(_call: ReceivedCall) -> Answer:
    return plain(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"mail me at a@example.com"}}]}')


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


def noted(data_dir: Path, number: int) -> ChangeRecord:
    found = ask(data_dir, make_change(ChangeKind.EXPORT, {"number": number}))
    assert found is not None
    return found


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
        with pytest.raises(
            StoreError, match=r"journal: cannot be written \(File too large\), so nothing was asked for"
        ):
            ask(tmp_path, make_change(ChangeKind.EXPORT, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def test_a_change_is_applied_without_a_server_and_beside_one(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = noted(data_dir, 1)
    with Server(upstream.base_url, data_dir):
        second = noted(data_dir, 2)
    third = noted(data_dir, 3)
    assert [each.result for each in (first, second, third)] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert [each.number for each in (first, second, third)] == [1, 2, 3]
    assert all(each.asked_by for each in (first, second, third))
    assert list((data_dir / JOURNAL_FOLDER).iterdir()) == []


def test_what_a_dead_server_left_is_redacted_as_it_was_told_to(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A command must not store in the clear what the server was told to redact."""
    data_dir = tmp_path / "data"
    with Server(upstream.base_url, data_dir, "--redact", "personal") as server:
        server.wait_for(lambda: [True] if (data_dir / SETTINGS_FILE).exists() else [], 1, 10)
        assert (data_dir / SETTINGS_FILE).stat().st_mode & 0o777 == 0o600
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        answer = httpx.post(f"{server.base_url}/chat/completions", content=b'{"model":"m","messages":[]}')
        assert answer.status_code == 200
        os.kill(ingest, signal.SIGKILL)
        server.kill_supervisor()
        server.wait_for(lambda: [True] if not server.children("worker") else [], 1, 10)
    noted(data_dir, 1)
    (line,) = export(data_dir, "--all")
    assert "mail me at" in str(line)
    assert "a@example.com" not in str(line)
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"a@example.com" in path.read_bytes()]
