"""`tracemill demo`, as a newcomer runs it: everything real but the models behind it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

TRACEMILL = Path(sys.executable).with_name("tracemill")
FILES = {"train.jsonl", "test.jsonl", "unstructured.jsonl", "predictions.jsonl", "report.html", "report.json"}
BOUND_S = 60


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "tracemill-demo"


@pytest.fixture(scope="module")
def first_run(demo_dir: Path) -> dict[str, Any]:
    return run_demo(demo_dir)


def run_demo(data_dir: Path) -> dict[str, Any]:
    command = [TRACEMILL, "demo", "--data-dir", data_dir, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, cwd=data_dir.parent, check=False)
    assert done.returncode == 0, done.stderr
    happened: dict[str, Any] = json.loads(done.stdout)
    return {**happened, "shown": done.stderr}


def rows_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line]


def test_the_demo_leaves_every_file_it_names(first_run: dict[str, Any]) -> None:
    assert set(first_run["files"]) == FILES | {"traces.jsonl", "openai"}
    for path in first_run["files"].values():
        assert Path(path).stat().st_size > 0, path
        assert Path(path).stat().st_mode & 0o077 == 0, f"{path} can be read by others"


def test_the_readme_shows_what_the_demo_shows(first_run: dict[str, Any]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = readme.split("$ tracemill demo\n")[1].split("```")[0].splitlines()
    claimed = [line for line in block if line != "…" and not line.startswith("Done in ")]
    assert len(claimed) > 15
    assert [line for line in claimed if line not in first_run["shown"].splitlines()] == []


def test_every_call_the_application_made_is_a_trace(first_run: dict[str, Any]) -> None:
    calls = first_run["calls"]
    assert first_run["traces"] == sum(calls.values())
    assert first_run["by_outcome"] == {
        "completed": calls["answered"],
        "client_disconnect": calls["left"],
        "upstream_error": calls["refused"],
    }
    assert len(rows_of(first_run["files"]["traces.jsonl"])) == calls["answered"]


def test_the_funnel_adds_up_and_every_stage_had_something_to_do(first_run: dict[str, Any]) -> None:
    for line in first_run["funnel"]:
        ended = sum(number for reasons in line["ended"].values() for number in reasons.values())
        assert line["in"] == line["out"] + ended, line
    reasons = {reason for line in first_run["funnel"] for why in line["ended"].values() for reason in why}
    assert {"low_relevance", "incomplete", "train", "test", "unstructured"} <= reasons
    assert first_run["intake"]["duplicates"] > 0


def test_relabelling_repairs_what_the_base_model_got_wrong(first_run: dict[str, Any]) -> None:
    rows = rows_of(first_run["files"]["train.jsonl"]) + rows_of(first_run["files"]["test.jsonl"])
    changed = [row for row in rows if row["metadata"]["is_changed"]]
    assert len(changed) >= 5
    assert not [row for row in rows if row["response"] in {"Just check the app.", "I'm sorry, I can't help with that."}]
    assert 0 < first_run["base_model_performance"]["llm-as-a-judge"] < 1


def test_the_dataset_is_frozen_and_the_teachers_do_better_on_it(first_run: dict[str, Any]) -> None:
    scores = first_run["evaluations"]
    assert scores["recorded"] == pytest.approx(first_run["base_model_performance"]["llm-as-a-judge"], abs=1e-6)
    assert scores["recorded"] < scores["teacher-c"] < scores["teacher-a"] == 1
    exported = Path(first_run["files"]["openai"])
    assert rows_of(str(exported / "train.jsonl"))[0]["messages"]
    assert "banking-v1" in (exported / "README.md").read_text()


def test_a_second_run_adds_to_the_store_and_keeps_the_first_dataset(demo_dir: Path, first_run: dict[str, Any]) -> None:
    before = Path(first_run["files"]["train.jsonl"]).read_bytes()
    second = run_demo(demo_dir)
    assert second["traces_before"] == first_run["traces"]
    assert second["traces"] == 2 * first_run["traces"]
    assert not set(second["files"].values()) & set(first_run["files"].values()) - {str(demo_dir / "traces.jsonl")}
    assert Path(first_run["files"]["train.jsonl"]).read_bytes() == before


def test_keep_leaves_the_server_running_until_told_to_stop(tmp_path: Path) -> None:
    command = [TRACEMILL, "demo", "--data-dir", tmp_path / "demo", "--keep"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as demo:
        assert demo.stdout is not None
        line = next(line for line in demo.stdout if "keeps running" in line)
        base_url = line.split("base_url ")[1].split(",")[0]
        with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
            answer = client.chat.completions.create(
                model="teacher-arbiter", messages=[{"role": "user", "content": "Hello!"}]
            )
            assert answer.choices[0].message.content == "Hello! How can I help you today?"
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()
            assert demo.wait(30) == 0
            with pytest.raises(openai.APIConnectionError):
                client.models.list()
