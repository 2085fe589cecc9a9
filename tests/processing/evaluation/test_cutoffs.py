"""Cutoffs read as they are written, know what they may name, and an unknown number keeps none."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.errors import InputError, UnknownMetricError
from processing.evaluation.cutoffs import Cutoff, check_cutoffs, check_numbers, hold, read_cutoffs
from store.datasets.evaluation import Evaluation


def evaluation(model: str = "m", **changes: Any) -> Evaluation:
    scores = {"accuracy": {"mean": 0.9, "low": 0.85, "high": 0.94}}
    known: dict[str, Any] = {
        "metrics": {"scores": scores, "classes": {"a: b": {"recall": 0.7}}},
        "cost": {"per_row": None},
        "latency": {"p50_ms": 20.0, "p90_ms": 90.0, "p99_ms": 200.0},
        "counts": {"failures": {"length": 2, "rejected": 1}, "answers": 30},
    }
    return Evaluation("e" * 16, "d", 1, "f", "f", "test", model, model, {}, **{**known, **changes})


def test_each_bound_has_a_direction() -> None:
    assert read_cutoffs("accuracy=0.9, rouge>=.4,cost_per_row=0.01,failures=0,a: b:recall>=1e-1,") == [
        Cutoff("accuracy", True, 0.9),
        Cutoff("rouge", True, 0.4),
        Cutoff("cost_per_row", False, 0.01),
        Cutoff("failures", False, 0.0),
        Cutoff("a: b:recall", True, 0.1),
    ]
    assert read_cutoffs("accuracy<=0.9") == [Cutoff("accuracy", False, 0.9)]


@pytest.mark.parametrize(
    "text", ["", ",", "accuracy", "accuracy=", "=0.9", "accuracy=x", "accuracy>0.9", "a=nan", "a=inf"]
)
def test_what_is_no_bound_is_said(text: str) -> None:
    with pytest.raises(InputError, match=r"accuracy=0\.9"):
        read_cutoffs(text)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(InputError):
        assert all(math.isfinite(one.bound) for one in read_cutoffs(text))


def test_evaluations_are_held_against_all_bounds_and_recorded_answers_are_not() -> None:
    text = "accuracy=0.9,accuracy:low>=0.86,latency_p90_ms<=100,failures=2,failure_share<=0.1,a: b:recall>=0.7"
    held = hold(read_cutoffs(text), [evaluation("recorded"), evaluation()])
    assert [(one.model, one.value, one.is_met) for one in held] == [
        ("m", 0.9, True),
        ("m", 0.85, False),
        ("m", 90.0, True),
        ("m", 3, False),
        ("m", 0.1, True),
        ("m", 0.7, True),
    ]


@pytest.mark.parametrize("text", ["cost_per_row<=100", "cost_per_row>=0"])
def test_an_unknown_number_keeps_no_bound(text: str) -> None:
    (held,) = hold(read_cutoffs(text), [evaluation()])
    assert (held.value, held.is_met) == (None, False)


def test_names_are_checked_before_and_after() -> None:
    check_cutoffs(read_cutoffs("accuracy=1,rouge=1,llm-as-a-judge:low=1,any class:f1-score=1,failures=1"))
    for text in ("bleu=1", "accuracy:mid=1", ":low=1"):
        with pytest.raises(UnknownMetricError, match="CLASS:recall"):
            check_cutoffs(read_cutoffs(text))
    known = {"rouge=1": "accuracy, cost_per_row", "nobody:recall=1": r"a: b:recall\.", "rouge:low=1": r"accuracy:low\."}
    for text, there in known.items():
        with pytest.raises(UnknownMetricError, match=f"there are {there}"):
            hold(read_cutoffs(text), [evaluation()])
        with pytest.raises(UnknownMetricError, match=f"there are {there}"):
            check_numbers(read_cutoffs(text), ["accuracy"], ["a: b"])
