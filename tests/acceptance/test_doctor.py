"""The self-check beside a real server: running, with a killed process, stopped, and killed as a whole."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests import chat
from tests.folder_state import folder_state
from tests.server import Server, tracemill
from tests.upstream import ScriptedUpstream, plain

CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(lambda _call: plain(json.dumps(chat.completion(chat.text("Hello"))).encode())) as running:
        yield running


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def call(server: Server, number: int, **headers: str) -> None:
    body = {"model": "m-1", "messages": [{"role": "user", "content": f"{number} {CANARY}"}]}
    answer = httpx.post(
        f"{server.base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {CANARY}", **headers}
    )
    assert answer.status_code == 200


def doctor(data_dir: Path, *flags: str) -> dict[str, Any]:
    told = tracemill("doctor", "--data-dir", data_dir, "--json", *flags)
    assert told.returncode in (0, 1), told.stderr
    assert CANARY not in told.stdout + told.stderr
    return {"code": told.returncode, **{each["name"]: each for each in json.loads(told.stdout)["findings"]}}


def test_a_running_server_is_well_and_its_counts_agree_with_the_store(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEMILL_ADMIN_TOKEN", CANARY)
    with Server(upstream.base_url, tmp_path / "data", "--workers", "2") as server:
        for number in range(30):
            call(server, number, **({"x-tracemill-capture": "off"} if number < 4 else {}))
        found = doctor(server.data_dir, "--verify")
        assert found["code"] == 0, found
        assert found["server"]["facts"]["proxy"] + "/v1" == server.base_url
        assert found["server"]["facts"]["pid"] == server.process.pid
        assert found["settings"]["facts"]["settings"]["admin_token"] == "set"
        assert found["ingest"]["facts"]["pid"] in server.children("ingest")
        assert found["capture"]["what"] == "of 30 calls since the start 26 are stored; not recorded: 4 capture_off."
        assert found["verified"]["facts"]["traces"] == 26
        server.kill("ingest")
        call(server, 31)
        found = doctor(server.data_dir)
        assert "1 times" in found["process_restarted"]["what"]
        assert found["ingest"]["facts"]["pid"] in server.children("ingest")
    at_rest = folder_state(server.data_dir)
    found = doctor(server.data_dir, "--verify")
    assert (found["code"], found["verified"]["facts"]["traces"]) == (0, 27)
    assert "server_stopped" in found
    assert folder_state(server.data_dir) == at_rest


def test_settings_that_were_read_again_are_those_that_are_told(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    config = tmp_path / "tracemill.yaml"
    config.write_text("read_timeout_s: 50\n")
    with Server(upstream.base_url, tmp_path / "data", "--config", str(config)) as server:
        assert "read_timeout_s=50" in doctor(server.data_dir)["settings"]["what"]
        config.write_text("read_timeout_s: 70\n")
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "read_timeout_s=70" not in doctor(server.data_dir)["settings"]["what"]:
            assert time.monotonic() < deadline, server.log()


def test_after_a_kill_of_everything_what_waits_is_told_and_nothing_touched(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with Server(upstream.base_url, tmp_path / "data") as server:
        call(server, 1)
        server.wait_traces(1)
        ingest = server.children("ingest")[0]
        os.kill(ingest, signal.SIGSTOP)
        call(server, 2)
        children = [ingest, *server.children("worker"), *server.children("admin")]
        server.kill_supervisor()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(is_running(pid) for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed = folder_state(server.data_dir)
        found = doctor(server.data_dir, "--verify")
        assert folder_state(server.data_dir) == killed
    assert found["code"] == 0
    assert found["journal_waiting"]["facts"]["calls"] == 1
    assert found["verified"]["facts"]["traces"] == 1
    assert found["metrics_leftover"]["facts"]["folders"]
