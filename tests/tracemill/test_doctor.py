"""The self-check of a whole data directory: each fault is made, and seen named with its remedy."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.calls.key_file import KEY_FILE, add_key
from proxy.declaration import Secret
from proxy.journal.reader import JournalReader
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.metrics import catalog
from proxy.metrics.counts import Counts
from proxy.metrics.folder import made_folder, snapshot_path, tell
from proxy.serve.notice import post_notice, read_notice, shown_settings
from proxy.settings import ServeSettings
from store.finding import Finding, Severity
from store.trace import DeadLetter, JournalPosition
from store.traces import TraceWriter
from store.writer_lock import WriterLock
from tests.folder_state import folder_state
from tests.proxy.journal.calls import only_folder, open_journal, write_call
from tests.server import tracemill
from tests.store.traces import make_trace
from tracemill.doctor import surroundings
from tracemill.doctor.checkup import examine
from tracemill.doctor_command import report_lines


@pytest.fixture
async def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory at rest, with one trace; no settings around it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    async with await TraceWriter.open(folder / "traces.db") as writer:
        await writer.write([make_trace(1)])
    return folder


def by_name(data_dir: Path, config: Path | None = None) -> dict[str, Finding]:
    return {each.kind.name: each for each in examine(data_dir, config)}


def wrong(found: dict[str, Finding]) -> set[str]:
    return {name for name, each in found.items() if each.kind.severity in (Severity.WARNING, Severity.ERROR)}


def test_a_data_directory_at_rest_is_well_and_left_as_it_was(data_dir: Path) -> None:
    before = folder_state(data_dir)
    found = by_name(data_dir)
    assert wrong(found) == set()
    assert {"versions", "server_stopped", "settings_incomplete", "data_dir", "disk", "database", "journal"} <= set(
        found
    )
    assert folder_state(data_dir) == before


def test_the_command_tells_it_for_people_and_for_machines(data_dir: Path) -> None:
    told = tracemill("doctor", "--data-dir", data_dir, "--verify")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "\x1b" not in told.stdout, "colours are for terminals"
    assert "verified" in told.stdout
    assert told.stdout.endswith("Nothing is wrong.\n")
    data_dir.joinpath("traces.db").write_bytes(b"x" * 5000)
    told = tracemill("doctor", "--data-dir", data_dir, "--json")
    answer = json.loads(told.stdout)
    assert (told.returncode, answer["is_healthy"], answer["counts"]["error"]) == (1, False, 1)
    (bad,) = [each for each in answer["findings"] if each["severity"] == "error"]
    assert (bad["name"], bad["facts"]) == ("database_foreign", {"file": "traces.db"})
    assert set(bad) == {"name", "group", "severity", "what", "remedy", "facts"}


def test_a_data_directory_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    told = tracemill("doctor", "--data-dir", tmp_path / "none")
    assert told.returncode == 1
    assert "data_dir_missing" in told.stdout
    assert not (tmp_path / "none").exists()


def test_lines_fit_the_terminal_and_hold_no_control_characters(data_dir: Path) -> None:
    (data_dir / "a\x1b[31m").touch(mode=0o644)
    (data_dir / "a\x1b[31m").chmod(0o644)
    lines = list(report_lines(data_dir, examine(data_dir, None), 100))
    plain = [line.replace("\x1b[0m", "") for line in lines]
    assert not any("\x1b[31ma" in line or "a\x1b" in line for line in plain)
    assert any("a\\u001b[31m" in line for line in plain)
    assert max(map(len, plain)) <= 110  # the codes of the colours apart


def test_files_that_others_can_read_or_own_are_named(data_dir: Path) -> None:
    (data_dir / "traces.db").chmod(0o640)
    assert by_name(data_dir)["open_to_others"].facts["paths"] == ["traces.db"]
    (data_dir / "traces.db").chmod(0o600)
    data_dir.chmod(0o755)
    assert by_name(data_dir)["open_to_others"].facts["paths"] == [str(data_dir)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_files_of_another_owner_are_named(data_dir: Path) -> None:
    os.chown(data_dir / "traces.db", 12345, 12345)
    assert by_name(data_dir)["foreign_owner"].facts["paths"] == ["traces.db"]


def test_too_little_room_for_the_journals_is_said(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = data_dir.parent / "tracemill.yaml"
    config.write_text("upstream: http://127.0.0.1/v1\nmax_journal_bytes: 1000000000000000\n")
    assert wrong(by_name(data_dir)) == {"disk_low"}
    monkeypatch.setattr(surroundings, "_FULL_BYTES", 1 << 60)
    assert wrong(by_name(data_dir)) == {"disk_full"}


def test_a_network_file_system_is_an_error(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = data_dir.stat().st_dev
    table = data_dir.parent / "mounts"
    table.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - nfs4 server:/x rw\n")
    monkeypatch.setattr("store.file_system.MOUNT_TABLE", table)
    assert "nfs4" in by_name(data_dir)["network_filesystem"].what


def test_settings_are_told_as_serve_would_find_them_and_no_secret_with_them(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "canary-token-0123456789"
    monkeypatch.setenv("TRACEMILL_ADMIN_TOKEN", secret)
    monkeypatch.setenv("UP_KEY", secret)
    config = data_dir.parent / "other.yaml"
    route = {
        "name": "a",
        "upstream": "https://a.test/v1",
        "path": "/v1",
        "api_key_env": "UP_KEY",
        "headers": {"x-a": secret},
    }
    config.write_text(json.dumps({"routes": [route], "port": 9}))
    found = examine(data_dir, config)
    (settings,) = [each for each in found if each.kind.name == "settings"]
    assert settings.facts["settings"]["admin_token"] == "set"
    assert (settings.facts["settings"]["port"], settings.facts["settings"]["routes"][0]["headers"]) == (9, "set")
    assert "port=9" in settings.what
    assert secret not in json.dumps([each.to_json() for each in found])
    config.write_text("prot: 9\n")
    assert "port" in by_name(data_dir, config)["settings_invalid"].what


def test_urls_are_told_without_credentials() -> None:
    settings = ServeSettings(upstream="https://a.test/v1", admin_token=Secret("x" * 16), otlp_endpoint=None)
    odd = replace(settings, upstream="https://user:pass@a.test:8/v1?key=k")
    assert shown_settings(odd)["upstream"] == "https://a.test:8/v1"


def test_proxy_keys_are_counted_and_a_damaged_or_missing_file_is_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(data_dir, "one")
    assert by_name(data_dir)["proxy_keys"].facts == {"keys": 1}
    (data_dir / KEY_FILE).write_text("{")
    assert wrong(by_name(data_dir)) == {"proxy_keys_damaged"}
    (data_dir / KEY_FILE).unlink()
    monkeypatch.setenv("UP_KEY", "k" * 20)
    route = {"name": "a", "upstream": "https://a.test/v1", "path": "/v1", "api_key_env": "UP_KEY"}
    (data_dir.parent / "tracemill.yaml").write_text(json.dumps({"routes": [route], "require_proxy_key": True}))
    assert wrong(by_name(data_dir)) == {"proxy_keys_missing"}


def test_a_check_that_fails_is_a_finding_and_hides_no_other(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(surroundings.shutil, "disk_usage", fail)
    found = by_name(data_dir)
    assert wrong(found) == {"check_failed"}
    assert "disk" in found["check_failed"].what
    assert {"database", "journal", "versions"} <= set(found)


async def test_workers_whose_calls_nobody_stores_are_an_error(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracemill.doctor.journal_checks._START_S", 0.1)
    journal = open_journal(data_dir / JOURNAL_FOLDER)
    await write_call(journal)
    before = folder_state(data_dir)
    found = await asyncio.to_thread(by_name, data_dir)
    assert folder_state(data_dir) == before
    assert wrong(found) == {"ingest_stopped", "ingest_behind"}
    assert found["ingest_behind"].facts["calls"] == 1
    assert found["journal"].facts["writers"][0]["is_alive"]
    lock = WriterLock(data_dir / "traces.db")
    lock.acquire_nowait()
    found = await asyncio.to_thread(by_name, data_dir)
    lock.release()
    assert wrong(found) == {"ingest_behind"}
    assert found["ingest"].facts == {"pid": os.getpid()}
    assert found["server_unseen"].facts == {"pid": os.getpid()}
    journal.close()
    found = await asyncio.to_thread(by_name, data_dir)
    assert wrong(found) == set()
    assert found["journal_waiting"].facts["calls"] == 1


async def test_what_is_stored_already_does_not_wait(data_dir: Path) -> None:
    journal = open_journal(data_dir / JOURNAL_FOLDER)
    first, second = await write_call(journal), await write_call(journal)
    journal.close()
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([make_trace(0, id=first)])
    assert (await asyncio.to_thread(by_name, data_dir))["journal_waiting"].facts["calls"] == 1
    reader = JournalReader(only_folder(data_dir / JOURNAL_FOLDER))
    assert [call.trace_id for call in reader.finish()] == [first, second]
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([], [], [reader.position])
    assert "journal_waiting" not in await asyncio.to_thread(by_name, data_dir)


async def test_damage_in_a_journal_is_named_until_it_is_stored(data_dir: Path) -> None:
    journal = open_journal(data_dir / JOURNAL_FOLDER)
    await write_call(journal, b"flip-me" * 10)
    await write_call(journal)
    journal.close()
    segment = next((data_dir / JOURNAL_FOLDER).glob("*/*.seg"))
    data = bytearray(segment.read_bytes())
    data[data.index(b"flip-me")] ^= 1
    segment.write_bytes(bytes(data) + b"torn end")
    before = folder_state(data_dir)
    found = await asyncio.to_thread(by_name, data_dir)
    assert folder_state(data_dir) == before
    assert [text.split(":")[0] for text in found["journal_damaged"].facts["damages"]] == ["bad_crc", "orphan", "torn"]
    segment.rename(segment.with_name("00000003.seg"))
    segment.with_name("00000001.seg").write_bytes(bytes(data[:16]))
    found = await asyncio.to_thread(by_name, data_dir)
    assert found["journal_damaged"].facts["missing_segments"] == [2]


async def test_a_journal_at_its_bound_is_an_error(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracemill.doctor.journal_checks._START_S", 0.0)
    config = data_dir.parent / "tracemill.yaml"
    config.write_text(f"upstream: http://127.0.0.1/v1\nmax_journal_bytes: {64 << 20}\n")
    journal = open_journal(data_dir / JOURNAL_FOLDER)
    await write_call(journal)
    segment = next((data_dir / JOURNAL_FOLDER).glob("*/*.seg"))
    os.truncate(segment, 62 << 20)
    found = await asyncio.to_thread(by_name, data_dir)
    assert "journal_full" in found
    journal.close()


async def test_a_broken_database_does_not_hide_the_journal(data_dir: Path) -> None:
    journal = open_journal(data_dir / JOURNAL_FOLDER)
    await write_call(journal)
    journal.close()
    (data_dir / "traces.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    found = await asyncio.to_thread(by_name, data_dir)
    assert {"journal", "journal_waiting"} <= set(found)
    assert wrong(found) & {"database_damaged", "database_foreign"}


class Posted:
    """The folder of counts of a server that this test plays."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        self.folder = folder
        settings = ServeSettings(upstream="http://127.0.0.1/v1", data_dir=data_dir, admin_token=Secret("canary-" * 4))
        self.started_at = time.time() - 60
        post_notice(folder, settings, proxy="http://p", admin="http://a", started_at=self.started_at)

    def tell(self, role: str, counters: dict[str, Any], gauges: dict[str, Any] | None = None, age_s: float = 0) -> None:
        counts = Counts(role, time.time() - age_s, counters, gauges or {})
        tell(snapshot_path(self.folder, role), counts)


@pytest.fixture
def posted(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Posted]:
    monkeypatch.setattr("tracemill.doctor.count_checks._PATIENCE_S", 0.1)
    lock = WriterLock(data_dir / "traces.db")
    lock.acquire_nowait()
    with made_folder() as folder:
        yield Posted(folder, data_dir)
    lock.release()


def calls(ended: int, **dropped: int) -> dict[str, Any]:
    return {
        catalog.CALLS.name: {("default", "200", "completed"): ended},
        catalog.DROPPED.name: {(reason,): number for reason, number in dropped.items()},
    }


def test_a_running_servers_settings_are_told_from_its_notice(data_dir: Path, posted: Posted) -> None:
    posted.tell("worker", calls(0))
    found = by_name(data_dir)
    assert wrong(found) == set()
    assert found["server"].facts["proxy"] == "http://p"
    assert found["settings"].facts["settings"]["admin_token"] == "set"
    notice = read_notice(posted.folder)
    assert notice is not None
    assert notice.folder.joinpath("server").stat().st_mode & 0o777 == 0o600
    assert b"canary" not in (posted.folder / "server").read_bytes()
    assert read_notice(data_dir) is None


def test_calls_that_are_nowhere_are_a_finding_and_declared_ones_are_not(data_dir: Path, posted: Posted) -> None:
    posted.tell("worker", calls(9, sampled=4, capture_off=2))
    found = by_name(data_dir)
    assert wrong(found) == {"calls_unaccounted"}
    assert found["calls_unaccounted"].facts["unaccounted"] == 3
    posted.tell("worker", {}, {catalog.INGEST_BEHIND.name: {(): 10}})
    found = by_name(data_dir)
    assert wrong(found) == set()
    assert "3 wait in the journal" in found["capture"].what


async def test_what_was_imported_meanwhile_stands_for_no_call_that_is_nowhere(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracemill.doctor.count_checks._PATIENCE_S", 0.1)
    imported = UUID("00000000-0000-8000-a000-000000000001")
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([make_trace(1, id=imported, created_at=datetime.now(UTC))])
        with made_folder() as folder:
            server = Posted(folder, data_dir)
            server.tell("worker", calls(1))
            server.tell("ingest", {})
            found = await asyncio.to_thread(by_name, data_dir)
    assert wrong(found) == {"calls_unaccounted"}


def test_gaps_are_held_against_what_was_shed(data_dir: Path, posted: Posted) -> None:
    posted.tell("worker", calls(5, journal_backlog=5))
    assert wrong(by_name(data_dir)) == {"gaps_undeclared"}


async def test_missing_equals_declared_in_one_line(data_dir: Path) -> None:
    meta = {"reason": "journal_backlog", "count": 5, "from": time.time(), "to": time.time(), "writer": "w"}
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        await writer.write([], [DeadLetter("gap", "…", json.dumps(meta).encode(), UUID(int=9))], [])
    with made_folder() as folder:
        server = Posted(folder, data_dir)
        server.tell("worker", calls(5, journal_backlog=5))
        server.tell("ingest", {})
        lock = WriterLock(data_dir / "traces.db")
        lock.acquire_nowait()
        found = await asyncio.to_thread(by_name, data_dir)
        lock.release()
    assert wrong(found) == {"gaps"}
    assert found["capture"].what == "of 5 calls since the start 0 are stored; not recorded: 5 journal_backlog."


def test_processes_that_hang_died_or_wait_for_their_disk_are_named(data_dir: Path, posted: Posted) -> None:
    counters = {catalog.RESTARTS.name: {("ingest",): 2}, catalog.SYNC_FAILURES.name: {(): 1}}
    posted.tell("worker", counters, {catalog.JOURNAL_STUCK.name: {(): 1}}, age_s=30)
    found = by_name(data_dir)
    assert wrong(found) == {"process_silent", "process_restarted", "flush_failed", "worker_stuck"}
    assert "worker" in found["process_silent"].what


def test_the_folder_of_a_killed_server_is_a_leftover(data_dir: Path) -> None:
    with made_folder() as folder:
        dead = folder.with_name(folder.name + "dead")
        dead.mkdir(mode=0o700)
        (dead / "lock").touch()
        found = by_name(data_dir)
        (dead / "lock").unlink()
        dead.rmdir()
    assert dead.name in found["metrics_leftover"].facts["folders"]


async def test_lists_and_exports_say_what_was_not_recorded_in_their_time(data_dir: Path) -> None:
    at = make_trace(1).created_at.timestamp()
    meta = {"reason": "journal_backlog", "count": 3, "from": at, "to": at + 5, "writer": "w"}
    async with await TraceWriter.open(data_dir / "traces.db") as writer:
        letters = [DeadLetter("gap", "…", json.dumps(meta).encode(), UUID(int=9))]
        await writer.write([make_trace(9)], letters, [JournalPosition("w", 1, 0)])
    said = "3 calls were not recorded between 2026-01-01 00:00:01 and 2026-01-01 00:00:06 UTC (journal_backlog)"
    for command in (["traces", "list"], ["export", "-o", "-"]):
        told = await asyncio.to_thread(tracemill, *command, "--data-dir", data_dir)
        assert said in told.stderr
        assert said not in told.stdout
    first = await asyncio.to_thread(tracemill, "traces", "list", "--limit", "1", "--data-dir", data_dir)
    assert first.stderr == "", "that page holds the trace after the gap"
