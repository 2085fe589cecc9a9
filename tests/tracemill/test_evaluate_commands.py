"""`tracemill evaluate`, `compare` and `evaluations` against scripted models."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from click.testing import Result
from rich.cells import cell_len
from typer.testing import CliRunner

from processing.evaluation.comparison import Comparison, Difference
from processing.evaluation.evaluate import Evaluated
from processing.evaluation.suite import Suite
from tests.processing.evaluation.versions import frozen, label_for, label_row, opened, right_in
from tests.processing.teachers import Body, Teachers, serving
from tracemill.cli import app
from tracemill.evaluate_commands import _leave
from tracemill.evaluation_text import comparison_text

TRACEMILL = [sys.executable, "-m", "tracemill.cli"]
CONFIG = "base: {llm_num_parallel_requests: 4}\nmodels:\n  good: {price: {input: 100, output: 200}}\n"


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        found.reply = reply
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def made() -> None:
        async with await opened(tmp_path) as store:
            await frozen(store, [label_row(number, original_response="other") for number in range(30)])
            await frozen(store, [label_row(number) for number in range(3)], "open", freeze=False)

    asyncio.run(made())
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def reply(body: Body) -> Body:
    return right_in(0.95 if body["model"] == "good" else 0.3, label_for)(body)


def tracemill(folder: Path, teachers: Teachers | None, *arguments: str) -> Result:
    """Run a command in this process, which a test of its words needs no other for."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(app, list(arguments), env=environ(teachers))


def environ(teachers: Teachers | None) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")}
    base_url = {} if teachers is None else {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    return {**known, **base_url, "TRACEMILL_DATA_DIR": "."}


def test_a_version_is_evaluated_compared_shown_and_written_out(folder: Path, teachers: Teachers) -> None:
    both = ["--model", "good", "--model", "poor", "--config", "config.yaml"]
    files = ["--html", "page.html", "--plot", "plots"]
    made = tracemill(folder, teachers, "evaluate", "support", *both, *files, "--baseline", "recorded")
    assert made.exit_code == 0, made.stderr
    for said in (
        "support-v1 test  good  30 answers",
        "accuracy",
        "good better",
        "page.html",
        "plots/scores.png",
        "scored as",
    ):
        assert said in made.stdout
    assert (folder / "page.html").stat().st_mode & 0o777 == 0o600
    asked = len(teachers.requests)
    again = json.loads(tracemill(folder, teachers, "evaluate", "support-v1", *both, "--json").stdout)
    assert len(teachers.requests) == asked == 60
    ids = [one["evaluation_id"] for one in again["evaluations"]]

    listed = tracemill(folder, None, "evaluations", "list", "support-v1").stdout.splitlines()
    assert len(listed) == 3
    assert tracemill(folder, None, "evaluations", "list", "open").stdout == ""
    shown = tracemill(folder, None, "evaluations", "show", ids[0][:6], "--json")
    assert json.loads(shown.stdout)["cost"]["per_row"] == 0.002

    compared = tracemill(folder, None, "compare", *ids)
    assert "good better" in compared.stdout
    named = json.loads(
        tracemill(folder, None, "compare", "support", "--model", "good", "--model", "poor", "--json").stdout
    )
    assert named["differences"] == again["comparison"]["differences"]

    written = tracemill(folder, None, "evaluations", "predictions", ids[0], "-o", "out.jsonl")
    assert written.stdout == "out.jsonl\n"
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert len(lines) == 30
    assert {"row_id", "question", "answer", "prediction", "context", "accuracy", "failure", "cost"} <= lines[0].keys()
    assert sum(line["accuracy"] for line in lines) / 30 == pytest.approx(
        again["evaluations"][0]["metrics"]["scores"]["accuracy"]["mean"], abs=1e-6
    )


def test_a_comparison_fits_the_terminal_whatever_models_are_called() -> None:
    """It was folded at 80 columns, and wide letters pushed what followed out of its column."""
    names = ("accuracy", "gpt-4o-mini", "千问", -0.12, -0.2, -0.04, 0.01, 3, 20, 7, 30, 15, "千问 better")
    comparison = Comparison((), (), (Difference(*names), Difference("rouge", *names[1:])), ())
    title, *whole = comparison_text(comparison, ["accuracy", "rouge"], None).splitlines()
    *rows, note = comparison_text(comparison, ["accuracy", "rouge"], 80).splitlines()
    assert title == rows.pop(0)
    for full, row in zip(whole, rows, strict=True):
        assert full.startswith(row)
        assert cell_len(row) <= 80
    head, *pairs = rows
    assert {cell_len(row.partition("千问 better")[0]) for row in pairs} == {cell_len(head.partition("verdict")[0])}
    assert note == "  Too narrow for: better / equal / worse, holds together. --json has everything."


def test_a_cutoff_that_is_not_met_has_an_exit_code_of_its_own(folder: Path, teachers: Teachers) -> None:
    command = ["evaluate", "support", "--model", "good", "--config", "config.yaml"]
    met = tracemill(folder, teachers, *command, "--cutoffs", "accuracy=0.8,cost_per_row<=0.01,failures=0")
    assert met.exit_code == 0
    assert "met      accuracy>=0.8  good: 0.9" in met.stdout
    missed = tracemill(folder, teachers, *command, "--cutoffs", "accuracy=0.8,cost_per_row<=0.001")
    assert missed.exit_code == 5
    assert "NOT MET  cost_per_row<=0.001  good: 0.002" in missed.stdout
    as_json = tracemill(folder, teachers, *command, "--cutoffs", "accuracy=1.01", "--json")
    assert as_json.exit_code == 5
    assert [one["is_met"] for one in json.loads(as_json.stdout)["cutoffs"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["evaluate", "support"], 2, "--model"),
        (["evaluate", "support", "--model", "m", "--metrics", "bleu"], 2, "there are accuracy, rouge"),
        (["evaluate", "support", "--model", "m", "--metrics", "rouge"], 2, "there are accuracy."),
        (["evaluate", "support", "--model", "m", "--cutoffs", "acc=1"], 2, 'none named "acc"'),
        (["evaluate", "support", "--model", "m", "--cutoffs", "rouge=1"], 2, "there are accuracy, cost_per_row"),
        (
            ["evaluate", "support", "--model", "m", "--cutoffs", "billng:recall=1"],
            2,
            "there are billing:recall, other:recall, technical:recall.",
        ),
        (["evaluate", "support", "--model", "m", "--cutoffs", "0.9"], 2, "accuracy=0.9"),
        (["evaluate", "support", "--model", "m", "--html", "none/x.html"], 1, "none: is no folder"),
        (["evaluate", "support", "--model", "m", "--html", "."], 1, "is a folder"),
        (["evaluate", "support", "--model", "m", "--plot", "work.db/plots"], 1, "work.db: is no folder"),
        (["evaluate", "open-v1", "--model", "m"], 1, "tracemill datasets freeze open"),
        (["evaluate", "nobody", "--model", "m"], 1, "there is no dataset"),
        (["compare", "aaaa"], 2, "two evaluations"),
        (["compare", "aaaa", "bbbb"], 1, 'no evaluation "aaaa"'),
        (["compare", "support", "--model", "a", "--model", "b"], 1, "tracemill evaluate support-v1 --model a"),
        (["evaluations", "show", "abcdef"], 1, "tracemill evaluations list"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nobody_is_asked(
    folder: Path, teachers: Teachers, arguments: list[str], code: int, said: str
) -> None:
    found = tracemill(folder, teachers, *arguments)
    assert found.exit_code == code, found.stderr
    assert said in found.stderr
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert teachers.requests == []


def test_without_a_database_there_is_nothing_to_list(tmp_path: Path) -> None:
    found = tracemill(tmp_path, None, "evaluations", "list")
    assert (found.exit_code, found.stdout) == (0, "")


def test_answers_that_are_missing_leave_the_work_done_in_part() -> None:
    whole = Evaluated((), Suite.TEXT, (), (), unfinished=0)
    _leave(whole, [])
    with pytest.raises(typer.Exit) as caught:
        _leave(replace(whole, unfinished=1), [])
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_an_evaluation_that_is_stopped_goes_on_and_pays_nothing_twice(
    folder: Path, teachers: Teachers, stop: signal.Signals
) -> None:
    teachers.hold_from = 15
    command = [*TRACEMILL, "evaluate", "support", "--model", "good", "--config", "config.yaml"]
    running = subprocess.Popen(
        command, cwd=folder, env=environ(teachers), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert teachers.held.wait(30)
    running.send_signal(stop)
    running.communicate(timeout=30)
    assert running.returncode == (130 if stop is signal.SIGTERM else -9)
    teachers.hold_from = None
    answered = 14
    before = len(teachers.requests)
    found = tracemill(folder, teachers, "evaluate", "support", "--model", "good", "--config", "config.yaml", "--json")
    assert found.exit_code == 0, found.stderr
    # An answer that came as the process was killed may be lost; no more than were in flight.
    assert 30 - answered <= len(teachers.requests) - before <= 30 - answered + 4
    assert json.loads(found.stdout)["evaluations"][0]["counts"]["answered"] == 30


def test_a_budget_stops_in_part_and_the_same_command_goes_on(folder: Path, teachers: Teachers) -> None:
    command = ["evaluate", "support", "--model", "good", "--config", "config.yaml"]
    stopped = tracemill(folder, teachers, *command, "--max-calls", "10")
    assert stopped.exit_code == 4
    assert "budget of 10 calls" in stopped.stderr
    assert tracemill(folder, teachers, *command, "--max-calls", "20").exit_code == 0
    assert len(teachers.requests) == 30
