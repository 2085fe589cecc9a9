"""A mean and its 95 % interval, with whole conversations as the sample.

Rows of one conversation are not independent, so what counts is how far conversations differ. Two ways:

- *Scores of 0 and 1*: Wilson's interval (1927) over the effective number of rows, the way survey statistics treats
  proportions of clustered samples with few cases (Korn and Graubard, Survey Methodology 24, 1998; compared by Franco,
  Little, Louis and Slud, J. Survey Statistics and Methodology 7, 2019). When all rows are right, or all wrong, they say
  nothing of how alike rows of a conversation are: each conversation then counts as one row. So five of five right gives
  0.57 to 1 and not, as any resampling would, 1 to 1.
- *Other scores*: conversations drawn with replacement, seeded. Where all draws give the same mean nothing was learned
  of the spread, and Wilson's interval over conversations stands in: scores in [0, 1] ask for no wider one.
"""

import math
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""
_RESAMPLES = 1000


class Scored(NamedTuple):
    """One score of one row.

    Attributes:
        conversation_id: Rows of one conversation are drawn together.
        value: In [0, 1]; None when it could not be computed.
    """

    conversation_id: str
    value: float | None


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: Over the rows that have a score; None without any.
        low: Lower end; None with fewer than two conversations, which tell nothing of the spread.
        high: Upper end, as `low`.
        rows: Rows with a score.
        missing: Rows without one.
        conversations: Conversations with a score: the sample size that counts.
    """

    mean: float | None
    low: float | None
    high: float | None
    rows: int
    missing: int
    conversations: int


class _Cluster(NamedTuple):
    """The scores of one conversation."""

    total: float
    rows: int


def interval(scores: Iterable[Scored], *, seed: int | None, resamples: int = _RESAMPLES) -> Interval:
    """Estimate a mean and its 95 % interval; the order of the scores does not matter.

    Args:
        scores: In [0, 1] each.
        seed: For the draws.
        resamples: Number of draws.
    """
    found: dict[str, list[float]] = {}
    missing = 0
    for conversation_id, value in scores:
        if value is None:
            missing += 1
        else:
            found.setdefault(conversation_id, []).append(value)
    clusters = [_Cluster(math.fsum(found[name]), len(found[name])) for name in sorted(found)]
    rows = sum(cluster.rows for cluster in clusters)
    if not rows:
        return Interval(None, None, None, 0, missing, 0)
    mean = math.fsum(cluster.total for cluster in clusters) / rows
    if len(clusters) < 2:
        return Interval(mean, None, None, rows, missing, len(clusters))
    if all(value in (0.0, 1.0) for values in found.values() for value in values):
        low, high = wilson(mean, _effective_rows(clusters, mean, rows))
    else:
        low, high = _drawn(clusters, seed, resamples)
        if low == high:
            low, high = wilson(mean, len(clusters))
    return Interval(mean, low, high, rows, missing, len(clusters))


def wilson(share: float, rows: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among so many independent rows; holds the share itself, also 0 and 1."""
    square = Z * Z
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = Z / (1 + square / rows) * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _effective_rows(clusters: Sequence[_Cluster], mean: float, rows: int) -> float:
    """How many independent rows would tell as much: from the variance of a ratio over clusters, at most all rows."""
    if mean in (0.0, 1.0):
        return len(clusters)
    spread = math.fsum((cluster.total - mean * cluster.rows) ** 2 for cluster in clusters)
    variance = spread / rows**2 * len(clusters) / (len(clusters) - 1)
    return rows if variance == 0 else min(rows, mean * (1 - mean) / variance)


def _drawn(clusters: Sequence[_Cluster], seed: int | None, resamples: int) -> tuple[float, float]:
    draw = random.Random(seed if seed is not None else 0)
    means = sorted(_mean(draw.choices(clusters, k=len(clusters))) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[min(resamples - 1, int(0.975 * resamples))]


def _mean(clusters: Sequence[_Cluster]) -> float:
    return sum(cluster.total for cluster in clusters) / sum(cluster.rows for cluster in clusters)
