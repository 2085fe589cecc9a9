"""`tracemill clusters` as a person uses it."""

import asyncio
import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from benchmarks.clusters import write
from benchmarks.made_intents import make_prompts
from tests.command_line import run_here


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(write(folder / "traces.db", make_prompts(300)))
    return folder


def run(data_dir: Path, *arguments: str, group: str = "clusters") -> CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")}
    return run_here([group, *arguments, "--data-dir", data_dir], environ=environ)


def told(data_dir: Path, *arguments: str, group: str = "clusters") -> Any:
    found = run(data_dir, *arguments, "--json", group=group)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_traces_become_named_clusters_and_a_cluster_becomes_a_dataset(data_dir: Path) -> None:
    """The page's fast path: cluster, look, promote."""
    built = run(data_dir, "build")
    assert built.returncode == 0, built.stderr
    assert 'cluster 1   → "' in built.stdout
    assert "build 1 of 20" in built.stdout
    listed = told(data_dir, "list")
    assert listed["build"]["counts"]["traces"] == 300
    largest = listed["clusters"][0]
    assert f'cluster {largest["id"]:<3} → "{largest["name"]}"' in run(data_dir, "list").stdout
    assert f"({largest['traces']:,} traces" in built.stdout
    shown = told(data_dir, "show", str(largest["id"]), "--examples", "3")
    assert [len(one["text"]) > 0 for one in shown["examples"]] == [True] * 3
    assert shown["examples"][0]["trace_id"] in run(data_dir, "show", str(largest["id"])).stdout
    apart = told(data_dir, "show", "unclustered", "--examples", "1000")["examples"]
    assert len(apart) == 300 - listed["build"]["counts"]["clustered"]
    assert {one["reason"] for one in apart} == set(listed["build"]["counts"]["unclustered"])
    promoted = told(
        data_dir, "promote", str(largest["id"]), "--name", "triage-v1", "--rows", "5",
        "--exclude", shown["examples"][0]["trace_id"],
    )  # fmt: skip
    assert (promoted["version"], promoted["kept"]) == ("triage-v1", 5)
    assert any("500 to 2,000 is the sweet spot" in warning for warning in promoted["warnings"])
    again = run(data_dir, "promote", str(largest["id"]), "--name", "triage")
    assert (again.returncode, "active" in again.stderr) == (1, True)
    rows = run(data_dir, "rows", "triage-v1", "--json", group="datasets")
    assert rows.returncode == 0, rows.stderr
    assert str(largest["id"]) in rows.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["build", "--k", "many"], 2, "expected auto"),
        (["build", "--where", "no such"], 2, "--where"),
        (["build", "--embedder", "e"], 1, "has no base URL"),
        (["show", "99"], 1, "no cluster 99"),
        (["show", "x"], 2, "expected a number"),
        (["promote", "99", "--name", "x"], 1, "no cluster 99"),
    ],
)
def test_mistakes_are_told_in_a_sentence(data_dir: Path, arguments: list[str], code: int, words: str) -> None:
    found = run(data_dir, *arguments)
    assert (found.returncode, words in found.stderr) == (code, True), found.stderr
    assert "Traceback" not in found.stderr


def test_before_the_first_build_the_next_step_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, "list")
    assert (found.returncode, "tracemill clusters build" in found.stderr) == (1, True)
