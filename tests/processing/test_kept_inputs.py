"""What a run keeps of its inputs, and how it reads them again."""

import json
from pathlib import Path

import pytest

from processing.errors import InputError
from processing.inputs import Files, read_inputs
from processing.kept_inputs import BASE_URL, keep_inputs, load_inputs, read_kept
from tests.processing.test_pipeline import BANKING, traces

CONFIG = {
    "base": {"task": "chat-completion", "llm_num_parallel_requests": 7},
    "trace_processing": {"min_relevance_score": 2},
    "tuning": {"epochs": 3},
    "models": {"m": {"base_url": "https://user:canary@llm.example/v1?key=canary", "max_parallel": 3}},
}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "traces.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in traces(5)) + "{broken\n")
    (tmp_path / "job.json").write_text(json.dumps({"task_description": BANKING}))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "test.csv").write_text("question,answer\nWhat?,That.\n")
    return Files(tmp_path / "job.json", tmp_path / "config.json", tmp_path / "traces.jsonl", tmp_path / "test.csv")


def test_inputs_are_read_again_as_they_were_though_the_files_are_gone(files: Files, tmp_path: Path) -> None:
    given = read_inputs(files)
    out = tmp_path / "out"
    out.mkdir()
    keep_inputs(out, given, {BASE_URL: "https://me:canary@teachers.example/v1"})
    for path in (files.traces, files.test, files.job_description, files.config):
        assert path is not None
        path.unlink()
    kept = load_inputs(out)
    assert kept.config.as_manifest() == given.config.as_manifest()
    assert kept.config.parallel == 7
    assert kept.config.ineffective == given.config.ineffective == ["tuning.epochs"]
    again, notes = read_kept(kept, kept.config)
    assert (again.intake, again.test, again.description) == (given.intake, given.test, given.description)
    assert again.hashes == given.hashes
    assert len(notes) == 3
    assert all("is gone" in note for note in notes)
    assert not any(b"canary" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_models_are_asked_where_they_were_unless_the_environment_says_otherwise(files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    keep_inputs(out, read_inputs(files), {BASE_URL: "https://then/v1"})
    kept = load_inputs(out)
    assert kept.environ({"HOME": "/h"}) == {"HOME": "/h", BASE_URL: "https://then/v1"}
    assert kept.environ({BASE_URL: ""})[BASE_URL] == "https://then/v1"
    assert kept.environ({BASE_URL: "https://now/v1"})[BASE_URL] == "https://now/v1"


def test_equal_files_have_equal_copies_and_a_file_that_changes_meanwhile_is_refused(
    files: Files, tmp_path: Path
) -> None:
    given = read_inputs(files)
    copies = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        keep_inputs(tmp_path / name, given, {})
        copies.append((tmp_path / name / ".tracemill-inputs" / "traces.jsonl.gz").read_bytes())
    assert copies[0] == copies[1]
    assert files.traces is not None
    files.traces.write_text("{}\n")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="has changed while it was read"):
        keep_inputs(tmp_path / "c", given, {})


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 1, "config": {}, "not_used": {}}'])
def test_damaged_facts_are_said(content: str, tmp_path: Path) -> None:
    (tmp_path / ".tracemill-inputs").mkdir()
    (tmp_path / ".tracemill-inputs" / "inputs.json").write_text(content)
    with pytest.raises(InputError, match="Run `tracemill process`"):
        load_inputs(tmp_path)
