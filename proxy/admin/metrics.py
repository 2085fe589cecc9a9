"""The `/metrics` text: the processes' snapshots added up, and what store and journal hold at this moment."""

import platform
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.metrics import catalog
from proxy.metrics.catalog import METRICS, Kind, Metric
from proxy.metrics.counts import Counts, Spread
from proxy.metrics.folder import Totals, read_totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_text(
    folder: Path | None,
    *,
    traces: int | None,
    dead_letters: int | None,
    journal_bytes: int,
    search_behind: int | None = None,
    jobs: Mapping[tuple[str, str], int] | None = None,
) -> bytes:
    """Give all metrics in the Prometheus text format; reads files, so call it off the event loop.

    Args:
        folder: Where the processes tell their counts; None to leave them out.
        traces: Traces in the store; None, as for the next, when nobody can tell.
        dead_letters: Dead letters in the store.
        journal_bytes: Bytes of all journal segments.
        search_behind: Messages that wait for the index; None when nobody can tell.
        jobs: Filed jobs by kind and status; None when nobody can tell.
    """
    totals = Totals(Counts(), {}) if folder is None else read_totals(folder)
    gauges = totals.counts.gauges
    for name, held in (
        (catalog.TRACES.name, traces),
        (catalog.DEAD_LETTERS.name, dead_letters),
        (catalog.SEARCH_BEHIND.name, search_behind),
    ):
        if held is not None:
            gauges[name] = {(): held}
    if jobs is not None:
        gauges[catalog.JOBS.name] = {labels: float(count) for labels, count in jobs.items()}
    gauges[catalog.JOURNAL_BYTES.name] = {(): journal_bytes}
    gauges[catalog.BUILD.name] = {(version("tracemill"), platform.python_version()): 1}
    now = time.time()
    gauges[catalog.SNAPSHOT_AGE.name] = {(role,): max(0.0, now - at) for role, at in totals.told_at.items()}
    registry = CollectorRegistry()
    registry.register(_Totals(totals.counts))
    return generate_latest(registry)


class _Totals(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Family]:
        """Yield every metric of the catalogue, those without a value too: a query can see that they exist."""
        for metric in METRICS.values():
            yield self._family(metric)

    def _family(self, metric: Metric) -> Family:
        match metric.kind:
            case Kind.COUNTER:
                counter = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
                for labels, value in self._counts.counters.get(metric.name, {}).items():
                    counter.add_metric(labels, value)
                return counter
            case Kind.GAUGE:
                gauge = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
                for labels, value in self._counts.gauges.get(metric.name, {}).items():
                    gauge.add_metric(labels, value)
                return gauge
            case Kind.HISTOGRAM:
                histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
                for labels, spread in self._counts.histograms.get(metric.name, {}).items():
                    histogram.add_metric(labels, _buckets(metric, spread), spread.total)
                return histogram


def _buckets(metric: Metric, spread: Spread) -> list[tuple[str, float]]:
    """Give the buckets as Prometheus wants them: each with all that lie below."""
    bounds = [*metric.buckets, float("inf")]
    return [(_bound_text(bound), below) for bound, below in zip(bounds, accumulate(spread.counts), strict=True)]


def _bound_text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def journal_size(data_dir: Path) -> int:
    """Add up the journal's segments; a segment that goes away meanwhile counts nothing."""
    total = 0
    for segment in (data_dir / "journal").glob("*/*.seg"):
        try:
            total += segment.stat().st_size
        except FileNotFoundError:
            continue
    return total
