"""The base model's score on the unfiltered sample tells the truth, also where the filtered one flatters."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.processing.teachers import Body, Teachers, last_user
from tests.processing.test_pipeline import inputs, run

CLASSES = {name: name for name in ("billing", "cards", "loans", "other")}
NAMES = list(CLASSES)
CONVERSATIONS = 120
SAMPLE = 50


def truth_of(question: str) -> str:
    return NAMES[int(question.split()[1]) % len(NAMES)]


def production(seed: int) -> tuple[list[Body], float]:
    """Recorded labels that are wrong in ways of their own, hard conversations more often; and how often in truth."""
    dice = random.Random(seed)
    lines, right, answers = [], 0, 0
    for number in range(CONVERSATIONS):
        is_hard = dice.random() < 0.3
        messages = []
        for turn in range(dice.randint(1, 3)):
            question = f"case {number * 10 + turn} about {dice.randrange(10**6)}{' off topic' if is_hard else ''}"
            truth = truth_of(question)
            is_right = dice.random() < (0.4 if is_hard else 0.9)
            said = truth if is_right else dice.choice([name for name in NAMES if name != truth])
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": said}]
            right += is_right
            answers += 1
        lines.append({"messages": messages})
    return lines, right / answers


def member(body: Body) -> Body:
    """A teacher that is right in nine of ten cases, each member in its own."""
    question = last_user(body)
    dice = random.Random(f"{body['model']} {question}")
    truth = truth_of(question)
    return {"content": truth if dice.random() < 0.9 else dice.choice([name for name in NAMES if name != truth])}


def knowing(data: Body) -> Body:
    truth = truth_of(data["conversation"][-1]["content"])
    said = [letter for letter, one in data["candidates"].items() if one[0]["content"] == truth]
    return {"reason": "so", "best": said[0] if said else "A", "also_correct": [], "none_correct": not said}


async def scored(seed: int, teachers: Teachers, folder: Path) -> tuple[float, Any, Any]:
    lines, truth = production(seed)
    teachers.reply, teachers.arbiter = member, knowing
    given = inputs(
        lines,
        task="classification",
        description={"task_description": "Sort.", "classes_description": CLASSES},
        num_traces_as_training_base=60,
        num_traces_as_testing_base=60,
        num_traces_as_unfiltered_sample=SAMPLE,
    )
    _, dataset = await run(given, teachers, folder, out=f"out{seed}")
    base = dataset.report["base_model"]
    return truth, base["unfiltered_sample"]["intervals"]["accuracy"], base["test"]["intervals"]["accuracy"]


@pytest.mark.parametrize("seed", range(3))
async def test_the_unfiltered_interval_holds_the_truth_and_filtering_flatters(
    teachers: Teachers, tmp_path: Path, seed: int
) -> None:
    truth, sample, test = await scored(seed, teachers, tmp_path)
    assert sample["low"] <= truth <= sample["high"]
    assert test["mean"] > truth
