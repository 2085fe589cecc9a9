"""From captured traces to a frozen version, derived again, and erased from: the commands as people give them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from tests.processing.teachers import Teachers, serving
from tests.tracemill.test_erase_command import CANARY, OPTIONS, fill
from tracemill.cli import app

TRACE = str(UUID(int=6))
PROCESS = ["process", "--from-store", *OPTIONS, "--out", "out", "--dataset", "bank"]


@pytest.fixture
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teachers]:
    """Teachers for commands that are given in a folder with captured traces."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    with serving() as found:
        monkeypatch.setenv("TRACEMILL_TEACHER_BASE_URL", found.base_url)
        yield found


def said(*words: str, code: int = 0) -> str:
    options = () if "--data-dir" in words else ("--data-dir", "data")
    done = CliRunner().invoke(app, [*words, *options])
    assert done.exit_code == code, (words, done.output)
    return done.stdout if code == 0 else done.output


def told(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--json", *([] if "--data-dir" in words else ["--data-dir", "data"])])
    assert done.exit_code == code, (words, done.output)
    return json.loads(done.stdout)


def test_a_dataset_lives_from_its_traces_to_their_erasing(teachers: Teachers, tmp_path: Path) -> None:
    made = told(*PROCESS, "--note", "first run")
    assert (made["version"]["label"], made["version"]["note"], made["is_new_version"]) == ("bank-v1", "first run", True)
    rows = made["version"]["counts"]["rows"]
    assert rows == made["report"]["rows"]["train.jsonl"] + made["report"]["rows"]["test.jsonl"] == 6
    assert "holds just these rows already" in said(*PROCESS)
    asked = len(teachers.requests)
    assert said("datasets", "list") == f"bank-v1  (frozen, {rows} rows, first run)\n"

    again = told("datasets", "rebuild", "bank")
    assert (again["is_equal"], again["rebuilt_hash"]) == (True, made["version"]["hash"])
    assert "bank-v1 is what its inputs make" in said("datasets", "rebuild", "bank-v1")
    assert len(teachers.requests) == asked
    assert "nothing to leave out" in said("datasets", "rebuild", "bank", "--as-new", code=1)

    assert [one["version"] for one in told("where", TRACE)["versions"]] == ["bank-v1"]
    held = [str(tmp_path / "out"), "bank-v1"]
    assert told("erase", "--trace", TRACE, "--dry-run")["datasets"] == sorted(held)
    assert told("erase", "--trace", TRACE, "--yes")["result"]["datasets"] == sorted(held)
    assert said("datasets", "versions", "bank") == f"bank-v1  (frozen, {rows} rows, first run, erased: 1)\n"
    assert "1 row made from erased traces" in said("datasets", "show", "bank")
    assert told("datasets", "verify")["versions"][0]["erased"] == 1
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    export = ["datasets", "export", "bank", "--format", "openai"]
    assert "--without-erased" in said(*export, "-o", "refused", code=1)
    said(*export, "-o", "left", "--without-erased")
    assert "were erased" in said("datasets", "from-run", "out", "--name", "other", code=1)
    assert told("where", TRACE)["versions"] == []

    next_one = told("datasets", "rebuild", "bank", "--as-new")
    assert (next_one["label"], next_one["birth"], next_one["parent"]) == ("bank-v2", "rebuild", 1)
    assert (next_one["note"], next_one["erased"]) == ("v1 without 1 erased rows", 0)
    assert next_one["counts"]["rows"] == rows - 1
    diff = told("datasets", "diff", "bank-v1", "bank-v2")
    assert [len(diff[name]) for name in ("added", "removed", "changed", "moved")] == [0, 1, 0, 0]
    # Processed again, the traces that are left make just the rows that are left.
    last = told(*PROCESS)
    assert (last["version"]["label"], last["is_new_version"]) == ("bank-v2", False)
    found = told("datasets", "rebuild", "bank-v1", code=1)
    assert (found["is_equal"], found["is_equal_but_for_erased"], found["erased"]) == (False, True, 1)


def test_what_stands_in_the_way_of_a_version_is_said_before_anything_is_paid(
    teachers: Teachers, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n")
    said("datasets", "upload", "rows.jsonl", "--name", "bank")
    assert "bank-v1 is active" in said(*PROCESS, code=1)
    for name in ("../bank", "Bank", "bank-v1-v2", "", "a\nb"):
        told_so = said(*PROCESS[:-1], name, code=1)
        assert "names no dataset" in told_so
    assert "needs --dataset" in said(*PROCESS[:-2], "--note", "x", code=2)
    assert teachers.requests == []
    assert not (tmp_path / "out").exists()
    said("datasets", "freeze", "bank")
    assert "Name it by --from: rows.jsonl" in said("datasets", "rebuild", "bank", code=1)
    assert "is what its inputs make" in said("datasets", "rebuild", "bank", "--from", "rows.jsonl")
    said("datasets", "filter", "bank", "--pii", "drop")
    said("datasets", "freeze", "bank")
    (tmp_path / "rows.jsonl").unlink()
    assert "bank-v2 is what its inputs make" in said("datasets", "rebuild", "bank")
