"""The `/metrics` text: the workers' counters added up, and what store and journal hold at this moment."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Gauges(Collector):
    def __init__(self, values: dict[str, tuple[str, float]]) -> None:
        self._values = values

    def collect(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(name, help_text, value=value) for name, (help_text, value) in self._values.items()]


def metrics_text(*, traces: int, dead_letters: int, journal_bytes: int) -> bytes:
    """Give all metrics in the Prometheus text format; reads the workers' files, so call it off the event loop."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(
        _Gauges(
            {
                "tracemill_traces": ("Traces in the store.", traces),
                "tracemill_dead_letters": ("What could not be understood and is kept aside.", dead_letters),
                "tracemill_journal_bytes": ("Bytes of all journal segments on disk.", journal_bytes),
            }
        )
    )
    return generate_latest(registry)


def journal_size(data_dir: Path) -> int:
    """Add up the journal's segments; a segment that goes away meanwhile counts nothing."""
    total = 0
    for segment in (data_dir / "journal").glob("*/*.seg"):
        try:
            total += segment.stat().st_size
        except FileNotFoundError:
            continue
    return total
