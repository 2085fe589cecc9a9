"""Routes and proxy keys over real sockets: each call reaches its upstream, and no key reaches another's."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.server import Server, tracemill
from tests.upstream import ReceivedCall, ScriptedUpstream, json_answer

OWN_KEY = "canary-own-key-of-azure"
CLIENTS_KEY = "sk-canary-of-a-client"
REPLY = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]}

CONFIG = """
routes:
  - name: azure
    upstream: http://127.0.0.1:{azure}
    path: /openai/deployments
    api_key_env: ROUTES_TEST_KEY
    auth: api-key
  - name: local
    upstream: http://127.0.0.1:{local}/v1
    models: ["qwen*", fast]
    model_alias:
      fast: qwen3-8b-instruct
    headers:
      X-Department: research
  - name: silent
    upstream: http://127.0.0.1:{local}/v1
    path: /silent
    strip: true
    capture: "off"
  - name: some
    upstream: http://127.0.0.1:{local}/v1
    path: /some
    strip: true
    sample: 0.5
"""


class Setup(NamedTuple):
    server: Server
    default: ScriptedUpstream
    azure: ScriptedUpstream
    local: ScriptedUpstream


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    folder = tmp_path_factory.mktemp("routes")
    with (
        ScriptedUpstream(script=lambda _call: json_answer(REPLY)) as default,
        ScriptedUpstream(script=lambda _call: json_answer(REPLY)) as azure,
        ScriptedUpstream(script=lambda _call: json_answer(REPLY)) as local,
    ):
        config = folder / "tracemill.yaml"
        config.write_text(CONFIG.format(azure=azure.port, local=local.port))
        os.environ["ROUTES_TEST_KEY"] = OWN_KEY
        try:
            with Server(default.base_url, folder / "data", "--config", str(config)) as server:
                yield Setup(server, default, azure, local)
        finally:
            del os.environ["ROUTES_TEST_KEY"]


def post(setup: Setup, path: str, body: bytes, key: str = CLIENTS_KEY, **headers: str) -> httpx2.Response:
    fields = {"content-type": "application/json", "authorization": f"Bearer {key}", **headers}
    root = f"http://127.0.0.1:{setup.server.port}"
    return httpx2.post(root + path, content=body, headers=fields, timeout=20, trust_env=False)


def arrived(setup: Setup) -> tuple[str, ReceivedCall]:
    """Return the one call that came in since the last look, and where."""
    found = [
        (name, call)
        for name, upstream in (("default", setup.default), ("azure", setup.azure), ("local", setup.local))
        for call in upstream.calls
    ]
    for upstream in (setup.default, setup.azure, setup.local):
        upstream.calls.clear()
    assert len(found) == 1
    return found[0]


def test_a_call_goes_where_its_path_says_with_the_key_of_that_upstream(setup: Setup) -> None:
    path = "/openai/deployments/D/chat/completions?api-version=2024-10-21"
    answer = post(setup, path, b'{"messages":[]}', **{"x-api-key": CLIENTS_KEY, "cookie": CLIENTS_KEY})
    name, call = arrived(setup)
    assert (answer.status_code, name, call.target) == (200, "azure", path.encode())
    assert call.header(b"api-key") == OWN_KEY.encode()
    assert CLIENTS_KEY.encode() not in b"".join(value for _, value in call.headers)


def test_a_call_goes_where_its_model_says(setup: Setup) -> None:
    for model, upstream in (("gpt-4o", "default"), ("qwen3", "local")):
        body = json.dumps({"messages": [], "model": model}).encode()
        assert post(setup, "/v1/chat/completions", body).status_code == 200
        name, call = arrived(setup)
        assert (name, call.body, call.target) == (upstream, body, b"/v1/chat/completions")
        assert call.header(b"authorization") == f"Bearer {CLIENTS_KEY}".encode()


def test_an_alias_is_replaced_and_nothing_else(setup: Setup) -> None:
    body = b'{ "messages": [{"role":"user","content":"\xc3\xa9 fast"}],\n "model" : "fast" , "n":1e0}'
    assert post(setup, "/v1/chat/completions", body).status_code == 200
    name, call = arrived(setup)
    assert (name, call.body) == ("local", body.replace(b'"fast"', b'"qwen3-8b-instruct"'))
    assert call.header(b"content-length") == str(len(call.body)).encode()
    assert call.header(b"x-department") == b"research"


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b'{"model":"qwen3","model":"gpt-4o"}', {}), (b'{"model":"qwen3"}', {"content-encoding": "gzip"})],
)
def test_a_model_that_cannot_be_told_calls_nobody(setup: Setup, body: bytes, headers: dict[str, str]) -> None:
    answer = post(setup, "/v1/chat/completions", body, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_unreadable")
    assert answer.headers["x-tracemill-error"] == "model_unreadable"
    assert not setup.default.calls + setup.azure.calls + setup.local.calls


def test_a_file_is_streamed_past_the_routes_by_model(setup: Setup) -> None:
    size = 70 * 1024 * 1024
    answer = post(setup, "/v1/files", b"x" * size, **{"content-type": "multipart/form-data; boundary=b"})
    name, call = arrived(setup)
    assert (answer.status_code, name, len(call.body)) == (200, "default", size)


def test_a_route_decides_what_is_kept(setup: Setup) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"silence canary"}]}'
    assert post(setup, "/silent/chat/completions", body, **{"x-tracemill-capture": "full"}).status_code == 200
    sessions = {}
    for number in range(12):
        for _ in range(2):
            headers = {"x-tracemill-session": f"s{number}"}
            answer = post(setup, "/some/chat/completions", body.replace(b"silence", b"%d" % number), **headers)
            sessions.setdefault(number, []).append(answer.headers["x-tracemill-trace-id"])
    for upstream in (setup.default, setup.azure, setup.local):
        upstream.calls.clear()
    post(setup, "/v1/chat/completions", b'{"model":"gpt-4o","messages":[{"role":"user","content":"the last"}]}')
    arrived(setup)
    kept = kept_of(setup.server, "the last")
    assert "silence canary" not in kept
    taken = [number for number in sessions if f'"{number} canary"' in kept]
    assert 0 < len(taken) < 12
    for number, ids in sessions.items():
        assert [trace_id in kept for trace_id in ids] == [number in taken] * 2


def kept_of(server: Server, awaited: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        kept = json.dumps(server.export("--where", "outcome = completed"))
        if awaited in kept:
            return kept
        assert time.monotonic() < deadline, kept[-2000:]
        time.sleep(0.05)


def test_a_proxy_key_opens_its_route_and_is_gone_when_revoked(setup: Setup) -> None:
    data = setup.server.data_dir
    key = tracemill("keys", "add", "--name", "team", "--route", "azure", "--data-dir", data).stdout.strip()
    path = "/openai/deployments/D/chat/completions"
    wait_for_status(setup, path, key, 200)
    for upstream in (setup.default, setup.azure, setup.local):
        assert key.encode() not in b"".join(value for call in upstream.calls for _, value in call.headers)
        upstream.calls.clear()
    setup.server.wait_for(lambda: setup.server.export("--all", "--where", "tag.proxy_key = team"), 1, 10)
    refused = post(setup, "/v1/chat/completions", b"{}", key=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "route_not_allowed")
    tracemill("keys", "revoke", "team", "--data-dir", data)
    wait_for_status(setup, path, key, 401)
    assert not setup.default.calls + setup.local.calls
    for secret in (key, OWN_KEY, CLIENTS_KEY):
        for file in data.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
        assert secret not in setup.server.log()


def wait_for_status(setup: Setup, path: str, key: str, status: int) -> None:
    deadline = time.monotonic() + 5
    while post(setup, path, b'{"messages":[]}', key=key).status_code != status:
        assert time.monotonic() < deadline, f"no {status} within 5 s"
        time.sleep(0.05)


def test_without_a_proxy_key_nothing_is_called_where_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTES_TEST_KEY", OWN_KEY)
    monkeypatch.setenv("TRACEMILL_REQUIRE_PROXY_KEY", "true")
    key = tracemill("keys", "add", "--name", "a", "--data-dir", tmp_path / "data").stdout.strip()
    with ScriptedUpstream(script=lambda _call: json_answer(REPLY)) as azure:
        config = tmp_path / "tracemill.yaml"
        config.write_text(CONFIG.format(azure=azure.port, local=azure.port))
        with Server(azure.base_url, tmp_path / "data", "--config", str(config)) as server:
            alone = Setup(server, azure, azure, azure)
            path = "/openai/deployments/D/chat/completions"
            for wrong in ("none", CLIENTS_KEY, key[:-1] + ("a" if key[-1] != "a" else "b")):
                answer = post(alone, path, b"{}", key=wrong)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            answer = post(alone, "/silent/chat/completions", b"{}", key=key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "route_without_key")
            assert azure.calls == []
            assert post(alone, path, b"{}", key=key).status_code == 200
            assert httpx2.get(server.base_url.removesuffix("/v1") + "/healthz", trust_env=False).status_code == 200


def test_a_missing_key_is_said_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTES_TEST_KEY", raising=False)
    config = tmp_path / "tracemill.yaml"
    config.write_text(CONFIG.format(azure=1, local=1))
    done = tracemill("serve", "--config", config, "--data-dir", tmp_path / "data", "--port", "0", "--admin-port", "0")
    assert done.returncode == 1
    assert "route 'azure': the environment variable ROUTES_TEST_KEY is not set" in done.stderr
