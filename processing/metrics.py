"""Scores of a prediction against a reference, and what many of them say together.

A score that cannot be computed is None: it is left out of the mean and counted, never taken as 0 or 1.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from processing.porter import stem
from processing.tool_metrics import calls_of, score_calls
from store.recorded.answer_text import answer_text as answer_text
from store.recorded.message import Json, Message

TEXT_METRICS = ("binary", "rouge", "meteor")
TOOL_METRICS = ("rouge", "tool_call_equivalence", "binary_tool_call", "staged_tool_call")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_STEMMED_FROM = 4
"""Shorter words are not stemmed."""
# The constants of Banerjee and Lavie, "METEOR", ACL workshop 2005.
_RECALL_WEIGHT = 9
_PENALTY = 0.5
_PENALTY_POWER = 3

ClassScores = dict[str, float]
"""`precision`, `recall`, `f1-score` and `support` of one class."""


def score_reply(
    prediction: Message, reference: Message, *, task: str, tools: Sequence[Json] | None = None
) -> dict[str, float | None]:
    """Score one assistant message against another with the metrics of a task.

    Args:
        prediction: What the model answered.
        reference: What it should have answered.
        task: `base.task`: classification gives `accuracy`, a tool-calling task the tool metrics, any other the text
            metrics.
        tools: For the defaults of arguments.
    """
    predicted, expected = answer_text(prediction), answer_text(reference)
    if task == "classification":
        return {"accuracy": binary(predicted, expected)}
    if "tool-calling" not in task:
        return {
            "binary": binary(predicted, expected),
            "rouge": rouge(predicted, expected),
            "meteor": meteor(predicted, expected),
        }
    scores = score_calls(calls_of(prediction), calls_of(reference), tools)
    return {
        "rouge": rouge(predicted, expected),
        "tool_call_equivalence": scores.equivalence,
        "binary_tool_call": scores.binary,
        "staged_tool_call": scores.staged,
    }


def binary(prediction: str, reference: str) -> float:
    """Score 1 for the same text, white space at the ends aside, else 0."""
    return float(prediction.strip() == reference.strip())


def rouge(prediction: str, reference: str) -> float | None:
    """ROUGE-L F1 over stemmed words of a-z and 0-9; None when the reference has no such word (other scripts)."""
    predicted, expected = _stems(words(prediction)), _stems(words(reference))
    if not expected:
        return None
    shared = _longest_common(predicted, expected)
    return 2 * shared / (len(predicted) + len(expected))


def meteor(prediction: str, reference: str) -> float | None:
    """METEOR with exact and stem matches, without synonyms; None when the reference has no word of a-z and 0-9.

    Words are matched from left to right, exact before stem; a word that could match at several places takes the one
    that goes on from the match before, which keeps chunks few. One shared word alone scores 0.5, as the formula has it.
    """
    predicted, expected = words(prediction), words(reference)
    if not expected:
        return None
    pairs = _align(predicted, expected)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(predicted), len(pairs) / len(expected)
    mean = (1 + _RECALL_WEIGHT) * precision * recall / (recall + _RECALL_WEIGHT * precision)
    ordered = sorted(pairs.items())
    breaks = sum(1 for (i, j), (k, m) in pairwise(ordered) if k != i + 1 or m != j + 1)
    return mean * (1 - _PENALTY * ((breaks + 1) / len(pairs)) ** _PENALTY_POWER)


def words(text: str) -> list[str]:
    """Split lower-cased text at everything but a-z and 0-9."""
    return [word for word in _NOT_A_WORD.split(text.lower()) if word]


def classification_scores(
    pairs: Iterable[tuple[str, str]], classes: Iterable[str] = ()
) -> dict[str, float | ClassScores | None]:
    """Score labels: `accuracy`, and per class `precision`, `recall`, `f1-score`, `support`.

    Args:
        pairs: Prediction and reference; white space at the ends does not count.
        classes: All classes of the job description, so that one nobody used is reported too. A prediction that is no
            class counts as wrong and gets no entry of its own.
    """
    cleaned = [(prediction.strip(), reference.strip()) for prediction, reference in pairs]
    expected = Counter(reference for _, reference in cleaned)
    predicted = Counter(prediction for prediction, _ in cleaned)
    right = Counter(reference for prediction, reference in cleaned if prediction == reference)
    scores: dict[str, float | ClassScores | None] = {
        "accuracy": right.total() / len(cleaned) if cleaned else None,
    }
    for name in [*dict.fromkeys([*classes, *sorted(expected)])]:
        scores[name] = {
            "precision": _ratio(right[name], predicted[name]),
            "recall": _ratio(right[name], expected[name]),
            "f1-score": _ratio(2 * right[name], predicted[name] + expected[name]),
            "support": expected[name],
        }
    return scores


def mean_scores(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Average each metric over the rows that have it; None for one that no row has."""
    means: dict[str, float | None] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [value for row in rows if (value := row.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def _stems(tokens: Iterable[str]) -> list[str]:
    return [stem(token) if len(token) >= _STEMMED_FROM else token for token in tokens]


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): long replies stay cheap."""
    places: dict[str, int] = {}
    for at, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << at
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(first) - row.bit_count()


def _align(predicted: Sequence[str], expected: Sequence[str]) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for left, right in ((list(predicted), list(expected)), (_stems(predicted), _stems(expected))):
        taken = set(pairs.values())
        for at, word in enumerate(left):
            if at in pairs:
                continue
            places = [place for place, other in enumerate(right) if other == word and place not in taken]
            if places:
                follows = pairs.get(at - 1, -2) + 1
                pairs[at] = follows if follows in places else places[0]
                taken.add(pairs[at])
    return pairs


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
