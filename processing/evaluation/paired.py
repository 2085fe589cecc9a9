"""The difference of two contenders on the same answers: its mean, a 95 % interval, and how easily chance makes it.

Whole conversations are the sample, as in `processing.interval`. The interval comes from drawing conversations with
replacement. The probability is that of the sign-flip test (Fisher 1935): if neither were better, each conversation's
difference could as well have had the other sign; so many of all flips, or more, come out as far from 0. Few
conversations thus never prove a difference: four that all speak for one side would in one case of eight by chance.
"""

import math
import random
from collections.abc import Iterable, Sequence
from itertools import product
from operator import itemgetter
from typing import NamedTuple

from processing.interval import Z, wilson

LEVEL = 0.05
_RESAMPLES = 1000
_FLIPPED_ALL = 12
"""Up to so many conversations with a difference every flip is tried; beyond, the normal distribution is near enough."""
_SLACK = 1e-12


class Paired(NamedTuple):
    """How much better the first did on one answer, in [-1, 1]."""

    conversation_id: str
    difference: float


class PairedInterval(NamedTuple):
    """A mean difference.

    Attributes:
        mean: Over the answers; None without any.
        low: Lower end of the 95 % interval; None with fewer than two conversations.
        high: Upper end.
        p: Probability of a difference so large, or larger, if neither were better; None as `low`.
        answers: Compared.
        conversations: They come from.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    answers: int
    conversations: int

    @property
    def is_shown(self) -> bool:
        """Whether a difference is shown at 95 %: 0 lies outside the interval, and chance would seldom do as much."""
        if self.low is None or self.high is None or self.p is None:
            return False
        return (self.low > 0 or self.high < 0) and self.p < LEVEL


class _Cluster(NamedTuple):
    total: float
    answers: int


_TOTAL, _ANSWERS = itemgetter(0), itemgetter(1)
"""Of a cluster; a comparison of many rows takes most of its time in these."""


def paired_interval(pairs: Iterable[Paired], *, seed: int | None, resamples: int = _RESAMPLES) -> PairedInterval:
    """Estimate a mean difference; the order of the pairs does not matter.

    Args:
        pairs: One for each answer that both have a score for.
        seed: For the draws.
        resamples: Number of draws.
    """
    found: dict[str, list[float]] = {}
    for conversation_id, difference in pairs:
        found.setdefault(conversation_id, []).append(difference)
    clusters = [_Cluster(math.fsum(found[name]), len(found[name])) for name in sorted(found)]
    answers = sum(cluster.answers for cluster in clusters)
    if not answers:
        return PairedInterval(None, None, None, None, 0, 0)
    mean = math.fsum(cluster.total for cluster in clusters) / answers
    if len(clusters) < 2:
        return PairedInterval(mean, None, None, None, answers, len(clusters))
    low, high = _drawn(clusters, seed, resamples)
    if high - low < _SLACK:
        # All draws are the same: nothing was learned of the spread. As many conversations could have gone otherwise
        # unseen as Wilson's interval allows, and no further than flipped signs would take a difference of that size.
        half = wilson(0.0, len(clusters))[1]
        if abs(mean) > _SLACK:
            half = min(half, Z * abs(mean) / math.sqrt(len(clusters)))
        low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return PairedInterval(mean, low, high, _chance([one.total for one in clusters]), answers, len(clusters))


def holm(probabilities: Sequence[float]) -> list[bool]:
    """Tell which of several differences are shown when all were looked at together (Holm 1979), at 95 % for all."""
    order = sorted(range(len(probabilities)), key=lambda number: probabilities[number])
    shown = [False] * len(probabilities)
    for rank, number in enumerate(order):
        if probabilities[number] >= LEVEL / (len(order) - rank):
            break
        shown[number] = True
    return shown


def _drawn(clusters: Sequence[_Cluster], seed: int | None, resamples: int) -> tuple[float, float]:
    draw = random.Random(seed if seed is not None else 0)
    means = sorted(_mean(draw.choices(clusters, k=len(clusters))) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[min(resamples - 1, int(0.975 * resamples))]


def _mean(clusters: Sequence[_Cluster]) -> float:
    return float(sum(map(_TOTAL, clusters)) / sum(map(_ANSWERS, clusters)))


def _chance(totals: Sequence[float]) -> float:
    differing = [abs(total) for total in totals if total]
    observed = abs(math.fsum(totals))
    if not differing or observed < _SLACK:
        return 1.0
    if len(differing) > _FLIPPED_ALL:
        return math.erfc(observed / math.sqrt(2 * math.fsum(size * size for size in differing)))
    flips = [abs(sum(map(float.__mul__, signs, differing))) for signs in product((1.0, -1.0), repeat=len(differing))]
    return sum(flip >= observed - _SLACK for flip in flips) / len(flips)
