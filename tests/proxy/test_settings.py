"""Settings are checked at start; each message names the key and the remedy."""

from pathlib import Path
from typing import Any

import pytest

from proxy.errors import SettingsError
from proxy.settings import load_settings


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
    assert "a-long-enough-secret" not in str(settings.model_dump(mode="json"))
    assert settings.admin_token is not None
    assert tmp_path.exists()
