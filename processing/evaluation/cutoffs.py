"""Bounds that an evaluation has to keep, for pipelines that stop when a model got worse.

`accuracy=0.9` asks for 0.9 or more of a metric, and for at most so much of a cost, a latency or a count of failures;
`>=` and `<=` say it outright. `accuracy:low>=0.85` takes the lower end of the 95 % interval, `billing:recall>=0.8` a
number of one class.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from processing.errors import InputError, UnknownMetricError
from processing.evaluation.suite import METRICS
from store.datasets.evaluation import RECORDED, Evaluation
from store.recorded.message import Json

_FORM = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign><=|>=|=)\s*(?P<bound>[^<>=\s]+)\s*")
_AT_MOST = ("cost_per_row", "latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "failures", "failure_share")
_ENDS = ("low", "high")
_OF_A_CLASS = ("precision", "recall", "f1-score", "support")


class Cutoff(NamedTuple):
    """One bound.

    Attributes:
        name: Of a number of an evaluation.
        is_least: Whether the number has to be the bound or more; else the bound or less.
        bound: The bound.
    """

    name: str
    is_least: bool
    bound: float

    def __str__(self) -> str:
        """Write the bound as it may be given."""
        return f"{self.name}{'>=' if self.is_least else '<='}{self.bound:g}"


class Held(NamedTuple):
    """Whether an evaluation keeps a bound.

    Attributes:
        cutoff: The bound.
        evaluation_id: Of the evaluation.
        model: Its model.
        value: The number; None when it is unknown, which keeps no bound.
        is_met: Whether it does.
    """

    cutoff: Cutoff
    evaluation_id: str
    model: str
    value: float | None
    is_met: bool

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {**self._asdict(), "cutoff": str(self.cutoff)}


def read_cutoffs(text: str) -> list[Cutoff]:
    """Read bounds with commas between.

    Raises:
        InputError: One is no bound.
    """
    found = []
    for piece in filter(str.strip, text.split(",")):
        match = _FORM.fullmatch(piece)
        try:
            bound = math.nan if match is None else float(match["bound"])
        except ValueError:
            bound = math.nan
        if match is None or not math.isfinite(bound):
            raise InputError(
                "--cutoffs",
                f'"{piece.strip()[:60]}" is no bound; write them as accuracy=0.9,rouge>=0.4,cost_per_row<=0.01.',
            )
        name = match["name"]
        is_least = name not in _AT_MOST if match["sign"] == "=" else match["sign"] == ">="
        found.append(Cutoff(name, is_least, bound))
    if not found:
        raise InputError("--cutoffs", "names no bound; write them as accuracy=0.9,rouge>=0.4.")
    return found


def check_cutoffs(cutoffs: Sequence[Cutoff]) -> None:
    """See that the names may be names of numbers, before anything is paid.

    Raises:
        UnknownMetricError: One is none; the message lists those there may be.
    """
    plain = [*dict.fromkeys(name for suite in METRICS.values() for name in suite), *_AT_MOST]
    for cutoff in cutoffs:
        whole, colon, part = cutoff.name.rpartition(":")
        is_known = cutoff.name in plain if not colon else bool(whole) and part in (*_ENDS, *_OF_A_CLASS)
        if not is_known:
            suffixed = [f"METRIC:{end}" for end in _ENDS] + [f"CLASS:{name}" for name in _OF_A_CLASS]
            raise UnknownMetricError(cutoff.name, [*plain, *suffixed])


def check_numbers(cutoffs: Sequence[Cutoff], metrics: Sequence[str], classes: Sequence[str]) -> None:
    """See that an evaluation with these metrics and classes will have the numbers, before anything is paid.

    Raises:
        UnknownMetricError: One it will not have; the message lists those of its kind.
    """
    plain = [*metrics, *_AT_MOST]
    ends = [f"{name}:{end}" for name in metrics for end in _ENDS]
    _require(cutoffs, [*plain, *ends, *(f"{label}:{name}" for label in classes for name in _OF_A_CLASS)])


def hold(cutoffs: Sequence[Cutoff], evaluations: Sequence[Evaluation]) -> list[Held]:
    """Hold evaluations against bounds, each against all; recorded answers are there to compare with and not held.

    Raises:
        UnknownMetricError: An evaluation has no such number; the message lists those of its kind.
    """
    held = []
    for evaluation in (one for one in evaluations if one.model != RECORDED):
        numbers = _numbers(evaluation)
        _require(cutoffs, list(numbers))
        for cutoff in cutoffs:
            value = numbers[cutoff.name]
            is_met = value is not None and (value >= cutoff.bound if cutoff.is_least else value <= cutoff.bound)
            held.append(Held(cutoff, evaluation.evaluation_id, evaluation.model, value, is_met))
    return held


def _require(cutoffs: Sequence[Cutoff], numbers: Sequence[str]) -> None:
    for cutoff in cutoffs:
        if cutoff.name not in numbers:
            _, colon, part = cutoff.name.rpartition(":")
            alike = [name for name in numbers if colon and name.endswith(f":{part}")]
            raise UnknownMetricError(cutoff.name, alike or [name for name in numbers if ":" not in name])


def _numbers(evaluation: Evaluation) -> dict[str, float | None]:
    scores, counts = evaluation.metrics["scores"], evaluation.counts
    numbers: dict[str, float | None] = {name: one["mean"] for name, one in scores.items()}
    failures = sum(counts["failures"].values())
    numbers |= {
        "cost_per_row": evaluation.cost["per_row"],
        **{f"latency_{name}": evaluation.latency[name] for name in ("p50_ms", "p90_ms", "p99_ms")},
        "failures": failures,
        "failure_share": failures / counts["answers"] if counts["answers"] else None,
    }
    numbers |= {f"{name}:{end}": one[end] for name, one in scores.items() for end in _ENDS}
    for label, one in (evaluation.metrics.get("classes") or {}).items():
        numbers |= {f"{label}:{name}": value for name, value in one.items()}
    return numbers
