"""How far each candidate of a committee can be trusted, told by how the committee agrees over a whole run.

The model is the one-coin form of Dawid and Skene (Applied Statistics 28, 1979): every voter is right with a
probability of its own, and when wrong names any other class. Expectation and maximisation take turns: how likely is
each label given the voters, how often does each voter say the likely label. Nobody's truth is needed, and the order of
rows and voters plays no part. Two bounds keep it sober: a prior of a few made-up rows, and steps of 0.05, so that a few
more rows seldom move a vote that was decided before.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEAST_ROWS = 50
"""Rows with two votes or more; with fewer every voter counts the same."""
_ROUNDS = 200
_CLOSE = 1e-6
_PRIOR_RIGHT, _PRIOR_WRONG = 6.0, 2.0
_STEP = 0.05
_MOST = 0.95
"""Nobody is trusted more: one voter alone never outvotes two others that are good."""

Votes = Mapping[str, str]
"""Voter → label, of one row."""


class Decision(NamedTuple):
    """What votes say together.

    Attributes:
        label: The most likely one.
        confidence: How likely, in [0, 1].
    """

    label: str
    confidence: float


def estimate(rows: Sequence[Votes], classes: int) -> dict[str, float]:
    """Estimate how often each voter is right.

    Args:
        rows: Votes of each row.
        classes: How many labels there are to choose from.

    Returns:
        Voter → probability in steps of 0.05, between chance and 0.95; empty when there are too few rows to tell.
    """
    patterns = Counter(tuple(sorted(votes.items())) for votes in rows if len(votes) > 1)
    if patterns.total() < LEAST_ROWS or classes < 2:
        return {}
    ordered = sorted(patterns.items())
    voters = sorted({voter for pattern, _ in ordered for voter, _ in pattern})
    right = dict.fromkeys(voters, _PRIOR_RIGHT / (_PRIOR_RIGHT + _PRIOR_WRONG))
    for _ in range(_ROUNDS):
        said = dict.fromkeys(voters, _PRIOR_RIGHT + _PRIOR_WRONG)
        hits = dict.fromkeys(voters, _PRIOR_RIGHT)
        for pattern, count in ordered:
            likely = posterior(dict(pattern), right, classes)
            for voter, label in pattern:
                said[voter] += count
                hits[voter] += count * likely[label]
        before, right = right, {voter: hits[voter] / said[voter] for voter in voters}
        if max(abs(right[voter] - before[voter]) for voter in voters) < _CLOSE:
            break
    return {voter: _in_steps(value, classes) for voter, value in right.items()}


def decide(votes: Votes, right: Mapping[str, float], classes: int) -> Decision:
    """Choose the most likely label; of equally likely ones the last in order.

    Args:
        votes: At least one.
        right: Voter → how often it is right.
        classes: How many labels there are.
    """
    likely = posterior(votes, right, classes)
    label = max(likely, key=lambda name: (round(likely[name], 9), name))
    return Decision(label, likely[label])


def posterior(votes: Votes, right: Mapping[str, float], classes: int) -> dict[str, float]:
    """How likely each label is that somebody voted for; what is missing to 1 belongs to labels nobody named."""
    weights = {
        label: math.fsum(_weight(right[voter], classes) for voter in sorted(votes) if votes[voter] == label)
        for label in sorted(set(votes.values()))
    }
    most = max(weights.values())
    shares = {label: math.exp(weight - most) for label, weight in weights.items()}
    total = math.fsum(shares.values()) + max(classes - len(weights), 0) * math.exp(-most)
    return {label: share / total for label, share in shares.items()}


def _weight(right: float, classes: int) -> float:
    """Logarithm of how much likelier a label becomes by one vote; one below chance says nothing, not the opposite."""
    bounded = min(max(right, 1 / classes), 1 - 1e-9)
    return math.log((classes - 1) * bounded / (1 - bounded))


def _in_steps(right: float, classes: int) -> float:
    lowest = 1 / classes
    return round(min(max(_STEP * round(right / _STEP), lowest), _MOST), 6)
