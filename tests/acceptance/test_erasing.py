"""What is erased is in no file of the data directory any more, and what others hold is as it was."""

import json
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx

from store.body import zstd
from tests import chat
from tests.server import Server, tracemill
from tests.upstream import ScriptedUpstream

SYSTEM = {"role": "system", "content": "You answer for the house of shared words. " * 40}
CANARY = "canary-4711"


def say(server: Server, *texts: str, **headers: str) -> str:
    """Have one call recorded; give its trace id."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    body = {"model": chat.MODEL, "messages": [SYSTEM, *turns]}
    answer = httpx.post(f"{server.base_url}/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    return answer.headers["x-tracemill-trace-id"]


def ask(server: Server, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        server.admin_url + path, data=data, method=method, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_done(server: Server, change: str, timeout_s: float = 20) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        found = ask(server, "GET", f"/admin/api/erasures/{change}")
        if found["finished_at"]:
            return found
        assert time.monotonic() < deadline, f"{found}\n{server.log()}"
        time.sleep(0.05)


def files_with(folder: Path, text: bytes) -> list[str]:
    """Name the files that hold a text as it is, or in any frame of zstd."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        str(path.relative_to(folder))
        for path in files
        if text in (data := path.read_bytes()) or any(text in each for each in frames(data))
    ]


def frames(data: bytes) -> Any:
    at = data.find(b"\x28\xb5\x2f\xfd")
    while at >= 0:
        with suppress(zstd.ZstdError):
            yield zstd.ZstdDecompressor().decompress(data[at:])
        at = data.find(b"\x28\xb5\x2f\xfd", at + 1)


def test_a_canary_is_in_no_file_after_it_was_erased(tmp_path: Path) -> None:
    data = tmp_path / "data"
    reply = {"role": "assistant", "content": f"I know {CANARY}-reply " * 20}
    with ScriptedUpstream(chat.replying(reply)) as upstream, Server(upstream.base_url, data) as server:
        gone = say(server, f"Here is {CANARY}-asked. " * 30, **{"x-tracemill-user": f"{CANARY}-user"})
        say(server, f"Another {CANARY}-second", **{"x-tracemill-user": f"{CANARY}-user"})
        upstream.script = chat.replying({"role": "assistant", "content": "Plain."})
        kept = say(server, "An innocent question", **{"x-tracemill-user": "someone"})
        server.wait_traces(3)
        ask(server, "POST", f"/admin/api/traces/{gone}/feedback", {"value": f"{CANARY}-comment"})
        assert any("traces.db" in name for name in files_with(data, CANARY.encode()))
        before = server.admin(f"/admin/api/traces/{kept}")
        accepted = ask(server, "DELETE", f"/admin/api/users/{CANARY}-user")
        done = wait_done(server, accepted["change_id"])
        assert done["result"]["traces"] == 2
        assert gone in done["trace_ids"]
        assert server.admin(f"/admin/api/traces/{kept}") == before
        assert len(server.admin("/admin/api/traces")["data"]) == 1
        # With the server still running: no waiting for a stop.
        assert files_with(data, CANARY.encode()) == []
        say(server, "Calls go on")
        server.wait_traces(2)
        assert tracemill("doctor", "--data-dir", data, "--verify").returncode == 0, server.log()
    assert files_with(data, CANARY.encode()) == []
    assert CANARY not in server.log()


def test_a_call_in_flight_while_its_user_is_erased_is_never_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    replying = chat.replying({"role": "assistant", "content": "Hi."})
    with ScriptedUpstream(replying) as upstream, Server(upstream.base_url, data) as server:
        say(server, "early", **{"x-tracemill-user": "jane"})
        server.wait_traces(1)
        server.kill("ingest")
        say(server, f"{CANARY} late", **{"x-tracemill-user": "jane"})
        accepted = ask(server, "DELETE", "/admin/api/users/jane")
        done = wait_done(server, accepted["change_id"])
        assert done["result"]["traces"] + int(forgotten(server)) >= 2
        assert server.admin("/admin/api/traces")["data"] == []
        assert files_with(data, CANARY.encode()) == []


def forgotten(server: Server) -> float:
    text = urllib.request.urlopen(server.admin_url + "/metrics", timeout=10).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("tracemill_ingest_forgotten_"))


def test_the_command_erases_with_and_without_a_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ScriptedUpstream(chat.replying({"role": "assistant", "content": f"{CANARY}"})) as upstream:
        with Server(upstream.base_url, data) as server:
            first = say(server, "one", **{"x-tracemill-session": "s1"})
            say(server, "two", **{"x-tracemill-session": "s2"})
            server.wait_traces(2)
            shown = tracemill("erase", "--data-dir", data, "--session", "s2", "--dry-run", "--json")
            assert json.loads(shown.stdout)["traces"] == 1
            refused = tracemill("erase", "--data-dir", data, "--session", "s2")
            assert refused.returncode == 2
            done = tracemill("erase", "--data-dir", data, "--trace", first, "--yes", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["result"]["traces"] == 1
            assert len(server.admin("/admin/api/traces")["data"]) == 1
        assert any("traces.db" in name for name in files_with(data, CANARY.encode()))
        done = tracemill("erase", "--data-dir", data, "--where", "session = s2", "--yes")
        assert done.returncode == 0, done.stderr
        assert "Erased 1 trace." in done.stdout
    assert files_with(data, CANARY.encode()) == []
    listed = tracemill("audit", "--data-dir", data, "--json")
    assert [each["kind"] for each in json.loads(listed.stdout)["data"]] == ["erase", "erase"]


def test_content_and_traces_go_by_age_while_calls_go_on(tmp_path: Path) -> None:
    data, config = tmp_path / "data", tmp_path / "t.yaml"
    seconds = 1 / 86400
    config.write_text(f"content_retention_days: {2 * seconds}\nmetadata_retention_days: {8 * seconds}\n")
    with (
        ScriptedUpstream(chat.replying({"role": "assistant", "content": f"{CANARY}"})) as upstream,
        Server(upstream.base_url, data, "--config", str(config)) as server,
    ):
        first = say(server, f"about {CANARY}")
        (trace,) = server.wait_traces(1)
        deadline = time.monotonic() + 30
        while "content_expired" not in trace["flags"]:
            assert time.monotonic() < deadline, server.log()
            trace = server.admin(f"/admin/api/traces/{first}")
        assert trace["messages"] == []
        while server.admin("/admin/api/traces")["data"]:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
        say(server, "later")
        server.wait_traces(1)
        found = json.loads(tracemill("doctor", "--data-dir", data, "--json").stdout)
        told = {each["name"]: each for each in found["findings"]}
        assert told["retention"]["facts"]["content_retention_days"] == 2 * seconds
        assert "calls_unaccounted" not in told
