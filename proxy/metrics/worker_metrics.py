"""What a data worker counts. Called on its event loop, several times per call: nothing here looks anything up twice."""

from collections.abc import Callable
from typing import Protocol

from proxy.metrics import catalog
from proxy.metrics.catalog import DROP_REASONS
from proxy.metrics.counts import Counts, Distribution, Labels, Spread
from store.trace import Outcome


class JournalState(Protocol):
    """What is asked of the journal; `proxy.journal.writer.Journal` tells it. Read on another thread."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait in memory for the disk."""

    @property
    def lag_s(self) -> float:
        """How long the oldest entry has waited; 0.0 when none does."""

    @property
    def is_stuck(self) -> bool:
        """Whether nobody waits for the journal any more."""

    @property
    def entries_written(self) -> int:
        """Entries that are down, since the start."""

    @property
    def batches_written(self) -> int:
        """System calls that took them, since the start."""

    @property
    def sync_failures(self) -> int:
        """Flushes that the disk refused, since the start."""


class _RouteTimes:
    """The histograms of one route."""

    __slots__ = ("added", "duration", "ttft")

    def __init__(self) -> None:
        self.duration = Distribution(catalog.CALL_DURATION.buckets)
        self.ttft = Distribution(catalog.FIRST_BLOCK.buckets)
        self.added = Distribution(catalog.ADDED.buckets)


class WorkerMetrics:
    """The counts of one worker. Counted on the event loop's thread, taken on any."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._journal: JournalState | None = None
        self._upstream_connections: Callable[[], tuple[int, int]] | None = None
        self._client_connections: Callable[[], int] | None = None
        self._calls: dict[tuple[str, int | None, Outcome], int] = {}
        self._times: dict[str, _RouteTimes] = {}
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self._refused: dict[int, int] = {}
        self._in_flight = 0
        self._streams = 0

    def watch(
        self,
        *,
        journal: JournalState | None = None,
        client_connections: Callable[[], int] | None = None,
        upstream_connections: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """Have others asked at each snapshot, on another thread: what is given here may only read.

        Args:
            journal: The worker's own.
            client_connections: Gives how many are open.
            upstream_connections: Gives how many are busy and how many idle.
        """
        self._journal = journal
        self._client_connections = client_connections
        self._upstream_connections = upstream_connections

    def call_arrived(self) -> None:
        """Count a call in flight."""
        self._in_flight += 1

    def call_left(self) -> None:
        """Count it no longer."""
        self._in_flight -= 1

    def call_ended(
        self,
        *,
        route: str,
        status: int | None,
        outcome: Outcome,
        duration_s: float,
        ttft_s: float | None,
    ) -> None:
        """Count a call's end.

        Args:
            route: Name of a configured route.
            status: Of the upstream's answer; None when there was none.
            outcome: How the call ended.
            duration_s: Arrival to end.
            ttft_s: Arrival to the first block of the answer's body; None when none came.
        """
        key = (route, status, outcome)
        calls = self._calls
        calls[key] = calls.get(key, 0) + 1
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _RouteTimes()
        times.duration.observe(duration_s)
        if ttft_s is not None:
            times.ttft.observe(ttft_s)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count what was not recorded; the reason is one of `DROP_REASONS`."""
        self._dropped[reason] += count

    def refused(self, status: int) -> None:
        """Count a request that was answered without asking an upstream."""
        self._refused[status] = self._refused.get(status, 0) + 1

    def added(self, *, route: str, seconds: float) -> None:
        """Count what we added to a call that is over: known only when its last block was sent."""
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _RouteTimes()
        times.added.observe(seconds)

    def streams(self, change: int) -> None:
        """Count event streams whose relaying began (1) or ended (-1)."""
        self._streams += change

    def counts(self) -> Counts:
        """Tell what was counted; from any thread, for each copy below is one step of the interpreter."""
        times = self._times.copy()
        counts = Counts(
            counters={
                catalog.CALLS.name: {
                    (route, "none" if status is None else str(status), outcome.value): number
                    for (route, status, outcome), number in self._calls.copy().items()
                },
                catalog.DROPPED.name: {(reason,): number for reason, number in self._dropped.copy().items()},
                catalog.REFUSED.name: {(str(status),): number for status, number in self._refused.copy().items()},
            },
            gauges={
                catalog.IN_FLIGHT.name: {(): self._in_flight},
                catalog.STREAMS.name: {(): self._streams},
            },
            histograms={
                catalog.CALL_DURATION.name: {(route,): Spread.of(each.duration) for route, each in times.items()},
                catalog.FIRST_BLOCK.name: {(route,): Spread.of(each.ttft) for route, each in times.items()},
                catalog.ADDED.name: {(route,): Spread.of(each.added) for route, each in times.items()},
            },
        )
        if self._journal is not None:
            _tell_journal(self._journal, counts)
        if self._client_connections is not None:
            counts.gauges[catalog.CLIENT_CONNECTIONS.name] = {(): self._client_connections()}
        if self._upstream_connections is not None:
            busy, idle = self._upstream_connections()
            counts.gauges[catalog.UPSTREAM_CONNECTIONS.name] = {("busy",): busy, ("idle",): idle}
        return counts


def _tell_journal(journal: JournalState, counts: Counts) -> None:
    nothing: Labels = ()
    counts.gauges[catalog.JOURNAL_PENDING.name] = {nothing: journal.pending_bytes}
    counts.gauges[catalog.JOURNAL_LAG.name] = {nothing: journal.lag_s}
    counts.gauges[catalog.JOURNAL_STUCK.name] = {nothing: int(journal.is_stuck)}
    counts.counters[catalog.JOURNAL_ENTRIES.name] = {nothing: journal.entries_written}
    counts.counters[catalog.JOURNAL_WRITES.name] = {nothing: journal.batches_written}
    counts.counters[catalog.SYNC_FAILURES.name] = {nothing: journal.sync_failures}
