"""`tracemill keys`: the key is shown once, the list never shows it, a mistake is told without a traceback."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.command_line import run_here


def tracemill(*arguments: object) -> CompletedProcess[str]:
    return run_here(arguments)


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = tracemill("keys", "add", "--name", "search", "--route", "azure", "--route", "local", "--data-dir", data)
    assert made.returncode == 0
    key = made.stdout.strip()
    assert key.startswith("tm-")
    assert "cannot be shown again" in made.stderr
    listed = tracemill("keys", "list", "--data-dir", data)
    assert f"search  …{key[-4:]}" in listed.stdout
    assert "azure, local" in listed.stdout
    [row] = json.loads(tracemill("keys", "list", "--json", "--data-dir", data).stdout)["data"]
    assert (row["name"], row["last4"], row["routes"]) == ("search", key[-4:], ["azure", "local"])
    assert key not in listed.stdout + json.dumps(row)
    assert tracemill("keys", "revoke", "search", "--data-dir", data).stdout == "search is revoked.\n"
    assert tracemill("keys", "list", "--data-dir", data).stdout == "No keys.\n"


def test_a_key_for_programs_is_one_json_object(tmp_path: Path) -> None:
    made = json.loads(tracemill("keys", "add", "--name", "a", "--json", "--data-dir", tmp_path).stdout)
    assert (made["name"], made["routes"], len(made["key"])) == ("a", [], 46)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["add", "--name", "a b"], "is no name for a key"), (["revoke", "nobody"], "no key is named 'nobody'")],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = tracemill("keys", *arguments, "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
