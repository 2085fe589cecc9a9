"""C1 to C6: what was answered is on record, once, soon, and nothing else passes for it."""

import json
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from store.data_files import TRACES_FILE
from tests.contract.asking import (
    HALF,
    answer,
    ask,
    ask_timed,
    kill_everything,
    reply_of,
    request,
    request_of,
    settle,
    trace_id,
    wait_until,
)
from tests.contract.stuck_disk import StuckDisk
from tests.faults.evidence import metrics, records
from tests.raw_client import Ending, RawClient
from tests.server import Server, export
from tests.upstream import (
    Answer,
    Hangup,
    ReceivedCall,
    ScriptedUpstream,
    Stall,
    event,
    framed,
    json_answer,
)

HELD_S = 0.08
"""An answer that waits for a stuck disk takes 0.1 s, one that does not a few ms."""


def never_ending(call: ReceivedCall) -> Answer:
    """Say everything, `[DONE]` too, and keep the connection open."""
    return [*list(answer(call))[:-1], Stall()]


def test_c1_whoever_holds_the_last_byte_is_on_record_though_everything_is_killed_that_instant(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Ingest stands still, so the journal alone has to hold it; whoever writes at the stream's end has not yet."""
    upstream.script = never_ending
    with Server(upstream.base_url, tmp_path / "data") as server:
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        clients = [RawClient(server.port) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(request(f"question {number}", stream=True))
        for client in clients:
            client.wait_for(b"[DONE]")
        kill_everything(server)
        for client in clients:
            client.socket.close()
    with Server(upstream.base_url, tmp_path / "data") as server:
        lines = server.wait_for(lambda: export(tmp_path / "data"), 20, 10)
    assert sorted(map(reply_of, lines)) == sorted(f"You said question {number}." for number in range(20))


@pytest.mark.alone
def test_c1_the_last_byte_waits_for_the_record(disk: StuckDisk, server: Server) -> None:
    """While the disk takes nothing, the answer's last byte is held back as long as C8 allows, and nothing before it."""
    for stream in (False, True):
        ask(server, "before")
        settle(server)
        with disk.held("write"), RawClient(server.port) as client:
            began = time.monotonic()
            client.send(request("while the disk is stuck", stream=stream))
            if stream:
                client.wait_for(b"You")
                assert time.monotonic() - began < HELD_S
            received = client.read_answer(b"POST")
            assert time.monotonic() - began > HELD_S
        assert received.ending is Ending.WHOLE


@pytest.mark.alone
@pytest.mark.parametrize(
    ("level", "waits_for_flush", "waits_for_write"),
    [("none", False, False), ("process", False, True), ("power", True, True)],
)
def test_c2_an_answer_waits_for_what_its_level_promises_and_for_no_more(
    upstream: ScriptedUpstream,
    disk: StuckDisk,
    tmp_path: Path,
    level: str,
    waits_for_flush: bool,
    waits_for_write: bool,
) -> None:
    with Server(upstream.base_url, tmp_path / "data", "--durability", level) as server:

        def has_waited(calls: str) -> bool:
            """Ask three times: once may be late for any reason, and who waits does so each time."""
            for _ in range(3):
                ask(server, "before")
                settle(server)
                with disk.held("flush" if calls == "flush" else "write"):
                    if ask_timed(server, calls).seconds < HELD_S:
                        return False
            return True

        assert has_waited("flush") is waits_for_flush
        assert has_waited("write") is waits_for_write


def test_c3_a_journal_that_is_read_again_and_again_makes_each_trace_once(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """As after a restore from a backup, or a kill between storing and noting how far."""
    journal = tmp_path / "data" / "journal"
    with Server(upstream.base_url, tmp_path / "data") as server:
        ids = {trace_id(ask(server, f"stored {number}")) for number in range(10)}
        server.wait_traces(10)
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        ids |= {trace_id(ask(server, f"waiting {number}")) for number in range(10)}
        kill_everything(server)
    (writer,) = [folder for folder in journal.iterdir() if folder.is_dir()]
    for copy in ("again", "and-again"):
        shutil.copytree(writer, journal / copy)
    with Server(upstream.base_url, tmp_path / "data") as server:
        wait_until(lambda: not any(folder.is_dir() for folder in journal.iterdir()))
        lines = server.export()
    assert sorted(line["metadata"]["trace_id"] for line in lines) == sorted(ids)


def test_c4_a_damaged_entry_and_a_torn_end_cost_their_own_calls_alone_and_are_counted(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        for number in range(20):
            ask(server, f"question {number:02}")
        kill_everything(server)
    (segment,) = (tmp_path / "data" / "journal").glob("*/*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"question 07") + 9] ^= 0x20
    segment.write_bytes(data[:-5])
    with Server(upstream.base_url, tmp_path / "data") as server:
        lines = server.wait_for(server.export, 18, 10)
        told = wait_until(lambda: _letters(server))
    assert sorted(map(reply_of, lines)) == [f"You said question {n:02}." for n in range(19) if n != 7]
    assert told


def _letters(server: Server) -> bool:
    found = metrics(server)
    return all(found.total("tracemill_ingest_dead_letters_total", reason=reason) > 0 for reason in ("bad_crc", "torn"))


@pytest.mark.alone
def test_c5_a_trace_is_in_queries_and_exports_within_a_second_of_its_answer(server: Server) -> None:
    waited = []
    for number in range(4):
        marker = f"marker{number}"
        ask(server, marker, stream=number % 2 == 0, session=marker)
        began = time.monotonic()
        wait_until(lambda marker=marker: server.admin(f"/admin/api/traces?where=session%20%3D%20'{marker}'")["data"])
        waited.append(time.monotonic() - began)
        assert marker in [line["messages"][0]["content"] for line in server.export()]
    assert max(waited) < 1.0


@pytest.mark.alone
def test_c5_when_a_lock_ends_what_waited_is_there_within_five_seconds(server: Server, tmp_path: Path) -> None:
    ask(server, "before")
    server.wait_traces(1)
    with closing(sqlite3.connect(tmp_path / "data" / TRACES_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(20):
            assert ask(server, f"locked out {number}").status == 200
        time.sleep(1)  # as long as the lock is held: nothing can be waited for that does not come
        assert len(records(tmp_path / "data")) == 1
        other.execute("ROLLBACK")
    server.wait_traces(21, timeout_s=5)


def test_c6_what_did_not_complete_is_on_record_and_in_no_export_unless_asked_for(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    def script(call: ReceivedCall) -> Answer:
        scripts: dict[bytes | None, Answer] = {
            b"cut": [*HALF, Hangup()],
            b"error": json_answer({"error": {"message": "no"}}, status="429 Too Many Requests"),
            b"left": [*HALF, Stall()],
            b"drained": [*HALF, Stall()],
            b"in-band": [*HALF, framed(event({"error": {"message": "overloaded"}})), b"0\r\n\r\n"],
        }
        return scripts.get(call.json()["user"].encode(), answer(call))

    def body(kind: str) -> bytes:
        asked = {"model": "m", "stream": True, "user": kind, "messages": [{"role": "user", "content": kind}]}
        return json.dumps(asked).encode()

    upstream.script = script
    with Server(upstream.base_url, tmp_path / "data", "--drain-timeout", "0.2") as server:
        for kind in ("cut", "error", "left", "in-band", "whole"):
            with RawClient(server.port) as client:
                client.send(request_of(body(kind), session=kind))
                if kind == "left":
                    client.wait_for(b"one")
                else:
                    client.read_answer(b"POST")
        outlasting = RawClient(server.port)
        outlasting.send(request_of(body("drained"), session="drained"))
        outlasting.wait_for(b"one")
        assert server.stop() == 0
        outlasting.socket.close()
    outcomes = {line["messages"][0]["content"]: line["metadata"].get("outcome") for line in server.export("--all")}
    assert outcomes == {
        "whole": None,
        "cut": "upstream_aborted",
        "error": "upstream_error",
        "in-band": "upstream_error",
        "left": "client_disconnect",
        "drained": "interrupted",
    }
    partial = {line["messages"][0]["content"]: line["messages"][-1] for line in server.export("--all")}
    assert all(partial[kind]["content"].startswith("one") for kind in ("cut", "left", "drained", "in-band"))
    assert [line["messages"][0]["content"] for line in server.export()] == ["whole"]
