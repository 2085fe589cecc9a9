"""What ingest counts: what it stored, what it set aside, and how far behind it is."""

import time
from collections.abc import Callable, Mapping

import orjson

from proxy.metrics import catalog
from proxy.metrics.catalog import DROP_REASONS, LETTER_REASONS, OTHER
from proxy.metrics.counts import Counts, Distribution, Spread
from store.trace import DeadLetter


class IngestMetrics:
    """The counts of the ingest process. Counted on its event loop's thread, taken on any."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin at nothing; `clock` tells the time of day."""
        self._clock = clock
        self._batches = Distribution(catalog.BATCH_CALLS.buckets)
        self._durations = Distribution(catalog.BATCH_DURATION.buckets)
        self._traces = 0
        self._letters = dict.fromkeys(LETTER_REASONS, 0)
        self._declared = dict.fromkeys(DROP_REASONS, 0)
        self._redactions: dict[str, int] = {}
        self._forgotten = 0
        self._raw_lost = 0
        self._failures = 0
        self._behind_bytes = 0
        self._oldest_at: float | None = None

    def batch_read(self, oldest_ended_at: float) -> None:
        """Note that calls were read and are to be stored; the oldest of them ended then, in seconds of the epoch.

        Until `batch_stored` is called, that call's age is the lag; it grows while the database cannot be written.
        """
        if self._oldest_at is None or oldest_ended_at < self._oldest_at:
            self._oldest_at = oldest_ended_at

    def batch_stored(self, *, calls: int, seconds: float) -> None:
        """Count a transaction that was committed.

        Args:
            calls: Calls read from the journal for it; 0 for one that moved nothing but positions and dead letters.
            seconds: How long it took to make their traces and to store them.
        """
        if calls:
            self._batches.observe(calls)
            self._durations.observe(seconds)
        self._oldest_at = None

    def traces_stored(self, traces: int) -> None:
        """Count traces written; fewer than calls when some were known or are dead letters."""
        self._traces += traces

    def forgotten(self, calls: int) -> None:
        """Count calls that were left out because they had been erased, or their session or user had."""
        self._forgotten += calls

    def letter_stored(self, letter: DeadLetter) -> None:
        """Count a dead letter, and what it declares missing when it is a gap's."""
        self._letters[letter.reason] = self._letters.get(letter.reason, 0) + 1
        if letter.reason == "gap":
            gap = orjson.loads(letter.body)
            reason = gap["reason"] if gap["reason"] in DROP_REASONS else OTHER
            self._declared[reason] = self._declared.get(reason, 0) + gap["count"]

    def redacted(self, counts: Mapping[str, int]) -> None:
        """Count the values that were replaced in stored traces, by the name of their category or rule."""
        for name, count in counts.items():
            self._redactions[name] = self._redactions.get(name, 0) + count

    def raw_calls_lost(self, calls: int) -> None:
        """Count calls whose bytes could not be kept; their traces are stored."""
        self._raw_lost += calls

    def failed(self) -> None:
        """Count a batch that the database could not take."""
        self._failures += 1

    def behind(self, unread_bytes: int) -> None:
        """Note how many journal bytes are not read yet."""
        self._behind_bytes = unread_bytes

    def counts(self) -> Counts:
        """Tell what was counted; from any thread."""
        oldest_at = self._oldest_at
        lag_s = 0.0 if oldest_at is None else max(0.0, self._clock() - oldest_at)
        return Counts(
            counters={
                catalog.TRACES_STORED.name: {(): self._traces},
                catalog.DEAD_LETTERS_STORED.name: {(reason,): n for reason, n in self._letters.copy().items()},
                catalog.DECLARED.name: {(reason,): n for reason, n in self._declared.copy().items()},
                catalog.REDACTIONS.name: {(name,): n for name, n in self._redactions.copy().items()},
                catalog.FORGOTTEN.name: {(): self._forgotten},
                catalog.RAW_CALLS_LOST.name: {(): self._raw_lost},
                catalog.INGEST_FAILURES.name: {(): self._failures},
            },
            gauges={
                catalog.INGEST_LAG.name: {(): lag_s},
                catalog.INGEST_BEHIND.name: {(): self._behind_bytes},
            },
            histograms={
                catalog.BATCH_CALLS.name: {(): Spread.of(self._batches)},
                catalog.BATCH_DURATION.name: {(): Spread.of(self._durations)},
            },
        )
