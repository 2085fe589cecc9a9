"""`tracemill datasets judge`, `filter` and `split` as a person gives them."""

import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.command_line import run_here
from tests.processing.teachers import Body, Teachers, row_scores, serving
from tracemill.cli import app
from tracemill.personal_data import find_personal


def by_words(shown: Body) -> Body:
    said = json.dumps(shown["messages"])
    return row_scores(2, 3, 2, 2) if "bad" in said else row_scores(5, 5, 4, 5)


class Shop:
    """A data directory with a dataset of some tickets, and a judge."""

    def __init__(self, folder: Path, teachers: Teachers) -> None:
        self.folder = folder
        self.teachers = teachers

    def run(self, *arguments: object) -> CompletedProcess[str]:
        environ = {**os.environ, "TRACEMILL_TEACHER_BASE_URL": self.teachers.base_url, "COLUMNS": "200"}
        return run_here([*arguments, "--data-dir", self.folder / "data"], environ=environ)

    def json(self, *arguments: object) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    lines = [{"prompt": f"ticket {n} says {'bad ' * (n % 5 == 0)}{n * 7919}", "response": "billing"} for n in range(20)]
    lines += [{"prompt": "mail me at ann@example.com, it is urgent", "response": "technical"}]
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serving() as teachers:
        teachers.judge_row = by_words
        made = Shop(tmp_path, teachers)
        assert made.run("datasets", "upload", path, "--name", "tickets").returncode == 0
        yield made


def test_a_dataset_is_judged_filtered_and_split_from_the_command_line(shop: Shop) -> None:
    (shop.folder / "criteria.txt").write_text("Classes are billing and technical.")
    (shop.folder / "job.json").write_text('{"task_description": "Route tickets."}')
    criteria, job = shop.folder / "criteria.txt", shop.folder / "job.json"
    done = shop.run("datasets", "judge", "tickets", "--model", "m", "--criteria", criteria, "--job-description", job)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "tickets-v1: 21 rows in, 21 with an end",
        "  before  21 kept, 0 dropped, 0 failed, 0 to review",
        "  after   17 kept, 4 dropped, 0 failed, 0 to review",
        "  judge         4 low_judge_score",
        "  changed 4 rows are kept no more, 0 came back",
        "  judge   threshold 0.7, 21 scored, 0 no verdict, 0 not judged, 21 calls paid, 0 known already",
    ]
    assert "Route tickets." in json.dumps(shop.teachers.requests[0])
    assert "Classes are billing" in json.dumps(shop.teachers.requests[0])
    moved = shop.json("datasets", "judge", "tickets", "--threshold", "0.2")
    assert (moved["returned"], moved["threshold"], moved["judge"]) == (4, 0.2, "m")
    assert len(shop.teachers.requests) == 21
    filtered = shop.json("datasets", "filter", "tickets", "--pii", "drop", "--max-chars", "60", "--min-score", "0.5")
    assert filtered["ended"] == {"filter": {"below_min_score": 4, "personal_data": 1}}
    split = shop.run("datasets", "split", "tickets", "--test-fraction", "0.3")
    assert split.returncode == 0, split.stderr
    assert "leakage: 0 groups on both sides" in split.stdout
    shown = shop.json("datasets", "show", "tickets")
    assert shown["manifest"]["curation"].keys() == {"judge", "filter", "split"}
    assert shown["counts"]["train"] + shown["counts"]["test"] == 16


def test_the_judge_is_a_cheap_model_or_that_of_the_last_time(shop: Shop) -> None:
    assert shop.json("datasets", "judge", "tickets")["judge"] == "openai/gpt-4o-mini"
    assert shop.json("datasets", "judge", "tickets", "--model", "m")["judge"] == "m"
    again = shop.json("datasets", "judge", "tickets")
    assert (again["judge"], again["paid"], again["cached"]) == ("m", 0, 21)


def test_a_budget_ends_in_part_and_the_same_command_goes_on(shop: Shop) -> None:
    stopped = shop.run("datasets", "judge", "tickets", "--model", "m", "--max-calls", "5")
    assert stopped.returncode == 4
    assert "5 calls" in stopped.stderr
    assert shop.json("datasets", "judge", "tickets", "--model", "m")["paid"] == 16


REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    (("judge", "tickets"), 1, "openai/gpt-4o-mini"),
    (("judge", "tickets", "--threshold", "0.5"), 1, "no row with a judge's score"),
    (("judge", "tickets", "--model", "m", "--threshold", "7"), 1, "from 0 to 1"),
    (("judge", "parcels", "--threshold", "0.5"), 1, "parcels"),
    (("judge", "tickets", "--model", "m"), 1, "TRACEMILL_TEACHER_BASE_URL"),
    (("judge", "tickets", "--model", "m", "--criteria", "nowhere.txt"), 1, "nowhere.txt"),
    (("filter", "tickets", "--where", "tags"), 1, "field=value"),
    (("filter", "tickets", "--max-chars", "-1"), 1, "--max-chars"),
    (("split", "tickets"), 1, "--test-fraction"),
    (("split", "tickets", "--test-fraction", "0.5", "--test", "3"), 2, "give one of"),
    (("split", "tickets", "--test-fraction", "1.5"), 1, "between 0 and 1"),
]


def test_what_cannot_be_done_is_said_and_changes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEMILL_TEACHER_BASE_URL", raising=False)
    before = shop.run("datasets", "show", "tickets").stdout
    for arguments, code, said in REFUSED:
        done = CliRunner().invoke(app, ["datasets", *arguments, "--data-dir", str(shop.folder / "data")])
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
        assert "Traceback" not in done.stderr
    assert shop.run("datasets", "show", "tickets").stdout == before


def test_personal_data_are_those_that_redaction_knows_and_no_placeholder_of_it() -> None:
    assert find_personal("write to ann@example.com or 4111 1111 1111 1111") == ["card", "email"]
    assert find_personal("write to [EMAIL_1f0c93ab]") == []
    assert find_personal("nothing here") == []
