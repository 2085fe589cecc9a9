"""What a server does to its store by itself, while something is in its way."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import chat
from tests.acceptance.test_erasing import ask, files_with, say, wait_done
from tests.faults.disks import no_file_may_grow
from tests.server import Server, tracemill
from tests.tracemill.test_import_page import EXAMPLES
from tests.upstream import ScriptedUpstream

CANARY = "canary-815"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(chat.replying({"role": "assistant", "content": f"Of {CANARY}."})) as running:
        yield running


def is_well(data_dir: Path) -> None:
    done = tracemill("doctor", "--data-dir", data_dir, "--verify", "--json")
    found = [each for each in json.loads(done.stdout)["findings"] if each["severity"] == "error"]
    assert found == []


def wait_until(look: Any, timeout_s: float = 20) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_an_erasure_under_a_full_disk_and_a_locked_database_is_done_when_they_end(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with Server(upstream.base_url, data) as server:
        for number in range(20):
            say(server, f"{CANARY} {number}", **{"x-tracemill-user": ("jane", "joe")[number % 2]})
        server.wait_traces(20)
        first = ask(server, "DELETE", "/admin/api/users/jane")["change_id"]
        with no_file_may_grow(server):
            time.sleep(1.5)  # the fault itself
        done = wait_done(server, first, 30)
        assert "error" not in done["result"]
        assert server.admin("/admin/api/traces")["data"]
        second = ask(server, "DELETE", "/admin/api/users/joe")["change_id"]
        with closing(sqlite3.connect(data / "traces.db", isolation_level=None)) as locker:
            locker.execute("BEGIN IMMEDIATE")
            say(server, "Calls go on", **{"x-tracemill-user": "ann"})
            time.sleep(2)  # the fault itself
            locker.execute("ROLLBACK")
        wait_done(server, second, 30)
        upstream.script = chat.replying({"role": "assistant", "content": "Plain."})
        wait_until(lambda: len(server.admin("/admin/api/traces")["data"]) == 1)
        kept = server.admin("/admin/api/traces")["data"][0]["id"]
        third = ask(server, "DELETE", f"/admin/api/traces/{kept}")["change_id"]
        wait_done(server, third)
        assert files_with(data, CANARY.encode()) == []
        is_well(data)


def test_of_two_servers_on_one_folder_each_takes_an_erasure_and_one_does_it(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    upstream.script = chat.replying({"role": "assistant", "content": f"Of {CANARY}."})
    with Server(upstream.base_url, data) as second:
        with Server(upstream.base_url, data) as first:
            for server in (first, second):
                say(server, f"{CANARY} through {server.port}", **{"x-tracemill-user": "jane"})
            for server in (first, second):
                server.wait_traces(2)
            changes = [ask(server, "DELETE", "/admin/api/users/jane")["change_id"] for server in (first, second)]
            for server, change in zip((second, first), changes, strict=True):
                wait_done(server, change)
            assert files_with(data, CANARY.encode()) == []
            say(first, f"{CANARY} again", **{"x-tracemill-session": "s"})
            second.wait_traces(1)
        # Whoever is left inherits what is to be done.
        wait_done(second, ask(second, "DELETE", "/admin/api/sessions/s")["change_id"])
        assert files_with(data, CANARY.encode()) == []
        is_well(data)


def test_an_older_backup_beside_newer_journals_serves_and_takes_in_what_they_hold(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    flags = ("--raw-retention-bytes", "10000000")
    with Server(upstream.base_url, data, *flags) as server:
        early = {say(server, f"early {number}", **{"x-tracemill-session": "s"}) for number in range(5)}
        server.wait_traces(5)
        assert tracemill("backup", copy, "--data-dir", data, "--with-raw").returncode == 0
        say(server, "between")
        server.wait_traces(6)
        server.kill("ingest")
        late = {say(server, f"late {number}") for number in range(5)}
        for role in ("ingest", "worker", "admin"):
            for pid in server.children(role):
                subprocess.run(["kill", "-9", str(pid)], check=False)
        server.kill_supervisor()
    for name in ("traces.db", "traces.db-wal", "traces.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(copy / "traces.db", data / "traces.db")
    with Server(upstream.base_url, data, *flags) as server:
        new = say(server, "new")
        wait_until(lambda: new in {each["id"] for each in server.admin("/admin/api/traces?limit=100")["data"]})
        listed = [each["id"] for each in server.admin("/admin/api/traces?limit=100")["data"]]
        assert len(listed) == len(set(listed))
        assert early | {new} <= set(listed)
        # Calls that were read and deleted between backup and loss are gone; what still stood in a journal is not.
        assert late <= set(listed)
        wait_done(server, ask(server, "DELETE", "/admin/api/sessions/s")["change_id"])
        assert not early & {each["id"] for each in server.admin("/admin/api/traces?limit=100")["data"]}
        is_well(data)


SCRIPT = """
import sys
from tracemill import Client
client = Client(sys.argv[1])
print(sorted(summary.session for summary in client.traces()))
trace = next(iter(client.traces(where="session = s1"))).id
client.give_feedback(trace, True, name="helpful")
print(client.erasure(client.erase_session("s2").change_id).phase != "")
client.close()
"""


def test_the_client_in_a_plain_script(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        for session in ("s1", "s2"):
            say(server, "hello", **{"x-tracemill-session": session})
        server.wait_traces(2)
        command = [sys.executable, "-c", SCRIPT, server.admin_url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=30)
        assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, ["['s1', 's2']", "True"], "")
        wait_until(lambda: len(server.admin("/admin/api/traces")["data"]) == 1)


@pytest.mark.parametrize("source_format", ["openpipe", "otel_genai"])
def test_calls_of_other_recorders_are_imported_by_the_command(source_format: str, tmp_path: Path) -> None:
    (line,) = [example[1] for example in EXAMPLES if example[0] == source_format]
    file = tmp_path / "calls.jsonl"
    file.write_text(" ".join(line.split("\n")) + "\n")
    for asked, stored in (("auto", 1), (source_format, 0)):
        done = tracemill("import", file, "--data-dir", tmp_path / "data", "--format", asked, "--json")
        assert done.returncode == 0, done.stderr
        assert (json.loads(done.stdout)["stored"], json.loads(done.stdout)["records"]) == (stored, 1)
