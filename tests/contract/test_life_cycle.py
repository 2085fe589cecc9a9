"""C13 to C19: how a server starts, stops, shares and limits, and how all of it can be seen."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from store.data_files import TRACES_FILE
from store.schema_version import TRACES
from tests import chat
from tests.contract.asking import HALF, answer, ask, kill_everything, request, stream_events, trace_id, wait_until
from tests.faults.clock_step import HOUR_NS, SteppedClock
from tests.faults.disks import read_only
from tests.faults.drill import NotPossibleHereError
from tests.faults.evidence import DROPPED, metrics, records
from tests.raw_client import Ending, RawClient
from tests.server import Server, export, tracemill
from tests.upstream import (
    STREAM_END,
    Answer,
    Dawdle,
    Hangup,
    Pause,
    ReceivedCall,
    ScriptedUpstream,
    Stall,
    Step,
    event,
    framed,
    json_answer,
)

UNREACHABLE = "http://127.0.0.1:9/v1"


def is_alive(server: Server) -> bool:
    """Ask the admin side, whose port stays open until the last call has ended."""
    with urllib.request.urlopen(server.admin_url + "/healthz", timeout=5) as response:
        return bool(response.status == 200)


def is_refused(port: int) -> bool:
    """Tell whether nobody listens any more: to what asks `/readyz`, the server is not ready."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.alone
def test_c13_a_stop_is_not_ready_at_once_alive_to_the_end_and_exits_0(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    pause = Pause()
    rest = stream_events(chat.text("eight nine ten"))
    upstream.script = lambda _call: [*HALF, pause, *rest, framed(event(b"[DONE]")), STREAM_END]
    with Server(upstream.base_url, tmp_path / "data") as server:
        with RawClient(server.port) as client, RawClient(server.port) as idle:
            client.send(request("count", stream=True))
            client.wait_for(b"one")
            with httpx.Client() as probing:
                assert probing.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200
            server.tell_to_stop()
            wait_until(lambda: is_refused(server.port), 2)
            idle.read_rest()
            assert idle.ended_by() is Ending.CUT, "a connection without a call is closed, for nobody would be served"
            assert is_alive(server)
            assert server.process.poll() is None
            pause.let_go()
            received = client.read_answer(b"POST")
            assert received.ending is Ending.WHOLE
            assert b"[DONE]" in received.body
        assert server.stop() == 0
    (line,) = server.export()
    assert line["metadata"]["trace_id"] == trace_id(received)


@pytest.mark.alone
def test_c13_a_second_signal_stops_at_once_and_what_was_running_is_on_record(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.script = lambda _call: [*HALF, Stall()]
    flags = ("--drain-timeout", "60")
    with Server(upstream.base_url, tmp_path / "data", *flags) as server, RawClient(server.port) as client:
        client.send(request("count", stream=True))
        client.wait_for(b"one")
        server.tell_to_stop()
        wait_until(lambda: is_refused(server.port), 2)
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        server.process.wait(30)
        assert time.monotonic() - began < 5
        assert client.read_answer(b"POST").ending is not Ending.WHOLE
    with Server(upstream.base_url, tmp_path / "data") as server:
        (trace,) = server.wait_traces(1)
    assert trace["outcome"] == "interrupted"


def test_c14_two_instances_on_one_folder_share_one_ingest_and_the_second_inherits(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first, second = Server(upstream.base_url, data_dir, "--workers", "2"), Server(upstream.base_url, data_dir)
    with first, second:
        ids = {trace_id(ask(server, f"question {n}")) for n in range(10) for server in (first, second)}
        second.wait_traces(20)
        held = [len(writable(server, TRACES_FILE)) for server in (first, second)]
        assert held == [1, 0], "two processes write one database"
        (ingest,) = first.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        ids |= {trace_id(ask(first, f"orphaned {n}")) for n in range(10)}
        kill_everything(first)
        lines = second.wait_for(second.export, 30, 10)
    assert sorted(line["metadata"]["trace_id"] for line in lines) == sorted(ids)


def writable(server: Server, name: str) -> set[int]:
    """Return the processes of a server that can write, and so checkpoint into, the file of that name."""
    found = set()
    for pid in [pid for role in ("worker", "ingest", "admin") for pid in server.children(role)]:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            is_it = entry.readlink().name == name
            words = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().split()
            flags = int(words[words.index("flags:") + 1], 8)
            if is_it and flags & os.O_ACCMODE != os.O_RDONLY:
                found.add(pid)
    return found


def test_c14_a_data_directory_on_a_network_file_system_is_refused_and_said(tmp_path: Path) -> None:
    tmp_path.joinpath("data").mkdir()
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(f"36 35 {os.major(device)}:{os.minor(device)} / /data rw - nfs4 filer:/traces rw\n")
    program = (
        "import pathlib, sys, store.file_system as it; it.MOUNT_TABLE = pathlib.Path(sys.argv.pop(1)); "
        "from tracemill.cli import main; main()"
    )
    command = [sys.executable, "-c", program, str(table), "serve", "--upstream", UNREACHABLE]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "network file system (nfs4)" in done.stderr
    assert str(tmp_path / "data") in done.stderr
    assert list((tmp_path / "data").iterdir()) == []


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA application_id = {TRACES.application_id}")
        newer.execute("PRAGMA user_version = 9999")
        newer.execute("CREATE TABLE later(x)")


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE diary(day)")


def make_no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)


def make_corrupt(path: Path) -> None:
    with closing(sqlite3.connect(path)) as ours:
        ours.execute(f"PRAGMA application_id = {TRACES.application_id}")
        ours.execute("CREATE TABLE traces(x)")
    data = bytearray(path.read_bytes())
    data[100:400] = b"\xff" * 300
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_newer, "9999"),
        (make_foreign, "another program"),
        (make_no_database, "not an SQLite database"),
        (make_corrupt, "damaged"),
    ],
)
def test_c15_a_bad_folder_is_refused_with_the_way_out_and_left_untouched(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    make(data_dir / TRACES_FILE)
    before = (data_dir / TRACES_FILE).read_bytes()
    done = tracemill("serve", "--upstream", UNREACHABLE, "--data-dir", data_dir, "--port", "0", "--admin-port", "0")
    assert done.returncode == 1
    assert str(data_dir / TRACES_FILE) in done.stderr
    assert said in done.stderr
    assert "--no-capture" in done.stderr
    assert "Traceback" not in done.stderr
    assert (data_dir / TRACES_FILE).read_bytes() == before


def test_c15_without_capture_a_bad_folder_is_served_from_and_left_untouched(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    make_no_database(data_dir / TRACES_FILE)
    before = (data_dir / TRACES_FILE).read_bytes()
    with Server(upstream.base_url, data_dir, "--no-capture") as server:
        assert ask(server, "is anybody there").status == 200
        assert is_alive(server)
        assert metrics(server).total("tracemill_calls_in_flight") == 0
    assert (data_dir / TRACES_FILE).read_bytes() == before
    assert list(data_dir.iterdir()) == [data_dir / TRACES_FILE]


def test_c15_a_folder_that_is_not_ours_to_write_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with unwritable(tmp_path / "data"):
        done = tracemill("serve", "--upstream", UNREACHABLE, "--data-dir", tmp_path / "data", "--port", "0")
    assert done.returncode == 1
    assert str(tmp_path / "data") in done.stderr
    assert "--no-capture" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    folder.mkdir()
    try:
        with read_only(folder):
            yield
    except NotPossibleHereError as error:
        pytest.skip(str(error))


def test_c16_one_process_writes_the_store_and_the_log_says_which_sqlite_it_is(server: Server) -> None:
    """Two connections, one writing and one checkpointing, are what the WAL-reset bug needs."""
    ask(server, "first")
    server.wait_traces(1)
    server.admin("/admin/api/stats")
    export(server.data_dir)
    ask(server, "second")
    server.wait_traces(2)
    assert writable(server, TRACES_FILE) == set(server.children("ingest"))
    assert f"SQLite {sqlite3.sqlite_version}" in server.log()


FINE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n"
SMALL = {
    "max_head_bytes": 8192,
    "max_body_bytes": 2000,
    "head_timeout_s": 0.5,
    "read_timeout_s": 0.5,
    "first_byte_timeout_s": 0.5,
    "total_timeout_s": 2,
    "max_calls": 3,
    "max_connections": 8,
}


@pytest.mark.alone
def test_c17_every_limit_has_a_clean_answer_and_is_counted(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    def script(call: ReceivedCall) -> Answer:
        kind = call.json()["messages"][-1]["content"]
        return {"silent": [Stall()], "slow": [*HALF, *slow_comments()]}.get(kind) or answer(call)

    upstream.script = script
    config = tmp_path / "tracemill.yaml"
    config.write_text("".join(f"{name}: {value}\n" for name, value in SMALL.items()))
    cases = [
        (b"rubbish\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/" + b"x" * 9000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 414, "target_too_long"),
        (FINE + b"x: " + b"y" * 9000 + b"\r\n\r\n", 431, "head_too_large"),
        (FINE + b"content-length: 2001\r\n\r\n", 413, "body_too_large"),
        (FINE + b"transfer-encoding: chunked\r\n\r\n" + b"7d1\r\n" + b"x" * 2001 + b"\r\n", 413, "body_too_large"),
        (FINE, 408, "request_timeout"),
        (FINE + b"content-length: 100\r\n\r\n{", 408, "request_timeout"),
        (request("silent"), 504, "upstream_timeout"),
    ]
    with Server(upstream.base_url, tmp_path / "data", "--config", str(config)) as server:
        for wire, status, code in cases:
            with RawClient(server.port) as client:
                client.send(wire)
                received = client.read_answer(b"POST")
            assert (received.status, received.values(b"x-tracemill-error")) == (status, [code.encode()]), wire[:60]
            assert json.loads(received.body)["error"]["code"] == code
        with RawClient(server.port) as client:
            client.send(request("slow", stream=True))
            assert client.read_answer(b"POST").ending in (Ending.CUT, Ending.RESET)
        too_many = crowd(server, calls=4)
        assert too_many == (503, "too_many_calls", [b"1"])
        wait_until(lambda: metrics(server).total("tracemill_client_connections") == 0)
        assert crowd(server, connections=9) == (503, "too_many_connections", [b"1"])
        expected = {"400": 1, "414": 1, "431": 1, "413": 2, "408": 2, "503": 2}
        wait_until(lambda: refused(server) == expected)
        wait_until(lambda: metrics(server).total("tracemill_calls_total", outcome="upstream_timeout") == 2)
        assert ask(server, "and now").status == 200


def slow_comments() -> list[Step]:
    """Let no silence of half a second come about, for longer than a call may take."""
    return [step for _ in range(30) for step in (Dawdle(0.2), framed(b": wait\n\n"))]


def refused(server: Server) -> dict[str, float]:
    found = metrics(server)
    statuses = ("400", "408", "413", "414", "431", "503")
    every = {status: found.total("tracemill_refused_total", status=status) for status in statuses}
    return {status: count for status, count in every.items() if count}


def crowd(server: Server, *, calls: int = 0, connections: int = 0) -> tuple[int, str, list[bytes]]:
    """Be one too many; return what the last one is told."""
    clients = []
    for number in range(calls or connections):
        client = RawClient(server.port)
        clients.append(client)
        if calls:
            client.send(request("silent"))
            time.sleep(0.02)
        elif number < connections - 1:
            client.send(request("Hi"))
            client.read_answer(b"POST")
    received = clients[-1].read_answer(b"POST")
    for client in clients:
        client.socket.close()
    return received.status, json.loads(received.body)["error"]["code"], received.values(b"retry-after")


def test_c18_a_clock_that_jumps_changes_timestamps_alone(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        clock = SteppedClock(tmp_path)
    except NotPossibleHereError as error:
        pytest.skip(str(error))
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    pause = Pause()
    upstream.script = lambda call: [pause, *answer(call)] if b"patience" in call.body else answer(call)
    ids = []
    with Server(upstream.base_url, tmp_path / "data") as server, RawClient(server.port) as waiting:
        waiting.send(request("patience"))
        assert pause.reached.wait(5)
        for step in (0, -HOUR_NS, +HOUR_NS):
            clock.step(step)
            ids += [trace_id(ask(server, f"question {number}")) for number in range(5)]
        pause.let_go()
        assert waiting.read_answer(b"POST").status == 200, "a jump of an hour was taken for an hour of silence"
        server.wait_traces(16)
    assert ids == sorted(ids), "ids follow the clock back"
    assert len(set(ids)) == 15
    durations = [record.duration_ms for record in records(tmp_path / "data").values()]
    assert all(duration is not None and 0 <= duration < 60_000 for duration in durations)
    times = [int(each.replace("-", "")[:12], 16) for each in ids]
    assert times[-1] - times[0] > HOUR_NS / 1_000_000 / 2, "the clock did not move: this proves nothing"


def test_c19_metrics_tell_of_every_call_what_became_of_it_and_of_every_record(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    def script(call: ReceivedCall) -> Answer:
        kind = call.json()["messages"][-1]["content"]
        odd: dict[str, Answer] = {"error": json_answer({}, status="500 Oops"), "cut": [*HALF, Hangup()]}
        return odd.get(kind) or answer(call)

    upstream.script = script
    with Server(upstream.base_url, tmp_path / "data") as server:
        for kind, count in (("whole", 5), ("error", 3), ("cut", 2)):
            for _ in range(count):
                ask(server, kind, stream=True)
        with RawClient(server.port) as client:
            client.send(b"rubbish\r\n\r\n")
            client.read_answer(b"POST")
        wait_until(lambda: metrics(server).total("tracemill_ingest_traces_total") == 10)
        wait_until(lambda: metrics(server).total("tracemill_calls_total") == 10)
        told = metrics(server)
        by_outcome = {
            outcome: told.total("tracemill_calls_total", outcome=outcome)
            for outcome in ("completed", "upstream_error", "upstream_aborted")
        }
        assert by_outcome == {"completed": 5, "upstream_error": 3, "upstream_aborted": 2}
        assert told.total("tracemill_traces") == len(records(tmp_path / "data")) == 10
        assert told.total("tracemill_refused_total", status="400") == 1
        nothing = (
            DROPPED, "tracemill_journal_pending_bytes", "tracemill_journal_stuck", "tracemill_journal_lag_seconds",
            "tracemill_ingest_lag_seconds", "tracemill_ingest_behind_bytes", "tracemill_dead_letters",
            "tracemill_process_restarts_total", "tracemill_calls_in_flight", "tracemill_journal_sync_failures_total",
        )  # fmt: skip
        for name in nothing:
            assert name in {key.partition("{")[0] for key in told.values}, f"{name} is not told"
            assert told.total(name) == 0, name
        assert told.total("tracemill_journal_entries_total") >= 20
        server.kill("ingest")
        wait_until(lambda: metrics(server).total("tracemill_process_restarts_total", process="ingest") == 1)
