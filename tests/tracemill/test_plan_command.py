"""`tracemill plan`, and a run that asks or stops before it spends."""

import json
from pathlib import Path

import pytest

from tests.processing.teachers import Teachers
from tests.tracemill.test_process_commands import SEED_LINES, teachers, tracemill, upload

__all__ = ["teachers"]

PRICES = """
models:
  openai.gpt-oss-120b: {price: {input: 1, output: 4}}
  zai.glm-5: {price: {input: 1, output: 4}}
  Qwen3-235B-A22B-Instruct-2507: {price: {input: 1, output: 4}}
  openai.gpt-oss-120b-thinking: {price: {input: 1, output: 4}}
  deepseek.v3.2: {price: {input: 1, output: 4}}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return upload(tmp_path, SEED_LINES)


def priced(data: Path) -> None:
    with (data / "config.yaml").open("a") as file:
        file.write(PRICES)


def test_a_plan_names_every_step_and_buys_nothing(teachers: Teachers, data: Path, tmp_path: Path) -> None:
    done = tracemill(["plan", "--data", "traces"], tmp_path, teachers)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 conversations" in done.stdout
    for word in ("filter", "relabel", "arbiter", "zai.glm-5", "unknown", "no price"):
        assert word in done.stdout
    assert teachers.requests == []
    assert not (tmp_path / "out").exists()
    priced(data)
    told = json.loads(tracemill(["plan", "--data", "traces", "--json"], tmp_path, teachers).stdout)
    assert told["calls"]["most"] >= told["calls"]["expected"] > 0
    assert told["most_cost"] > told["cost"] > 0


def test_a_run_that_may_cost_more_than_allowed_is_not_begun_unasked(
    teachers: Teachers, data: Path, tmp_path: Path
) -> None:
    priced(data)
    run = ["process", "--data", "traces", "--out", "out"]
    done = tracemill([*run, "--ask-above", "0.000001"], tmp_path, teachers)
    assert done.returncode == 2
    assert "nobody is there to ask" in done.stderr
    assert teachers.requests == []
    assert tracemill([*run, "--ask-above", "100"], tmp_path, teachers).returncode == 0
    assert tracemill([*run, "--ask-above", "0.000001", "--yes"], tmp_path, teachers).returncode == 0


def test_a_run_whose_cost_nobody_knows_is_asked_about(teachers: Teachers, data: Path, tmp_path: Path) -> None:
    done = tracemill(["process", "--data", "traces", "--out", "out", "--ask-above", "1000"], tmp_path, teachers)
    assert (done.returncode, teachers.requests) == (2, [])
    assert data.is_dir()


def test_a_budget_ends_the_run_in_part_and_is_said_by_status(teachers: Teachers, data: Path, tmp_path: Path) -> None:
    run = ["process", "--data", "traces", "--out", "out"]
    done = tracemill([*run, "--max-calls", "2"], tmp_path, teachers)
    assert done.returncode == 4
    assert "budget of 2 calls is used up" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(teachers.requests) == 2
    status = json.loads(tracemill(["status", "out", "--json"], tmp_path).stdout)
    assert status["status"] == "JOB_STOPPED"
    refused = tracemill([*run, "--max-cost", "5"], tmp_path, teachers)
    assert refused.returncode == 1
    assert "has no price" in refused.stderr
    assert len(teachers.requests) == 2
    priced(data)
    assert tracemill([*run, "--max-cost", "5"], tmp_path, teachers).returncode == 0
