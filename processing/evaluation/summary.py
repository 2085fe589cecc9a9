"""What predictions come to: scores with intervals, classes, strata, cost, latency, failures."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from processing.baseline import Judging, judge_counts
from processing.evaluation.item import Item, label_of
from processing.evaluation.suite import Suite
from processing.interval import Scored, interval
from processing.metrics import classification_scores
from store.datasets.evaluation import Prediction
from store.recorded.message import Json
from store.recorded.message_form import read_messages

OTHER = "(no class)"
"""Column of the confusion matrix for answers that are no class, and for those that do not count."""
_MOST_NAMES = 30
"""Groups of one kind that are listed; the smaller ones are one together."""
_REST = "(others)"
_CURVE = tuple(range(0, 101, 5))
"""Shares of the answers, in per cent, whose duration the curve of latencies tells."""


class Summary(NamedTuple):
    """The numbers of an evaluation; each is JSON as `Evaluation` has it."""

    metrics: dict[str, Json]
    cost: dict[str, Json]
    latency: dict[str, Json]
    counts: dict[str, Json]


def summarise(
    items: Sequence[Item], predictions: Sequence[Prediction], suite: Suite, *, classes: Sequence[str], seed: int | None
) -> Summary:
    """Sum up.

    Args:
        items: What was asked.
        predictions: One for each item that was answered or failed, in the order of the items.
        suite: Names the metrics.
        classes: All classes that are known, those of the references apart.
        seed: For the intervals.
    """
    by_place = {(one.row_id, one.target): one for one in items}
    pairs = [(by_place[one.row_id, one.target], one) for one in predictions]
    metrics: dict[str, Json] = {"scores": _scores(predictions, seed)}
    if suite is Suite.CLASSIFICATION:
        labels = [(_label(one), label_of(item.reference)) for item, one in pairs]
        per_class = classification_scores(labels, classes)
        del per_class["accuracy"]
        metrics["classes"] = _rounded(per_class)
        metrics["confusion"] = _confusion(labels, list(per_class))
    metrics["strata"] = _strata(pairs, suite, seed)
    return Summary(metrics, _cost(predictions), _latency(predictions), _counts(items, predictions))


def _scores(predictions: Sequence[Prediction], seed: int | None) -> dict[str, Json]:
    names = dict.fromkeys(name for one in predictions for name in one.scores)
    return {
        name: _rounded(
            interval((Scored(one.conversation_id, one.scores.get(name)) for one in predictions), seed=seed)._asdict()
        )
        for name in names
    }


def _label(prediction: Prediction) -> str:
    """The label that was answered; an answer that does not count is none."""
    return "" if prediction.answer is None else label_of(read_messages([prediction.answer]).messages[0])


def _confusion(labels: Iterable[tuple[str, str]], classes: Sequence[str]) -> dict[str, Json]:
    """How often each class, a row of its own, was answered as each: classes in their order, then what is none."""
    known = {name: number for number, name in enumerate(classes)}
    counts = [[0] * (len(classes) + 1) for _ in classes]
    for predicted, expected in labels:
        counts[known[expected]][known.get(predicted, len(classes))] += 1
    return {"classes": list(classes), "other": OTHER, "counts": counts}


def _strata(pairs: Sequence[tuple[Item, Prediction]], suite: Suite, seed: int | None) -> list[Json]:
    """The scores of every group of answers; a kind that has one group alone tells nothing and is left out."""
    found: dict[str, dict[str, list[Prediction]]] = {}
    for item, prediction in pairs:
        for kind, name in item.strata:
            found.setdefault(kind, {}).setdefault(name, []).append(prediction)
    if suite is Suite.CLASSIFICATION:
        found.pop("tools", None)
    lines: list[Json] = []
    for kind in sorted(found):
        if len(found[kind]) > 1:
            lines += [
                {"kind": kind, "name": name, "answers": len(group), "scores": _scores(group, seed)}
                for name, group in _largest(found[kind])
            ]
    return lines


def _largest(groups: Mapping[str, list[Prediction]]) -> list[tuple[str, list[Prediction]]]:
    order = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    rest = [prediction for _, group in order[_MOST_NAMES:] for prediction in group]
    return [*order[:_MOST_NAMES], *([(_REST, rest)] if rest else [])]


def _cost(predictions: Sequence[Prediction]) -> dict[str, Json]:
    """The cost of a row is that of all its answers; one that holds an unknown cost has none."""
    rows: dict[str, list[float | None]] = {}
    for one in predictions:
        rows.setdefault(one.row_id, []).append(one.cost)
    known = [math.fsum(cost for cost in costs if cost is not None) for costs in rows.values() if None not in costs]
    # The known answers of a row whose other answers are unknown were paid for too.
    paid = [cost for costs in rows.values() for cost in costs if cost is not None]
    return {
        "total": round(math.fsum(paid), 9) if paid else None,
        "per_row": round(math.fsum(known) / len(known), 12) if known else None,
        "rows_with_cost": len(known),
        "rows_without_cost": len(rows) - len(known),
    }


def _latency(predictions: Sequence[Prediction]) -> dict[str, Json]:
    known = sorted(one.duration_ms for one in predictions if one.duration_ms is not None)
    return {
        "p50_ms": percentile(known, 50),
        "p90_ms": percentile(known, 90),
        "p99_ms": percentile(known, 99),
        "curve_ms": [percentile(known, share) for share in _CURVE] if known else None,
        "known": len(known),
        "unknown": len(predictions) - len(known),
    }


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the values that so many per cent of them do not exceed (nearest rank); None without any."""
    if not ordered:
        return None
    return ordered[max(math.ceil(share / 100 * len(ordered)), 1) - 1]


def _counts(items: Sequence[Item], predictions: Sequence[Prediction]) -> dict[str, Json]:
    failures = Counter(one.failure for one in predictions if one.failure is not None)
    judged = judge_counts([None if one.judging is None else Judging(one.judging) for one in predictions])
    return {
        "rows": len({one.row_id for one in predictions}),
        "conversations": len({one.conversation_id for one in predictions}),
        "answers": len(predictions),
        "answered": len(predictions) - failures.total(),
        "failures": dict(sorted(failures.items())),
        "without_recorded_answer": len(items) - len(predictions),
        "judge": judged,
    }


def _rounded(value: Json) -> Json:
    if isinstance(value, float):
        return round(value, 6)
    return {name: _rounded(item) for name, item in value.items()} if isinstance(value, dict) else value
