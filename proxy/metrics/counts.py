"""Counts of one process: plain numbers in dictionaries, and their sums.

Counting has to cost next to nothing: it happens several times per call, on the event loop that moves the bytes. So a
count is an integer in a dictionary and an observation one bisection; everything else happens when they are told.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.metrics.catalog import METRICS, Merge

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of its declaration."""


class Distribution:
    """What a histogram counts under one set of labels.

    Attributes:
        counts: Observations by the bucket they fell in, the infinite one last; not cumulated.
        total: Sum of the observations.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Begin with nothing observed."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to the bucket under it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Spread:
    """A distribution as it was at one moment."""

    counts: list[int]
    total: float

    @classmethod
    def of(cls, distribution: Distribution) -> "Spread":
        """Copy it; safe while another thread observes."""
        return cls(distribution.counts.copy(), distribution.total)


@dataclass(slots=True)
class Counts:
    """What one process, or several, counted: values by metric's name and labels.

    Attributes:
        told_at: When it was told, in seconds of the epoch.
        process: Whose it is: `worker`, `ingest`, …
    """

    process: str = ""
    told_at: float = 0.0
    counters: dict[str, dict[Labels, float]] = field(default_factory=dict)
    gauges: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, Spread]] = field(default_factory=dict)

    def add(self, other: "Counts", *, has_gauges: bool) -> None:
        """Add what another process counted.

        Args:
            other: Stays as it is.
            has_gauges: False for a process that is dead: what it had counted has happened, what it held is gone.
        """
        for name, values in other.counters.items():
            own = self.counters.setdefault(name, {})
            for labels, value in values.items():
                own[labels] = own.get(labels, 0) + value
        for name, spreads in other.histograms.items():
            mine = self.histograms.setdefault(name, {})
            for labels, spread in spreads.items():
                there = mine.setdefault(labels, Spread([0] * len(spread.counts), 0.0))
                there.counts = [a + b for a, b in zip(there.counts, spread.counts, strict=True)]
                there.total += spread.total
        if has_gauges:
            self._add_gauges(other.gauges)

    def _add_gauges(self, gauges: Mapping[str, Mapping[Labels, float]]) -> None:
        for name, values in gauges.items():
            own = self.gauges.setdefault(name, {})
            for labels, value in values.items():
                if labels not in own:
                    own[labels] = value
                elif METRICS[name].merge is Merge.MAX:
                    own[labels] = max(own[labels], value)
                else:
                    own[labels] += value

    def to_json(self) -> bytes:
        """Return the bytes that `from_json` reads."""
        return orjson.dumps(
            {
                "process": self.process,
                "told_at": self.told_at,
                "counters": {name: list(values.items()) for name, values in self.counters.items()},
                "gauges": {name: list(values.items()) for name, values in self.gauges.items()},
                "histograms": {
                    name: [(labels, spread.counts, spread.total) for labels, spread in spreads.items()]
                    for name, spreads in self.histograms.items()
                },
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> "Counts":
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            read: dict[str, Any] = orjson.loads(data)
            return cls(
                process=read["process"],
                told_at=read["told_at"],
                counters={name: _by_labels(values) for name, values in read["counters"].items()},
                gauges={name: _by_labels(values) for name, values in read["gauges"].items()},
                histograms={
                    name: {tuple(labels): Spread(counts, total) for labels, counts, total in spreads}
                    for name, spreads in read["histograms"].items()
                },
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"these are no counts of a process ({type(error).__name__})") from error


def _by_labels(values: list[tuple[list[str], float]]) -> dict[Labels, float]:
    return {tuple(labels): value for labels, value in values}
