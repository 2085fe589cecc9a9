"""Backups on the command line: made beside a running server, checked, and restored with nothing lost or doubled."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest

from store.schema_version import TRACES
from tests.command_line import run_here
from tests.folder_state import folder_state
from tests.server import Server, export
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain
from tracemill import data_backup
from tracemill.data_backup import make_backup

ANSWER = b'{"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'


def script(_call: ReceivedCall) -> Answer:
    return plain(ANSWER)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


def ask(server: Server, text: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    assert httpx.post(f"{server.base_url}/chat/completions", json=body).status_code == 200


def texts(data_dir: Path) -> Counter[str]:
    """Count the calls of a data directory by what was asked."""
    return Counter(trace["messages"][0]["content"] for trace in export(data_dir))


class Result(NamedTuple):
    code: int
    out: str
    err: str


def backup(data_dir: Path, *arguments: str | Path) -> Result:
    done = run_here(["backup", "--data-dir", data_dir, *arguments])
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def filled(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory at rest, with three calls."""
    data_dir = tmp_path_factory.mktemp("filled") / "data"
    with Server(upstream.base_url, data_dir) as server:
        for number in range(3):
            ask(server, f"call {number}")
        server.wait_traces(3)
    return data_dir


def test_a_backup_made_under_load_holds_every_call_answered_before_it_once(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir, copy, restored = tmp_path / "data", tmp_path / "copy", tmp_path / "restored"
    answered: list[str] = []
    is_over = threading.Event()

    def load(server: Server) -> None:
        number = 0
        while not is_over.is_set():
            ask(server, f"call {number}")
            answered.append(f"call {number}")
            number += 1

    with Server(upstream.base_url, data_dir) as server:
        caller = threading.Thread(target=load, args=(server,))
        caller.start()
        try:
            server.wait_traces(30)
            before = list(answered)
            made = backup(data_dir, copy, "--with-raw")
        finally:
            is_over.set()
            caller.join(30)
        assert (made.code, made.err) == (0, "")
    assert backup(data_dir, copy, "--verify").code == 0
    shutil.copytree(copy, restored)
    with Server(upstream.base_url, restored) as server:
        ask(server, "afterwards")
        server.wait_for(lambda: [1] if "afterwards" in texts(restored) else [], 1, 20)
    found = texts(restored)
    assert set(before) <= set(found)
    assert set(found) <= {*answered, "afterwards"}
    assert set(found.values()) == {1}
    ids = [trace["metadata"]["trace_id"] for trace in export(restored)]
    kept = run_here(["traces", "show", ids[0], "--data-dir", restored, "--raw"])
    assert "call 0" in kept.stdout


def test_calls_that_wait_in_the_journal_are_in_the_backup(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir, copy = tmp_path / "data", tmp_path / "copy"
    with Server(upstream.base_url, data_dir) as server:
        ask(server, "stored")
        server.wait_traces(1)
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        try:
            ask(server, "waiting")
            assert backup(data_dir, copy).code == 0
        finally:
            os.kill(ingest, signal.SIGCONT)
    assert texts(copy) == {"stored": 1}
    with Server(upstream.base_url, copy) as server:
        server.wait_traces(2)
    assert texts(copy) == {"stored": 1, "waiting": 1}


def test_an_older_database_put_back_beside_newer_journals_takes_in_what_it_has_not_seen(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """What a newer database had stored is gone with it; what waits in the journals is not, and nothing is doubled."""
    data_dir, copy = tmp_path / "data", tmp_path / "copy"
    with Server(upstream.base_url, data_dir) as server:
        ask(server, "before")
        server.wait_traces(1)
        assert backup(data_dir, copy).code == 0
        ask(server, "between")
        server.wait_traces(2)
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        ask(server, "waiting")
        os.kill(ingest, signal.SIGKILL)
        server.kill_supervisor()
        server.wait_for(lambda: [] if server.children("worker") else [1], 1, 10)
    for path in data_dir.glob("traces.db*"):
        path.unlink()
    shutil.copy(copy / "traces.db", data_dir / "traces.db")
    with Server(upstream.base_url, data_dir) as server:
        server.wait_for(lambda: [1] if "waiting" in texts(data_dir) else [], 1, 20)
    found = texts(data_dir)
    assert found["before"] == found["waiting"] == 1
    assert set(found.values()) == {1}


def test_a_newer_database_put_back_beside_older_journals_doubles_nothing(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir, journals = tmp_path / "data", tmp_path / "journals"
    with Server(upstream.base_url, data_dir) as server:
        for number in range(5):
            ask(server, f"call {number}")
        server.wait_traces(5)
        shutil.copytree(data_dir / "journal", journals, ignore=shutil.ignore_patterns("lock"))
        ask(server, "later")
        server.wait_traces(6)
    shutil.copytree(journals, data_dir / "journal", dirs_exist_ok=True)
    with Server(upstream.base_url, data_dir) as server:
        server.wait_for(lambda: [] if len(list((data_dir / "journal").iterdir())) > 1 else [1], 1, 20)
    assert texts(data_dir) == {**{f"call {number}": 1 for number in range(5)}, "later": 1}


def test_files_and_folders_of_a_backup_are_for_their_owner_alone(filled: Path, tmp_path: Path) -> None:
    os.umask(0o022)
    (filled / "kept").mkdir()
    (filled / "kept" / "prompts.gz").write_bytes(b"packed")
    assert backup(filled, tmp_path / "copy", "--with-raw").code == 0
    below = [tmp_path / "copy", *(tmp_path / "copy").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in below if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in below if path.is_dir()} == {0o700}
    names = {path.relative_to(tmp_path / "copy").parts[0] for path in below[1:]}
    assert {"traces.db", "key-salt", "raw", "backup.json", "ingest-settings.json", "kept"} <= names
    assert run_here(["doctor", "--data-dir", tmp_path / "copy", "--verify"]).returncode == 0


def test_what_cannot_be_backed_up_is_refused_and_nothing_is_left(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    before = folder_state(filled), folder_state(tmp_path)
    for data_dir, target, words in (
        (filled, tmp_path / "mine", "there already"),
        (filled, filled / "copy", "inside"),
        (filled, tmp_path / "none" / "copy", "no such folder"),
        (tmp_path / "mine", tmp_path / "copy", "no database"),
    ):
        refused = backup(data_dir, target)
        assert (refused.code, words in refused.err) == (1, True), refused
    monkeypatch.setattr(data_backup, "_SPARE_BYTES", 2**60)
    with pytest.raises(data_backup.StoreFullError, match="Make room"):
        make_backup(filled, tmp_path / "copy", lambda _done, _total: None)
    assert (folder_state(filled), folder_state(tmp_path)) == before


def test_a_database_of_a_later_version_is_refused_politely(filled: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(filled, data_dir)
    with closing(sqlite3.connect(data_dir / "traces.db")) as database:
        database.execute(f"PRAGMA user_version = {TRACES.version + 1}")
    before = folder_state(data_dir)
    refused = backup(data_dir, tmp_path / "copy")
    assert (refused.code, "later Tracemill" in refused.err) == (1, True)
    assert folder_state(data_dir) == before
    assert list(tmp_path.iterdir()) == [data_dir]


def test_every_file_of_a_backup_that_is_changed_or_missing_is_found(filled: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert backup(filled, copy, "--with-raw").code == 0
    files = [path for path in copy.rglob("*") if path.is_file() and path.name != "backup.json"]
    assert len(files) >= 4
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(data_backup.StoreError, match=path.name):
            data_backup.check_backup(copy)
        path.unlink()
        with pytest.raises(data_backup.StoreError, match=path.name):
            data_backup.check_backup(copy)
        path.write_bytes(whole)
        data_backup.check_backup(copy)
    (copy / "backup.json").write_text("[]")
    told = backup(filled, copy, "--verify")
    assert (told.code, "backup.json" in told.err) == (1, True)
    assert backup(filled, tmp_path, "--verify").code == 1


def test_damage_that_was_copied_is_told(filled: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(filled, data_dir)
    with closing(sqlite3.connect(data_dir / "traces.db")) as database:
        database.execute("UPDATE nodes SET stitch_key = x'00'")
        database.commit()
    assert backup(data_dir, tmp_path / "copy").code == 0
    told = backup(data_dir, tmp_path / "copy", "--verify")
    assert (told.code, "stitch key" in told.err) == (1, True)


def test_json_has_standard_output_to_itself(filled: Path, tmp_path: Path) -> None:
    told: dict[str, Any] = json.loads(backup(filled, tmp_path / "copy", "--json").out)
    assert told["databases"]["traces.db"]["rows"]["traces"] == 3
    assert json.loads(backup(filled, tmp_path / "copy", "--verify", "--json").out)["is_verified"] is True


STOPPED = """
import os, signal, sys
from pathlib import Path
from tracemill import backup_command
from tracemill.data_backup import make_backup
with backup_command._left_in_order():
    make_backup(Path(sys.argv[1]), Path(sys.argv[2]), lambda _done, _total: os.kill(os.getpid(), signal.SIGTERM))
"""


def test_a_backup_that_is_stopped_leaves_nothing_behind(filled: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED, filled, tmp_path / "copy"], check=False, capture_output=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
