"""Every metric against values that were computed by hand; `why` in each line of the files says how."""

import json
from pathlib import Path
from typing import Any

import pytest

from processing.metrics import classification_scores, score_reply
from store.recorded.message import Message

DATA = Path(__file__).parent / "data" / "metrics"


def cases(name: str) -> list[Any]:
    lines = [json.loads(line) for line in (DATA / name).read_text("utf-8").split("\n") if line]
    return [pytest.param(line, id=line["why"][:60]) for line in lines]


def scored(case: dict[str, Any], task: str) -> dict[str, float | None]:
    prediction, reference = Message("assistant", case["prediction"]), Message("assistant", case["reference"])
    return score_reply(prediction, reference, task=task, tools=case.get("tools"))


@pytest.mark.parametrize("case", cases("text.jsonl"))
def test_text_metrics_are_as_computed_by_hand(case: dict[str, Any]) -> None:
    found = scored(case, "question-answering")
    assert found == {name: pytest.approx(case[name], abs=1e-6) for name in ("binary", "rouge", "meteor")}


@pytest.mark.parametrize("case", cases("tool.jsonl"))
def test_tool_metrics_are_as_computed_by_hand(case: dict[str, Any]) -> None:
    found = scored(case, "tool-calling-closed-book")
    names = ("tool_call_equivalence", "binary_tool_call", "staged_tool_call")
    assert {name: found[name] for name in names} == {name: case[name] for name in names}


def test_classification_is_as_computed_by_hand() -> None:
    case = json.loads((DATA / "classification.json").read_text("utf-8"))
    found = classification_scores([tuple(pair) for pair in case["pairs"]], case["classes"])
    assert found.keys() == case["scores"].keys()
    for name, expected in case["scores"].items():
        assert found[name] == pytest.approx(expected, abs=1e-6)
