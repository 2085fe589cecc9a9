"""Settings are checked at start; each message names the key and the remedy."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import SettingsError
from proxy.settings import ServeSettings
from proxy.settings_json import from_json, to_json
from proxy.settings_source import load_settings


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "t.yaml", "upstream: https://file/v1\nport: 1\nworkers: 2\nhost: 127.0.0.2\n")
    monkeypatch.setenv("TRACEMILL_PORT", "3")
    monkeypatch.setenv("TRACEMILL_WORKERS", "4")
    settings = load_settings({"port": 5}, file)
    assert (settings.port, settings.workers, settings.host) == (5, 4, "127.0.0.2")
    assert settings.upstream == "https://file/v1"


def test_tracemill_yaml_of_this_folder_is_read_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "tracemill.yaml", "upstream: https://here/v1\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}, None).upstream == "https://here/v1"


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("", {}, "upstream is missing; give --upstream"),
        ("upstream: https://x/v1\nprot: 1\n", {}, "unknown key 'prot'; did you mean 'port'"),
        ("upstream: https://x/v1\nzzz: 1\n", {}, "known are upstream"),
        (
            "upstream: https://x/v1\ncontent_retention_days: 31\nmetadata_retention_days: 30\n",
            {},
            "content cannot outlive its trace",
        ),
        ("upstream: https://x/v1\nno_capture: true\nmax_store_bytes: 99000000\n", {}, "retention has no effect"),
        ("upstream: https://x/v1\ncontent_retention_days: 0\n", {}, "content_retention_days is 0"),
        ("upstream: https://x/v1\nport: many\n", {}, "port is 'many'"),
        ("- a\n", {}, "YAML mapping"),
        ("a: [\n", {}, "YAML mapping"),
        ("upstream: https://x/v1\n", {"admin_host": "0.0.0.0"}, "admin_host is '0.0.0.0'"),
        ("upstream: https://x/v1\n", {"admin_host": "10.0.0.1"}, "TRACEMILL_ADMIN_TOKEN"),
        ("upstream: https://u:pw@x/v1\n", {}, "upstream holds a user name or password"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(tmp_path: Path, text: str, flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, write(tmp_path / "t.yaml", text))
    assert said in str(caught.value)
    assert "pw@" not in str(caught.value)


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"upstream": "https://x/v1", "admin_token": "short-secret"}, None)
    assert "short-secret" not in str(caught.value)
    settings = load_settings({"upstream": "https://x/v1", "admin_token": "a-long-enough-secret"}, None)
    assert "a-long-enough-secret" not in repr(settings)
    assert "a-long-enough-secret" not in str(to_json(settings))
    assert settings.admin_token is not None
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"admin_host": "0.0.0.0"}, "admin_host"),
        ({"admin_token": "the-same-for-both", "admin_read_token": "the-same-for-both"}, "are the same"),
        ({"admin_read_token": "with a space inside it"}, "admin_read_token"),
        ({"admin_token": "with-a-line-end-inside\n"}, "admin_token"),
    ],
)
def test_tokens_that_would_let_in_too_many_or_nobody_are_refused(flags: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"upstream": "https://x/v1", **flags}, None)
    assert said in str(caught.value)
    assert not any(value in str(caught.value) for name, value in flags.items() if name != "admin_host")


def test_off_loopback_a_token_for_reading_is_enough() -> None:
    token = "a-token-for-readers"
    settings = load_settings({"upstream": "https://x/v1", "admin_host": "0.0.0.0", "admin_read_token": token}, None)
    assert settings.admin_read_token is not None


ROUTE = "routes:\n- name: azure\n  upstream: https://x.openai.azure.com\n"


def test_routes_are_read_from_the_file_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        tmp_path / "t.yaml", ROUTE + "  path: /openai/deployments/\n  read_timeout_s: 5\nfirst_byte_timeout_s: 7\n"
    )
    settings = load_settings({}, file)
    route = settings.route_table().routes[0]
    assert (route.name, route.timeouts.read_s, route.timeouts.first_byte_s) == ("azure", 5.0, 7.0)
    monkeypatch.setenv("TRACEMILL_ROUTES", '[{"name": "env", "upstream": "http://e/v1", "models": ["*"]}]')
    assert [route.name for route in load_settings({}, None).route_table().routes] == ["env"]


def test_a_process_reads_the_settings_that_its_parent_wrote_as_json(tmp_path: Path) -> None:
    file = write(tmp_path / "t.yaml", ROUTE + "  capture: metadata\n  model_alias: {a: b}\n  headers: {x-a: b}\n")
    settings = load_settings({"upstream": "http://up/v1"}, file)
    told = json.loads(json.dumps(to_json(settings, in_the_clear=True)))
    assert from_json(ServeSettings, told) == settings


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  pth: /x\n", "unknown key 'routes[0].pth'; did you mean 'path'?"),
        ("  api_key: canary-1\n", "unknown key 'routes[0].api_key'; did you mean 'api_key_env'?"),
        ("  api_key_env: gsk_canary1\n", "routes[0].api_key_env: String should match"),
        ("  api_key_env: NOT_THERE\n", "variable NOT_THERE is not set"),
        ("  path: openai\n", "routes[0].path is 'openai'"),
        ("  path: /a/../b\n", "routes[0].path"),
        ("  path: /a%2fb\n", "routes[0].path"),
        ("  path: /u/x\n", "served by the proxy itself"),
        ("  path: /healthz\n", "served by the proxy itself"),
        ("  strip: true\n", "strip has no effect without path"),
        ("  auth: api-key\n", "auth has no effect without api_key_env"),
        ("  sample: 0\n", "routes[0].sample is 0"),
        ("  sample: 1.5\n", "routes[0].sample is 1.5"),
        ("  capture: some\n", "routes[0].capture is 'some'"),
        ("  read_timeout_s: 0\n", "routes[0].read_timeout_s is 0"),
        ("  headers: {Authorization: canary-2}\n", "keys come from the environment"),
        ("  headers: {Cookie: canary-2}\n", "keys come from the environment"),
        ("  headers: {Host: evil}\n", "cannot be set"),
        ("  headers: {Transfer-Encoding: chunked}\n", "cannot be set"),
        ("  headers: {content-length: '1'}\n", "cannot be set"),
        ("  headers: {X-Tracemill-Session: a}\n", "cannot be set"),
        ('  headers: {X-A: "canary\\r\\nX-B: c"}\n', "is no header field"),
        ("- name: azure\n  upstream: http://b\n", "the name 'azure' is taken"),
        ("- name: Big\n  upstream: http://b\n", "routes[1].name is 'Big'"),
        ("- upstream: http://b\n", "routes[1].name is missing"),
        ("require_proxy_key: true\n", "no route has a key of its own"),
        ("upstream_ca_file: /no/such.pem\n", "upstream_ca_file is '/no/such.pem': no such file"),
        ("max_head_bytes: 10\n", "max_head_bytes is 10"),
    ],
)
def test_what_is_wrong_with_a_route_is_said_with_its_key(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, write(tmp_path / "t.yaml", ROUTE + more))
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)
