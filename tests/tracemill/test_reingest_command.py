"""Traces made again on the command line, with a server and without one; and what was sent, shown."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.command_line import run_here
from tests.server import Server, export
from tests.upstream import Answer, ReceivedCall, ScriptedUpstream, plain

ANSWER = b'{"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'


def script(call: ReceivedCall) -> Answer:
    return plain(b"\xff\xfe no text" if b"binary" in call.body else ANSWER)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(script) as running:
        yield running


def ask(server: Server, text: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    assert httpx.post(f"{server.base_url}/chat/completions", json=body).status_code == 200


def fill(upstream: ScriptedUpstream, data_dir: Path, *flags: str) -> None:
    with Server(upstream.base_url, data_dir, *flags) as server:
        for number in range(3):
            ask(server, f"call {number}")
        server.wait_traces(3)


def spoil(data_dir: Path) -> None:
    """Leave the traces as an assembler would have that understood less."""
    with closing(sqlite3.connect(data_dir / "traces.db")) as database:
        database.execute("DELETE FROM replies")
        database.execute("UPDATE traces SET upstream_id = NULL, is_complete = 0")
        database.commit()


def reingest(data_dir: Path, *flags: str) -> dict[str, Any]:
    done = run_here(["reingest", "--data-dir", data_dir, "--json", *flags])
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def counts(**given: int) -> dict[str, object]:
    none = {"traces": 0, "same": 0, "changed": 0, "without_raw": 0, "failed": 0, "replaced": 0, "is_dry_run": False}
    return {**none, **given}


def test_traces_are_made_again_without_a_server_and_beside_one(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    fill(upstream, data_dir)
    before = export(data_dir)
    assert reingest(data_dir) == counts(traces=3, same=3)
    spoil(data_dir)
    assert export(data_dir) == []
    assert reingest(data_dir, "--dry-run") == {**counts(traces=3, changed=3), "is_dry_run": True}
    assert export(data_dir) == []
    assert reingest(data_dir) == counts(traces=3, changed=3, replaced=3)
    assert export(data_dir) == before
    spoil(data_dir)
    with Server(upstream.base_url, data_dir) as server:
        assert reingest(data_dir, "--where", "model = m", "--since", "2026-01-01") == counts(
            traces=3, changed=3, replaced=3
        )
        assert server.export() == before
    assert reingest(data_dir, "--where", "model = other") == counts()
    assert reingest(data_dir, "--since", "2999-01-01") == counts()


def test_what_is_not_kept_cannot_be_made_again_and_that_is_said(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    fill(upstream, data_dir, "--raw-retention-days", "0")
    assert reingest(data_dir) == counts(traces=3, without_raw=3)
    assert not (data_dir / "raw").exists()
    (first, *_) = [trace["metadata"]["trace_id"] for trace in export(data_dir)]
    shown = run_here(["traces", "show", first, "--data-dir", data_dir, "--raw"])
    assert (shown.returncode, "not kept" in shown.stderr) == (1, True)


def test_where_calls_are_redacted_it_is_refused(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    fill(upstream, data_dir, "--redact", "secrets")
    assert not (data_dir / "raw").exists()
    done = run_here(["reingest", "--data-dir", data_dir])
    assert (done.returncode, "redacted" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def raw_files(data_dir: Path) -> list[Path]:
    return list((data_dir / "raw").glob("*.raw"))


def test_raw_calls_that_are_there_go_when_redaction_is_turned_on(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    fill(upstream, data_dir)
    assert raw_files(data_dir)
    with Server(upstream.base_url, data_dir, "--redact", "secrets") as server:
        server.wait_for(lambda: [] if raw_files(data_dir) else [1], 1, 20)


def test_a_running_server_holds_raw_calls_to_their_bound(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    bound = 256 * 1024
    with Server(upstream.base_url, data_dir, "--raw-retention-bytes", str(bound)) as server:
        for number in range(1, 41):
            ask(server, os.urandom(20_000).hex())
            if number % 5 == 0:  # what is stored at once lies together, and goes together
                server.wait_traces(number)
        server.wait_for(lambda: [1] if sum(path.stat().st_size for path in raw_files(data_dir)) <= bound else [], 1, 20)
    assert raw_files(data_dir)
    told = reingest(data_dir)
    assert (told["same"] > 0, told["without_raw"] > 0, told["same"] + told["without_raw"]) == (True, True, 40)


@pytest.mark.parametrize("arguments", [("--where", "colour = red"), ("--since", "yesterday")])
def test_a_wrong_selection_is_a_mistake_of_usage(tmp_path: Path, arguments: tuple[str, str]) -> None:
    assert run_here(["reingest", "--data-dir", tmp_path, *arguments]).returncode == 2


def test_a_data_directory_without_traces_is_said(tmp_path: Path) -> None:
    done = run_here(["reingest", "--data-dir", tmp_path])
    assert (done.returncode, "there is no traces.db" in done.stderr) == (1, True)


def test_what_was_sent_and_came_back_is_shown(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Server(upstream.base_url, data_dir) as server:
        ask(server, "call \u202e")
        ask(server, "binary")
        binary, text = (trace["id"] for trace in server.wait_traces(2))
        shown = json.loads(run_here(["traces", "show", text, "--data-dir", data_dir, "--raw", "--json"]).stdout)
        assert json.loads(shown["request"]["body"])["messages"][0]["content"] == "call \u202e"
        assert (shown["response"]["body"].encode(), shown["status"], shown["path"]) == (
            ANSWER,
            200,
            "/v1/chat/completions",
        )
        lines = run_here(["traces", "show", text, "--data-dir", data_dir, "--raw"]).stdout
        assert "Hello" in lines
        assert "\u202e" not in lines
        odd = json.loads(run_here(["traces", "show", binary, "--data-dir", data_dir, "--raw", "--json"]).stdout)
        assert odd["response"]["body_encoding"] == "base64"
