"""The `/metrics` text: the processes' snapshots added up, and what store and journal hold at this moment.

The format is Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). It is written here:
Prometheus' own library wants to be what counts, and takes more memory than all counts together.
"""

import platform
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from proxy.metrics import catalog
from proxy.metrics.catalog import METRICS, Kind, Metric
from proxy.metrics.counts import Counts, Labels, Spread
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
    # Every metric of the catalogue, those without a value too: a query can see that they exist.
    return "".join(line for metric in METRICS.values() for line in _lines(metric, totals.counts)).encode()


def _lines(metric: Metric, counts: Counts) -> Iterator[str]:
    yield f"# HELP {metric.shown_name} {_escaped(metric.meaning)}\n# TYPE {metric.shown_name} {metric.kind}\n"
    if metric.kind is Kind.HISTOGRAM:
        for labels, spread in counts.histograms.get(metric.name, {}).items():
            yield from _histogram(metric, labels, spread)
        return
    held = counts.counters if metric.kind is Kind.COUNTER else counts.gauges
    for labels, value in held.get(metric.name, {}).items():
        yield _line(metric.shown_name, _named(metric, labels), value)


def _histogram(metric: Metric, labels: Labels, spread: Spread) -> Iterator[str]:
    """Give the buckets as Prometheus wants them: each with all that lie below."""
    named = _named(metric, labels)
    below = list(accumulate(spread.counts))
    for bound, count in zip([*metric.buckets, float("inf")], below, strict=True):
        yield _line(f"{metric.name}_bucket", {**named, "le": _number(bound)}, count)
    yield _line(f"{metric.name}_count", named, below[-1])
    yield _line(f"{metric.name}_sum", named, spread.total)


def _named(metric: Metric, labels: Labels) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_quoted(text)}"' for label, text in sorted(labels.items()))
    return f"{name}{{{told}}} {_number(value)}\n" if told else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def journal_size(data_dir: Path) -> int:
    """Add up the journal's segments; a segment that goes away meanwhile counts nothing."""
    total = 0
    for segment in (data_dir / "journal").glob("*/*.seg"):
        try:
            total += segment.stat().st_size
        except FileNotFoundError:
            continue
    return total
