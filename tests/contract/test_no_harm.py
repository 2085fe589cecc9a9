"""C7 to C12: nothing that capture does or suffers is felt by a call."""

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import chat
from tests.contract.asking import (
    HALF,
    answer,
    ask,
    ask_timed,
    request,
    request_of,
    settle,
    trace_id,
    wait_until,
)
from tests.contract.stuck_disk import StuckDisk
from tests.faults.evidence import DROPPED, dead_letters, declared_missing, metrics, records
from tests.process_state import MIB, open_sockets
from tests.raw_client import Ending, RawClient
from tests.raw_upstream import LeaveUnread, RawUpstream, ReadBody
from tests.server import Server
from tests.upstream import (
    STREAM_HEAD,
    Answer,
    Hangup,
    Pause,
    ReceivedCall,
    Reset,
    ScriptedUpstream,
    Stall,
    event,
    framed,
    json_answer,
)

UNREACHABLE = "http://127.0.0.1:9/v1"


@pytest.fixture
def raw_upstream() -> Iterator[RawUpstream]:
    with RawUpstream(lambda _request: []) as running:
        yield running


def test_c7_bytes_and_fields_pass_as_they_are_and_one_field_is_added(raw_upstream: RawUpstream, tmp_path: Path) -> None:
    body = b'{"messages": [] ,"x":1.0,"x":2, "\\u00e9":"\xc3\xa9\x00\xff"}'
    wire = b"POST /v1/a%2Fb;/c?q=%20&&=+ HTTP/1.1\r\n"
    fields = [(b"X-OdD", b"1"), (b"x-odd", b"2"), (b"ACCEPT-encoding", b"br;q=0"), (b"Cookie", b"a=b; c")]
    theirs = [(b"Set-Cookie", b"a=1"), (b"X-B", b"\xe9"), (b"set-cookie", b"b=2"), (b"Content-Length", b"5")]
    said = (
        b"HTTP/1.1 299 Quite Fine\r\n" + b"".join(b"%b: %b\r\n" % field for field in theirs) + b"\r\n\x1f\x8b\x00\xff\n"
    )
    raw_upstream.script = lambda _request: [ReadBody(), said]
    with Server(raw_upstream.base_url, tmp_path / "data") as server, RawClient(server.port) as client:
        client.send(
            wire
            + b"Host: h\r\nConnection: x-hop\r\nX-Hop: gone\r\n"
            + b"".join(b"%b: %b\r\n" % field for field in fields)
            + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = client.read_answer(b"POST")
    (arrived,) = raw_upstream.requests
    assert arrived.body == body
    assert arrived.line == wire.strip()
    own = {b"host", b"content-length", b"connection"}
    assert [field for field in arrived.fields if field[0].lower() not in own] == fields
    assert dict(arrived.fields)[b"Host"] == b"127.0.0.1:%d" % raw_upstream.port
    assert (received.status, received.reason, received.body) == (299, b"Quite Fine", b"\x1f\x8b\x00\xff\n")
    assert [field for field in received.fields if field[0].lower() != b"x-tracemill-trace-id"] == theirs


@pytest.mark.alone
def test_c8_a_stuck_disk_holds_one_answer_for_100_ms_and_the_next_ones_not_at_all(
    disk: StuckDisk, server: Server
) -> None:
    usual = statistics.median(ask_timed(server, "usual").seconds for _ in range(10))
    settle(server)
    with disk.held("write"):
        first = ask_timed(server, "first").seconds
        later = [ask_timed(server, "later").seconds for _ in range(20)]
        wait_until(lambda: metrics(server).total("tracemill_journal_stuck") == 1)
    assert 0.08 < first < 0.1 + usual + 0.25
    assert statistics.median(later) < usual + 0.02
    settle(server)  # it closes by itself
    server.wait_traces(31)


@pytest.mark.alone
def test_c8_a_body_of_twenty_megabytes_stalls_no_other_client(server: Server) -> None:
    hostile = b'{"messages":[' + b",".join([b"{}"] * 7_000_000) + b"]}"
    with RawClient(server.port) as client:
        client.send(request_of(hostile))
        beside = [ask_timed(server, "beside").seconds for _ in range(30)]
    assert statistics.quantiles(beside, n=10)[-1] < 0.25


def test_c9_of_one_reply_no_more_is_kept_than_the_setting_says(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.script = lambda _call: json_answer(chat.completion(chat.text("x" * 50_000)))
    with Server(upstream.base_url, tmp_path / "data", "--max-capture-bytes", "10000") as server:
        received = ask(server, "a long one, please")
        (summary,) = server.wait_traces(1)
        assert len(received.body) > 50_000
        trace = server.admin(f"/admin/api/traces/{summary['id']}")
        assert "response_truncated" in trace["flags"]
        assert not trace["is_complete"]
        wait_until(lambda: metrics(server).total(DROPPED, reason="body_limit") == 1)


def test_c9_what_all_replies_hold_together_is_bounded_however_many_there_are(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Forty replies of 200 KB each, none at its end, are 8 MB; all but the bound is on disk before any of them ends."""
    block = framed(event({"choices": [{"index": 0, "delta": {"content": "x" * 199_000}}]}))
    upstream.script = lambda _call: [STREAM_HEAD, block, framed(event(b"more")), Stall()]
    journal = tmp_path / "data" / "journal"
    with Server(upstream.base_url, tmp_path / "data", "--max-pending-bytes", str(MIB)) as server:
        clients = [RawClient(server.port) for _ in range(40)]
        for client in clients:
            client.send(request("go on", stream=True))
            client.wait_for(b"data: more")
        held_at_most = 40 * 199_000 - MIB
        wait_until(lambda: sum(file.stat().st_size for file in journal.glob("*/*.seg")) > held_at_most)
        wait_until(lambda: metrics(server).total("tracemill_calls_in_flight") == 40)
        assert metrics(server).total(DROPPED) == 0
        for client in clients:
            client.socket.close()
        for trace in server.wait_traces(40):
            assert trace["outcome"] == "client_disconnect"


def test_c9_while_the_disk_is_stuck_no_more_waits_in_memory_than_the_setting_says(
    upstream: ScriptedUpstream, disk: StuckDisk, tmp_path: Path
) -> None:
    block = framed(event({"choices": [{"index": 0, "delta": {"content": "x" * 199_000}}]}))
    upstream.script = lambda _call: [STREAM_HEAD, *[block] * 10, framed(event(b"more")), Stall()]
    with Server(upstream.base_url, tmp_path / "data", "--max-pending-bytes", str(MIB)) as server:
        with disk.held("write"):
            clients = [RawClient(server.port) for _ in range(20)]
            for client in clients:
                client.send(request("go on", stream=True))
            for client in clients:
                client.wait_for(b"data: more")
            wait_until(lambda: metrics(server).total(DROPPED, reason="journal_backlog_body") == 20)
            pending = metrics(server).total("tracemill_journal_pending_bytes")
            assert MIB / 2 < pending < MIB + 20 * 4096
        for client in clients:
            client.socket.close()


def test_c10_disk_then_memory_then_the_newest_is_dropped_counted_and_declared(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """While ingest takes nothing: 64 MiB of journal (and the rest of a segment), 1 MiB of memory, then nothing more."""
    flags = ("--max-pending-bytes", str(MIB), "--max-journal-bytes", str(64 * MIB))
    journal = tmp_path / "data" / "journal"
    with Server(upstream.base_url, tmp_path / "data", *flags) as server:
        (ingest,) = server.children("ingest")
        os.kill(ingest, signal.SIGSTOP)
        ids, question = [], "x" * 200_000
        with RawClient(server.port) as client:
            while metrics(server).total(DROPPED, reason="journal_backlog") < 20:
                for _ in range(20):
                    client.send(request(question))
                    received = client.read_answer(b"POST")
                    assert received.status == 200
                    ids.append(trace_id(received))
                assert len(ids) < 1000
        size = sum(file.stat().st_size for file in journal.glob("*/*.seg"))
        assert 64 * MIB <= size <= 80 * MIB + 4096
        os.kill(ingest, signal.SIGCONT)
        wait_until(lambda: metrics(server).total("tracemill_calls_total") == len(ids))
        dropped = int(metrics(server).total(DROPPED, reason="journal_backlog"))
        wait_until(lambda: len(records(tmp_path / "data")) == len(ids) - dropped, 20)
        kept = records(tmp_path / "data")
        assert [each in kept for each in ids] == [True] * len(kept) + [False] * dropped, "not the newest were dropped"
        declared = wait_until(lambda: _declared(tmp_path / "data"))
    assert declared == dropped


def _declared(data_dir: Path) -> int:
    return asyncio.run(declared_missing(data_dir)) if asyncio.run(dead_letters(data_dir))["gap"] else 0


def test_c11_a_call_that_an_upstream_drops_is_not_made_again(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """On a fresh connection and on a kept one, where a proxy may think that it was the connection's fault."""
    fine = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    upstream.script = lambda call: [fine] if b"fine" in call.body else [Reset()]
    with Server(upstream.base_url, tmp_path / "data") as server:
        questions = ("drop it", "fine", "fine", "drop it, too")
        for number, question in enumerate(questions, 1):
            received = ask(server, question)
            assert len(upstream.calls) == number
            if question != "fine":
                assert received.status == 502
                assert set(json_of(received.body)["error"]) == {"message", "type", "param", "code"}
        server.wait_traces(len(questions))
    assert len(upstream.calls) == len(questions)
    assert upstream.calls[-1].connection == upstream.calls[-2].connection, "no connection was kept: this proves half"


def json_of(body: bytes) -> dict[str, dict[str, str]]:
    value: dict[str, dict[str, str]] = json.loads(body)
    return value


def test_c11_unreachable_is_502_silent_is_504_and_a_cut_stream_is_cut(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with Server(UNREACHABLE, tmp_path / "nobody") as server:
        received = ask(server, "is anybody there")
        assert (received.status, json_of(received.body)["error"]["code"]) == (502, "upstream_unreachable")
    answers: list[Answer] = [[Stall()], [*HALF, Hangup()]]
    upstream.script = lambda _call: answers.pop(0)
    with Server(upstream.base_url, tmp_path / "silent", "--first-byte-timeout-s", "0.3") as server:
        received = ask(server, "say something")
        assert (received.status, json_of(received.body)["error"]["code"]) == (504, "upstream_timeout")
        cut = ask(server, "do not stop", stream=True)
        assert (cut.status, cut.ending) in [(200, Ending.CUT), (200, Ending.RESET)]
    assert answers == []


@pytest.mark.alone
def test_c12_a_client_that_leaves_ends_its_upstream_call_within_a_second_at_every_phase(
    raw_upstream: RawUpstream, tmp_path: Path
) -> None:
    flood, pause = framed(event("x" * 100_000)), Pause()
    phases = {
        "upload": [ReadBody()],
        "stuck_upload": [LeaveUnread(), pause],
        "first_token": [ReadBody(), Stall()],
        "middle": [ReadBody(), *HALF, Stall()],
        "not_reading": [ReadBody(), STREAM_HEAD, *[flood] * 300, Stall()],
    }
    with Server(raw_upstream.base_url, tmp_path / "data") as server:
        (worker,) = server.children("worker")
        idle = open_sockets(worker)
        for number, (phase, steps) in enumerate(phases.items()):
            raw_upstream.script = lambda _request, steps=steps: steps
            client = RawClient(server.port)
            if phase == "stuck_upload":
                _fill(client)
            else:
                client.send(request("I will not stay", stream=True)[: -20 if phase == "upload" else None])
            wait_until(lambda number=number: len(raw_upstream.requests) > number)
            if phase == "middle":
                client.wait_for(b"one")
            time.sleep(0.2)  # nothing tells a client that an upstream is stuck
            arrived = raw_upstream.requests[number]
            assert not arrived.is_over.is_set()
            # Behind bytes that nobody takes, a polite end of the connection would never arrive.
            client.abort() if phase == "stuck_upload" else client.socket.close()
            left = time.monotonic()
            if phase != "stuck_upload":  # an upstream that reads nothing does not hear of it
                assert arrived.is_over.wait(5)
            wait_until(lambda: open_sockets(worker) <= idle)
            assert time.monotonic() - left < 1.0, phase
        wait_until(lambda: metrics(server).total("tracemill_calls_in_flight") == 0)
        traces = server.wait_traces(len(phases))
        assert [trace["outcome"] for trace in traces] == ["client_disconnect"] * len(phases)
    pause.let_go()


def _fill(client: RawClient) -> None:
    """Send a body until nobody takes any more of it."""
    client.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n\r\n")
    client.socket.settimeout(0.5)
    try:
        while True:
            client.socket.send(b"x" * 65536)
    except TimeoutError:
        return


def test_c12_after_two_thousand_departures_every_slot_is_free(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Twenty may be in flight at once: a slot lost to one departure in a hundred would leave none."""

    def script(call: ReceivedCall) -> Answer:
        return [*HALF, Stall()] if call.json()["stream"] else answer(call)

    upstream.script = script
    with Server(upstream.base_url, tmp_path / "data", "--max-calls", "20") as server:
        for number in range(2000):
            client = RawClient(server.port)
            client.send(request("bye", stream=True))
            if number % 2:
                client.wait_for(b"one")
            client.abort() if number % 3 else client.socket.close()
        wait_until(lambda: metrics(server).total("tracemill_calls_in_flight") == 0)
        clients = [RawClient(server.port) for _ in range(20)]
        for client in clients:
            client.send(request("stay", stream=True))
        for client in clients:
            client.wait_for(b"one")
            client.socket.close()
        wait_until(lambda: metrics(server).total("tracemill_calls_in_flight") == 0)
        assert ask(server, "and now").status == 200
