"""A judge is held against people before its scores are believed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processing.calibration import kappa, load
from processing.errors import InputError
from processing.inputs import Files, read_inputs
from processing.kept_inputs import load_inputs, read_kept
from tests.processing.teachers import Body, Teachers, kind_of
from tests.processing.test_pipeline import inputs, run, traces


def row(number: int, label: str, **more: Any) -> Body:
    return {"prompt": f"question {number}", "answer": f"answer {number}", "label": label, **more}


def written(folder: Path, rows: list[Body]) -> Path:
    path = folder / "calibration.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.mark.parametrize(
    ("both_good", "only_judge", "only_person", "both_bad", "expected"),
    [(20, 5, 10, 15, 0.4), (45, 15, 25, 15, 0.1304), (10, 0, 0, 10, 1.0), (0, 5, 5, 0, -1.0)],
)
def test_kappa_by_the_book(both_good: int, only_judge: int, only_person: int, both_bad: int, expected: float) -> None:
    pairs = [(True, True)] * both_good + [(True, False)] * only_judge
    pairs += [(False, True)] * only_person + [(False, False)] * both_bad
    assert kappa(pairs) == pytest.approx(expected, abs=1e-4)


def test_kappa_is_nothing_where_nothing_can_be_told() -> None:
    assert kappa([]) is None
    assert kappa([(True, True)] * 9) is None


async def test_the_report_tells_how_the_judge_agrees_with_people(teachers: Teachers, tmp_path: Path) -> None:
    rows = [row(n, "good" if n % 2 else "bad", **({"reference": "r"} if n < 10 else {})) for n in range(20)]

    def says(data: Body) -> str:
        number = int(data["answer"].split()[-1]) if data["answer"].startswith("answer") else 1
        if number == 19:
            return "cannot tell"
        verdict = "good" if number % 2 or number == 0 else "bad"
        return json.dumps({"reason": "so", "verdict": verdict})

    teachers.judge = says
    given = replace(inputs(traces(40)), calibration=load(written(tmp_path, rows)))
    _, dataset = await run(given, teachers, tmp_path)
    found = dataset.report["judge_calibration"]
    assert {name: found[name] for name in ("file", "judge", "rows", "unparsable", "unanswered", "bad_called_good")} == {
        "file": "calibration.jsonl", "judge": "judge", "rows": 20, "unparsable": 1, "unanswered": 0,
        "bad_called_good": 1,
    }  # fmt: skip
    assert found["agreement"] == pytest.approx(18 / 19, abs=1e-6)
    assert found["kappa"] == pytest.approx(kappa([(n % 2 == 1 or n == 0, n % 2 == 1) for n in range(19)]), abs=1e-6)
    assert found["low"] < found["agreement"] < found["high"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert f"κ {found['kappa']}" in page
    asked = [body for body in teachers.requests if kind_of(body) == "tracemill_judge"]
    assert sum("nobody has written down the correct one" in body["messages"][0]["content"] for body in asked) == 10
    paid = len(teachers.requests)
    await run(given, teachers, tmp_path)
    assert len(teachers.requests) == paid


async def test_without_a_calibration_set_nothing_is_claimed(teachers: Teachers, tmp_path: Path) -> None:
    _, dataset = await run(inputs(traces(30)), teachers, tmp_path)
    assert dataset.report["judge_calibration"] is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"answer": "a", "label": "good"}, 'needs "messages" or a "prompt"'),
        ({"prompt": "p", "answer": "a", "label": "fine"}, "expected"),
        ({"prompt": "p", "answer": 7, "label": "bad"}, "has to be a text"),
        ({"messages": [{"role": "nobody"}], "answer": "a", "label": "bad"}, "jsonl:1: message 0"),
    ],
)
def test_a_row_of_another_form_is_named(tmp_path: Path, line: Body, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load(written(tmp_path, [line]))


def upload(folder: Path, calibration: str) -> Files:
    (folder / "job_description.json").write_text('{"task_description": "Help."}')
    (folder / "traces.jsonl").write_text(json.dumps(traces(1)[0]) + "\n")
    config = {"base": {"task": "chat-completion"}, "evaluation": {"calibration": calibration}}
    (folder / "config.json").write_text(json.dumps(config))
    return Files(folder / "job_description.json", folder / "config.json", folder / "traces.jsonl")


def test_the_set_is_read_beside_the_configuration(tmp_path: Path) -> None:
    written(tmp_path, [row(1, "good")])
    given = read_inputs(upload(tmp_path, "calibration.jsonl"))
    assert given.calibration is not None
    assert given.calibration.rows[0].is_good
    assert "calibration" in given.hashes


async def test_the_set_is_kept_with_the_other_inputs_of_a_run(teachers: Teachers, tmp_path: Path) -> None:
    written(tmp_path, [row(1, "good"), row(2, "bad")])
    given = read_inputs(upload(tmp_path, "calibration.jsonl"))
    settings = inputs(traces(5)).config.model_copy(update={"evaluation": given.config.evaluation})
    await run(replace(given, config=settings), teachers, tmp_path)
    (tmp_path / "calibration.jsonl").unlink()
    kept = load_inputs(tmp_path / "out")
    again, _ = read_kept(kept, kept.config)
    assert again.calibration == given.calibration


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "a/../../b.jsonl"])
def test_the_set_is_read_from_no_other_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"beside the configuration|has to be the name"):
        read_inputs(upload(tmp_path, name))
