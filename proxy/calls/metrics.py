"""What a data worker counts; the admin process adds the workers up and shows them under `/metrics`.

prometheus-client's files for several processes live in memory (`PROMETHEUS_MULTIPROC_DIR`, set by the supervisor), for
a counter on a full disk would end the worker that touches it.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from store.trace import Outcome

DROP_REASONS = ("journal_backlog", "journal_backlog_body")
"""Why something was not recorded. A closed list: `journal_backlog` costs a whole trace, `…_body` the rest of a body."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class WorkerMetrics:
    """The counters of one worker."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Make the counters, each once per process."""
        registry = registry or CollectorRegistry()
        self._calls = Counter(
            "tracemill_calls",
            "Calls that ended, by route, status of the upstream's answer and outcome.",
            ("route", "status", "outcome"),
            registry=registry,
        )
        self._duration = Histogram(
            "tracemill_call_duration_seconds",
            "Arrival of a call to its end.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._ttft = Histogram(
            "tracemill_time_to_first_block_seconds",
            "Arrival of a call to the first block of its answer's body.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._dropped = Counter(
            "tracemill_capture_dropped", "What capture shed, by reason.", ("reason",), registry=registry
        )
        self._in_flight = Gauge(
            "tracemill_calls_in_flight", "Calls in flight.", registry=registry, multiprocess_mode="livesum"
        )
        for reason in DROP_REASONS:
            self._dropped.labels(reason)

    def call_arrived(self) -> None:
        """Count a call in flight."""
        self._in_flight.inc()

    def call_left(self) -> None:
        """Count it no longer."""
        self._in_flight.dec()

    def call_ended(
        self, *, route: str, status: int | None, outcome: Outcome, duration_s: float, ttft_s: float | None
    ) -> None:
        """Count a call's end."""
        self._calls.labels(route, "none" if status is None else str(status), outcome.value).inc()
        self._duration.labels(route).observe(duration_s)
        if ttft_s is not None:
            self._ttft.labels(route).observe(ttft_s)

    def dropped(self, reason: str) -> None:
        """Count something that was not recorded."""
        self._dropped.labels(reason).inc()
