"""Committees whose truth is known: their common label is better than the best of them, and few rows need an arbiter."""

import json
from pathlib import Path

import pytest

from benchmarks.simulated_committees import CLASSES, FORMS, baseline, simulate
from processing.inputs import Files, read_inputs
from processing.kept_inputs import load_inputs
from processing.lineage import Entry
from processing.lineage_calls import calls_behind
from store.work import WorkStore
from tests.processing.teachers import Body, Teachers, last_user
from tests.processing.test_pipeline import chat, inputs, rows, run

COMMITTEES = [
    (0.95, 0.6, 0.6, 0.6),
    (0.9, 0.8, 0.7, 0.6),
    (0.6, 0.65, 0.7, 0.6),
    (0.6, 0.6, 0.6, 0.6),
    (0.95, 0.9, 0.85, 0.8, 0.7, 0.6),
]


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("accuracies", COMMITTEES)
def test_the_voted_label_is_at_least_as_right_as_the_best_member(kind: str, accuracies: tuple[float, ...]) -> None:
    found = [simulate(kind, accuracies, rows=300, seed=seed) for seed in range(2)]
    best = max(map(sum, zip(*(one.members_right for one in found), strict=True)))
    assert sum(one.voted_right for one in found) >= best
    assert sum(one.arbitrated for one in found) < 0.3 * sum(one.rows for one in found)


def test_the_unfiltered_baseline_holds_the_truth_in_nine_runs_of_ten() -> None:
    found = [baseline(seed) for seed in range(60)]
    assert sum(one.holds for one in found) >= 0.9 * len(found)


def right_class(body: Body) -> str:
    return CLASSES[int(last_user(body).split()[2]) % len(CLASSES)]


def one_that_knows(body: Body) -> Body:
    """Member one is always right; the others err on different rows, and on some of them at once."""
    number = int(last_user(body).split()[2])
    beside = {"two": number % 2 == 0, "three": 2 * (number % 3 == 0)}.get(body["model"], 0)
    return {"content": CLASSES[(CLASSES.index(right_class(body)) + beside) % len(CLASSES)]}


async def test_a_run_weighs_votes_by_what_the_whole_run_tells(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = one_that_knows
    lines = [chat(f"Case number {n} is about {n * 7919 % 9973} things", CLASSES[n * 5 % 6]) for n in range(120)]
    given = inputs(
        lines,
        task="classification",
        num_traces_as_training_base=80,
        num_traces_as_testing_base=40,
        num_traces_as_unfiltered_sample=20,
        description={"task_description": "Sort.", "classes_description": {name: name for name in CLASSES}},
    )
    _, dataset = await run(given, teachers, tmp_path)
    made = [*rows(tmp_path / "out", "train.jsonl"), *rows(tmp_path / "out", "test.jsonl")]
    assert len(made) > 60
    for row in made:
        assert row["response"] == CLASSES[int(row["prompt"].split()[2]) % 6], row["prompt"]
    reliability = dataset.report["relabel"]["reliability"]
    assert reliability["one"] == max(reliability.values())
    assert reliability["original"] == min(reliability.values())
    contested = [row for row in made if row["metadata"]["method"] == "vote"]
    assert contested
    for row in contested:
        assert 0.6 <= row["metadata"]["confidence"] <= 1
        assert {vote["source"]: vote["reliability"] for vote in row["metadata"]["votes"]} == reliability
    assert dataset.report["relabel"]["arbitrated"] == 0


async def test_votes_count_all_alike_where_that_is_wanted(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = one_that_knows
    lines = [chat(f"Case number {n} is about {n * 7919 % 9973} things", CLASSES[n * 5 % 6]) for n in range(80)]
    description = {"task_description": "Sort.", "classes_description": {name: name for name in CLASSES}}
    given = inputs(lines, task="classification", weighted_votes=False, description=description)
    _, dataset = await run(given, teachers, tmp_path)
    assert dataset.report["relabel"]["reliability"] == {}
    assert {row["metadata"]["confidence"] for row in rows(tmp_path / "out", "train.jsonl")} == {None}


async def test_a_row_can_be_explained_by_the_weights_of_its_run(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = one_that_knows
    lines = [chat(f"Case number {n} is about {n * 7919 % 9973} things", CLASSES[n * 5 % 6]) for n in range(80)]
    traces = tmp_path / "traces.jsonl"
    traces.write_text("".join(json.dumps(line) + "\n" for line in lines))
    description = {"task_description": "Sort.", "classes_description": {name: name for name in CLASSES}}
    (tmp_path / "job_description.json").write_text(json.dumps(description))
    config = inputs(lines, task="classification", description=description).config.model_dump(mode="json")
    del config["not_used"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = Files(tmp_path / "job_description.json", tmp_path / "config.json", traces)
    await run(read_inputs(files), teachers, tmp_path)
    paid = len(teachers.requests)
    row = next(one for one in rows(tmp_path / "out", "train.jsonl") if one["metadata"]["method"] == "vote")
    made = row["metadata"]
    entry = Entry(
        "example",
        row["row_id"],
        made["conversation_id"],
        made["source"],
        (),
        "kept",
        "output",
        "train",
        "train.jsonl",
        1,
    )
    environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    async with await WorkStore.open(tmp_path / "work.db") as work:
        found = await calls_behind(entry, load_inputs(tmp_path / "out"), work, environ)
    assert found.relabelled is not None
    assert found.relabelled.confidence == pytest.approx(row["metadata"]["confidence"], abs=1e-6)
    assert found.relabelled.example.messages[-1].content == row["response"]
    assert len(teachers.requests) == paid
