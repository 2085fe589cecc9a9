"""What the OTLP exporter counts."""

from proxy.metrics import catalog
from proxy.metrics.counts import Counts


class OtlpMetrics:
    """The counts of the exporting process."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._sent = 0
        self._rejected = 0
        self._failures = 0
        self._behind = 0

    def sent(self, spans: int) -> None:
        """Count spans that the collector took."""
        self._sent += spans

    def rejected(self, spans: int) -> None:
        """Count spans that it refused for good."""
        self._rejected += spans

    def failed(self) -> None:
        """Count a request that is to be sent again."""
        self._failures += 1

    def behind(self, traces: int) -> None:
        """Note how many stored traces are not sent yet."""
        self._behind = traces

    def counts(self) -> Counts:
        """Tell what was counted; from any thread."""
        return Counts(
            counters={
                catalog.SPANS.name: {(): self._sent},
                catalog.SPANS_REJECTED.name: {(): self._rejected},
                catalog.SPAN_FAILURES.name: {(): self._failures},
            },
            gauges={catalog.SPANS_BEHIND.name: {(): self._behind}},
        )
