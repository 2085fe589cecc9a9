"""The page of the metrics."""

from collections.abc import Iterable

from docs.reference.members import member_texts
from docs.reference.table import table
from proxy.metrics.catalog import LABEL_VALUES, OWNERS, DropReason, Metric

HEAD = """# Metrics

Made by `make docs` from `proxy/metrics/catalog.py`; change it there. The [admin side](admin-api.md) shows them under
`/metrics`, in the text format of Prometheus. Seconds, bytes and counts, nothing else.

Each process counts in its own memory and writes what it counted into a folder in memory (`/dev/shm`), for its owner
alone, every quarter of a second if something changed and once more at its end; a scrape adds all of them up. So a value
can be a quarter of a second old, and that much is lost of the counts (never of the traces) when a process is killed.
Counters of a process that is gone still count; what it held (calls in flight, connections) does not. All counters
begin at 0 when the server starts.

No label holds anything that a client or an upstream sent, so the number of series is bounded by the configuration.

"""
DROPPED = """
## Why something is not recorded

"""
USE = """
## What to watch

- `tracemill_capture_dropped_total` rises, other than by `sampled` and `left_before_route`: calls are missing from the
  record; the reason says why. What is missing is declared in the store later, and counted in
  `tracemill_ingest_declared_missing_total`.
- `tracemill_ingest_lag_seconds` above 10, or `tracemill_journal_bytes` rising for minutes: traces come late. Nothing is
  lost until the journal has reached `max_journal_bytes`.
- `tracemill_journal_stuck` above 0: a disk does not answer; calls go on and what is recorded waits in memory.
- `tracemill_process_restarts_total` rises: the log says why.
- `tracemill_snapshot_age_seconds` above 10: a process hangs.
- `histogram_quantile(0.99, sum by (le) (rate(tracemill_added_seconds_bucket[5m])))`: what the proxy adds to calls.

## Distributed traces

`traceparent` and `tracestate` pass through untouched. A call that comes with a W3C `traceparent` gets two tags:
`trace_id`, the id that a tracing tool shows, and `traceparent` as it came. So
`tracemill traces list --where 'tag.trace_id = 4bf92f3577b34da6a3ce929d0e0e4736'` finds what belongs to a trace.

With `otlp_endpoint` (and `pip install 'tracemill[otel]'`) a process of its own sends one span for each stored trace to
an OTLP/HTTP collector, as protobuf, by the `gen_ai.*` conventions: operation, models, parameters, token counts, finish
reasons, `error.type`, time to the first block. It stands under the client's own span when there was a `traceparent`,
and is left out when that one is marked as not sampled. Messages and error texts go along only with `otlp_content`; of
each side at most 256 KiB, else that side is left out. User, tags and keys never do. `OTEL_SERVICE_NAME` names the
service.

The process reads the store, so capture waits for nothing of it. It begins with what is stored after its first start and
notes its place in `otlp-position`. Each trace is sent at least once; one that is sent twice has the same ids. A
collector that is down, or answers 429, 502, 503 or 504, is asked again after 1 s to 60 s, or when it says; what it
refuses otherwise is counted, logged and left out. Traces that are deleted before they are sent are not sent.
"""


def metrics_page() -> str:
    """Return the page of all metrics."""
    labels = [(f"`{name}`", values) for name, values in LABEL_VALUES.items()]
    groups = "".join(f"\n## {heading}\n\n{_metrics(metrics)}" for heading, metrics in OWNERS.items())
    return HEAD + table(("label", "values"), labels) + groups + DROPPED + _drop_reasons() + USE


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [
        (f"`{one.shown_name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.meaning)
        for one in metrics
    ]
    return table(("metric", "type", "labels", "meaning"), rows)


def _drop_reasons() -> str:
    rows = [(f"`{DropReason[name].value}`", text) for name, text in member_texts(DropReason).items()]
    return table(("reason", "what is missing, and why"), rows)
