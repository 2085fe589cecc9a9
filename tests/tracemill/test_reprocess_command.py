"""`tracemill reprocess`: the traces of a run under other settings, shown before anything is replaced."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.processing.teachers import Body, Teachers
from tests.tracemill.test_erase_command import CANARY, OPTIONS, fill, process
from tests.tracemill.test_process_commands import files, many, teachers, tracemill, upload

__all__ = ["teachers"]
HALF = 6


def by_number(conversation: Body) -> tuple[int, int]:
    """Every conversation is relevant; those of odd numbers only just."""
    number = int(conversation["messages"][-1]["content"].split()[-1])
    return (4 if number % 2 else 5), 5


@pytest.fixture
def bank(teachers: Teachers, tmp_path: Path) -> Path:
    teachers.relevance = by_number
    upload(tmp_path, many(2 * HALF))
    done = tracemill(["process", "--data", "traces", "--out", "bank"], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    teachers.requests.clear()
    return tmp_path / "bank"


def given(folder: Path, text: str, name: str = "new.yaml") -> str:
    (folder / name).write_text(text)
    return name


def rows(folder: Path) -> int:
    return sum(len((folder / name).read_text().splitlines()) for name in ("train.jsonl", "test.jsonl"))


def test_a_moved_threshold_shows_its_rows_first_and_asks_nobody(teachers: Teachers, bank: Path, tmp_path: Path) -> None:
    before = files(bank)
    name = given(tmp_path, "trace_processing: {min_relevance_score: 5}\n")
    arguments = ["reprocess", "bank", "--config", name]
    asked = tracemill(arguments, tmp_path)
    assert asked.returncode == 2, asked.stderr
    assert "trace_processing.min_relevance_score: 4 -> 5" in asked.stdout
    assert "Nobody is asked" in asked.stdout
    dropped = next(line for line in asked.stdout.splitlines() if line.startswith("dropped.jsonl"))
    assert dropped.split()[1:] == [str(HALF), "0", "0", "0"]
    assert "Give --yes" in asked.stderr
    assert not (tmp_path / "bank-2").exists()
    done = tracemill([*arguments, "--yes"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert teachers.requests == []
    assert files(bank) == before
    assert rows(tmp_path / "bank-2") == HALF
    again = tracemill([*arguments, "--yes", "--json"], tmp_path)
    told = json.loads(again.stdout)
    assert (told["done"], Path(told["out_dir"]).name) == (True, "bank-3")
    assert told["settings"] == [{"name": "trace_processing.min_relevance_score", "before": 4, "after": 5}]
    assert told["rows"]["dropped.jsonl"]["added"] == HALF


def test_a_run_is_reprocessed_in_place_and_back_to_the_same_bytes(
    teachers: Teachers, bank: Path, tmp_path: Path
) -> None:
    before = files(bank)
    harder, softer = "min_relevance_score: 5\n", '{"trace_processing": {"min_relevance_score": 4}}'
    in_place = ["--out", "bank", "--yes"]
    given(tmp_path, harder, "harder.yaml")
    given(tmp_path, softer, "softer.json")
    done = tracemill(["reprocess", "bank", "--trace-processing-config", "harder.yaml", *in_place], tmp_path)
    assert done.returncode == 0, done.stderr
    assert rows(bank) == HALF
    done = tracemill(["reprocess", "bank", "--trace-processing-config", "softer.json", *in_place], tmp_path)
    assert done.returncode == 0, done.stderr
    assert files(bank) == before
    assert teachers.requests == []


def test_new_members_of_the_committee_are_planned_before_they_are_asked(
    teachers: Teachers, bank: Path, tmp_path: Path
) -> None:
    members = ["zai.glm-5", "Qwen3-235B-A22B-Instruct-2507", "new-member"]
    name = given(tmp_path, json.dumps({"relabelling_committee_models": members}), "new.json")
    arguments = ["reprocess", "bank", "--trace-processing-config", name]
    asked = tracemill(arguments, tmp_path, teachers)
    assert asked.returncode == 2, asked.stderr
    assert "new-member" in asked.stdout
    refused = tracemill([*arguments, "--out", name, "--yes"], tmp_path, teachers)
    assert (refused.returncode, "new.json: cannot be the output folder" in refused.stderr) == (1, True), refused.stderr
    assert teachers.requests == []
    done = tracemill([*arguments, "--yes"], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert {body["model"] for body in teachers.requests} == {"new-member"}
    assert rows(bank) == rows(tmp_path / "bank-2")


def test_traces_that_changed_or_went_are_said_and_those_that_were_loaded_are_used(bank: Path, tmp_path: Path) -> None:
    kept = list((bank / ".tracemill-inputs").iterdir())
    assert kept
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    shutil.rmtree(tmp_path / "traces")
    name = given(tmp_path, "trace_processing: {min_relevance_score: 5}\n")
    done = tracemill(["reprocess", "bank", "--config", name, "--yes"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "traces.jsonl is gone; what the run has loaded of it is used" in done.stdout
    more = tracemill(["reprocess", "bank-2", "--config", name, "--yes", "--json"], tmp_path)
    assert more.returncode == 0, more.stderr
    for folder in ("bank", "bank-2", "bank-3"):
        (tmp_path / folder / ".tracemill-inputs" / "traces.jsonl.gz").unlink()
    gone = tracemill(["reprocess", "bank", "--config", name, "--yes"], tmp_path)
    assert gone.returncode == 1
    assert "Run `tracemill process` on the traces as they are now" in gone.stderr
    shutil.rmtree(bank / ".tracemill-inputs")
    gone = tracemill(["reprocess", "bank", "--config", name, "--yes"], tmp_path)
    assert (gone.returncode, "holds nothing of what the run worked on" in gone.stderr) == (1, True)


def test_what_cannot_be_meant_is_refused(bank: Path, tmp_path: Path) -> None:
    refused: list[tuple[str, list[str], int, str]] = [
        ("{}", [], 2, "give exactly one of --config FILE"),
        ("{}", ["--config", "new.yaml", "--trace-processing-config", "new.yaml"], 2, "give exactly one of --config"),
        ("evaluation: {}\n", ["--config", "new.yaml"], 1, "has no section trace_processing"),
        ("min_relevance: 5\n", ["--trace-processing-config", "new.yaml"], 1, 'did you mean "min_relevance_score"'),
        ("trace_processing: {}\nbasis: 3\n", ["--config", "new.yaml"], 1, "basis is not a known key"),
    ]
    for text, arguments, code, says in refused:
        given(tmp_path, text)
        done = tracemill(["reprocess", str(bank), *arguments], tmp_path)
        assert (done.returncode, done.stdout) == (code, "")
        assert says in done.stderr
    # Other sections do not count, and that is said.
    whole: dict[str, Any] = {"base": {"task": "classification"}, "trace_processing": {"min_relevance_score": 5}}
    name = given(tmp_path, json.dumps(whole), "new.json")
    done = tracemill(["reprocess", str(bank), "--config", name], tmp_path)
    assert "note: base differs from the run's and does not count" in done.stdout


def test_what_was_erased_is_neither_kept_nor_processed_again(teachers: Teachers, tmp_path: Path) -> None:
    fill(tmp_path)
    process(tmp_path, "stored", teachers)
    exported = ["export", "-o", "exported.jsonl", "--data-dir", "data"]
    assert tracemill(exported, tmp_path).returncode == 0
    made = tracemill(["process", "--traces", "exported.jsonl", *OPTIONS, "--out", "filed"], tmp_path, teachers)
    assert made.returncode == 0, made.stderr
    erase = ["erase", "--trace", str(UUID(int=6)), "--data-dir", "data", "--yes"]
    assert tracemill(erase, tmp_path).returncode == 0
    (tmp_path / "exported.jsonl").unlink()
    name = given(tmp_path, "trace_processing: {min_relevance_score: 3}\n")
    options = ["--config", name, "--data-dir", "data", "--yes"]
    done = tracemill(["reprocess", "stored", *options], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert "1 of the run's 6 traces are no longer in the store" in done.stdout
    assert not any(CANARY.encode() in content for content in files(tmp_path / "stored-2").values())
    gone = tracemill(["reprocess", "filed", *options], tmp_path, teachers)
    assert gone.returncode == 1
    assert "so is the run's own copy (it goes when traces are erased)" in gone.stderr
