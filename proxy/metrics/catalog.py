"""Every metric there is: name, kind, labels and meaning, declared once.

The processes count by these declarations, the admin process shows them, and `docs/metrics.md` is made from them. The
names follow Prometheus' rules: base units, the unit at the end, `_total` behind a counter (added when it is shown).
What can stand in a label is bounded: names of routes and processes come from the configuration, statuses are numbers,
all else is a closed list. Nothing that a client or an upstream sends becomes a label.
"""

from dataclasses import dataclass
from enum import StrEnum

from store.job import JobStatus
from store.job_kind import JobKind
from store.trace import Outcome


class Kind(StrEnum):
    """What a metric's value can do."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How a gauge of several processes becomes one."""

    SUM = "sum"
    MAX = "max"


class DropReason(StrEnum):
    """Why something was not recorded, or not whole. A closed list."""

    JOURNAL_BACKLOG = "journal_backlog"
    """A whole call: no room in memory (`max_pending_bytes`) when it arrived, as the disk was slow, full or gone."""
    JOURNAL_BACKLOG_BODY = "journal_backlog_body"
    """The rest of one body, for the same reason; the trace is there and flagged as truncated."""
    BODY_LIMIT = "body_limit"
    """The rest of one body that is larger than `max_capture_bytes`; the trace is there and flagged as truncated."""
    SAMPLED = "sampled"
    """A whole call that the route's `sample` left out."""
    CAPTURE_OFF = "capture_off"
    """A whole call that was not to be recorded: its route's `capture`, its client or `no_capture` says so."""
    LEFT_BEFORE_ROUTE = "left_before_route"
    """A whole call: its client left before so much of the body had come that its route was known."""
    CAPTURE_FAILED = "capture_failed"
    """A whole call, or the rest of it: recording failed by a mistake of ours, which the log tells of."""


DROP_REASONS: tuple[str, ...] = tuple(reason.value for reason in DropReason)
LETTER_REASONS = ("bad_crc", "torn", "orphan", "derive_failed", "unstorable", "unknown_change", "gap")
"""Why ingest kept something aside (`store.trace.DeadLetter`)."""
OTHER = "other"
"""The label of a reason that is not on its list."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_OWN_SECONDS = (
    0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of one metric.

    Attributes:
        name: As it is shown, less the `_total` of a counter.
        meaning: Its help text: one sentence.
        labels: Names of its labels, in the order in which values are given.
        buckets: Upper bounds of a histogram, ascending, the infinite one left out.
        merge: For gauges.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def shown_name(self) -> str:
        """The name as a query says it."""
        return self.name + "_total" if self.kind is Kind.COUNTER else self.name


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str, merge: Merge = Merge.SUM) -> Metric:
    return Metric(name, Kind.GAUGE, meaning, labels, merge=merge)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, meaning, labels, buckets)


# Of the data workers.
CALLS = _counter(
    "tracemill_calls",
    "Calls that ended, by route, status of the upstream's answer (none: there was none) and outcome.",
    "route", "status", "outcome",
)  # fmt: skip
CALL_DURATION = _histogram("tracemill_call_duration_seconds", "Arrival of a call to its end.", _SECONDS, "route")
FIRST_BLOCK = _histogram(
    "tracemill_time_to_first_block_seconds",
    "Arrival of a call to the first block of its answer's body.",
    _SECONDS,
    "route",
)
ADDED = _histogram(
    "tracemill_added_seconds",
    "What the proxy added to a call: from its arrival until it was sent on, and from the answer's end until that was.",
    _OWN_SECONDS,
    "route",
)
IN_FLIGHT = _gauge("tracemill_calls_in_flight", "Calls in flight.")
STREAMS = _gauge("tracemill_open_streams", "Event streams that are being relayed.")
CLIENT_CONNECTIONS = _gauge("tracemill_client_connections", "Open connections of clients.")
REFUSED = _counter(
    "tracemill_refused",
    "Requests that were answered without asking an upstream, by status: broken, too large, or without a route.",
    "status",
)
UPSTREAM_CONNECTIONS = _gauge(
    "tracemill_upstream_connections", "Connections to upstreams, by state: busy or idle.", "state"
)
DROPPED = _counter("tracemill_capture_dropped", "What capture did not record, by reason.", "reason")
JOURNAL_PENDING = _gauge("tracemill_journal_pending_bytes", "Journal bytes that wait in memory for the disk.")
JOURNAL_LAG = _gauge(
    "tracemill_journal_lag_seconds", "How long the oldest journal entry in memory has waited.", merge=Merge.MAX
)
JOURNAL_STUCK = _gauge(
    "tracemill_journal_stuck", "Workers whose disk does not answer: their calls wait for the journal no longer."
)
JOURNAL_ENTRIES = _counter("tracemill_journal_entries", "Journal entries that are down.")
JOURNAL_WRITES = _counter("tracemill_journal_writes", "System calls that took them.")
SYNC_FAILURES = _counter("tracemill_journal_sync_failures", "Flushes of the journal that the disk refused.")

# Of ingest.
BATCH_CALLS = _histogram(
    "tracemill_ingest_batch_calls",
    "Calls stored in one transaction.",
    (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0),
)
BATCH_DURATION = _histogram(
    "tracemill_ingest_batch_seconds",
    "Time to make the traces of a transaction and to store them.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
TRACES_STORED = _counter("tracemill_ingest_traces", "Traces that ingest stored.")
DEAD_LETTERS_STORED = _counter(
    "tracemill_ingest_dead_letters", "What ingest could not understand and kept aside, by reason.", "reason"
)
DECLARED = _counter(
    "tracemill_ingest_declared_missing",
    "Calls and bodies that the journal declared missing, by reason; what was dropped but for what is not declared yet.",
    "reason",
)
REDACTIONS = _counter(
    "tracemill_ingest_redactions", "Values that redaction replaced by placeholders, by category or rule.", "category"
)
FORGOTTEN = _counter(
    "tracemill_ingest_forgotten",
    "Calls that ingest did not store because they had been erased, or their session or user had.",
)
RAW_CALLS_LOST = _counter(
    "tracemill_ingest_raw_calls_lost", "Stored traces whose raw calls could not be kept: the disk refused."
)
INGEST_FAILURES = _counter("tracemill_ingest_failures", "Times that the database could not take a batch.")
INGEST_LAG = _gauge(
    "tracemill_ingest_lag_seconds", "Age of the oldest ended call that ingest has read and not stored.", merge=Merge.MAX
)
INGEST_BEHIND = _gauge("tracemill_ingest_behind_bytes", "Journal bytes that ingest has not read.")

# Of the OTLP exporter.
SPANS = _counter("tracemill_otlp_spans", "Traces sent to the OTLP collector as spans.")
SPANS_REJECTED = _counter("tracemill_otlp_rejected", "Spans that the collector refused for good.")
SPAN_FAILURES = _counter("tracemill_otlp_failures", "Times that the collector could not be reached or asked to wait.")
SPANS_BEHIND = _gauge("tracemill_otlp_behind", "Stored traces that are not sent yet, about.")

# Of the supervisor.
RESTARTS = _counter("tracemill_process_restarts", "Processes that ended unasked and were started again.", "process")

# Of the admin process, at the moment it is asked.
TRACES = _gauge("tracemill_traces", "Traces in the store.")
DEAD_LETTERS = _gauge("tracemill_dead_letters", "What could not be understood and is kept aside.")
SEARCH_BEHIND = _gauge("tracemill_search_behind_messages", "Messages that are stored and not in the index for search.")
JOURNAL_BYTES = _gauge("tracemill_journal_bytes", "Bytes of all journal segments on disk.")
SNAPSHOT_AGE = _gauge(
    "tracemill_snapshot_age_seconds",
    "Time since a process of this role last told its counts; above 10 it hangs.",
    "process",
    merge=Merge.MAX,
)
JOBS = _gauge("tracemill_jobs", "Filed jobs, by kind and where they stand.", "kind", "job_status")
BUILD = _gauge("tracemill_build_info", "Always 1; the labels tell what is running.", "version", "python")

OWNERS: dict[str, tuple[Metric, ...]] = {
    "Calls": (
        CALLS, CALL_DURATION, FIRST_BLOCK, ADDED, IN_FLIGHT, STREAMS, CLIENT_CONNECTIONS, REFUSED, UPSTREAM_CONNECTIONS,
    ),
    "Capture": (
        DROPPED, JOURNAL_PENDING, JOURNAL_BYTES, JOURNAL_LAG, JOURNAL_STUCK, JOURNAL_ENTRIES, JOURNAL_WRITES,
        SYNC_FAILURES,
    ),
    "Ingest": (
        TRACES_STORED, BATCH_CALLS, BATCH_DURATION, DEAD_LETTERS_STORED, DECLARED, REDACTIONS, FORGOTTEN,
        RAW_CALLS_LOST, INGEST_FAILURES, INGEST_LAG, INGEST_BEHIND,
    ),
    "Export of spans": (SPANS, SPANS_REJECTED, SPAN_FAILURES, SPANS_BEHIND),
    "Store": (TRACES, DEAD_LETTERS, SEARCH_BEHIND),
    "Jobs": (JOBS,),
    "Processes": (RESTARTS, SNAPSHOT_AGE, BUILD),
}  # fmt: skip
"""All metrics under the headings of their page."""

METRICS: dict[str, Metric] = {metric.name: metric for group in OWNERS.values() for metric in group}

LABEL_VALUES: dict[str, str] = {
    "route": "names of the configured routes",
    "status": "status codes that occurred, or `none`",
    "outcome": ", ".join(f"`{outcome.value}`" for outcome in Outcome),
    "reason": "a closed list, below",
    "category": "the categories of [redaction.md](redaction.md), and names of the configured rules",
    "state": "`busy`, `idle`",
    "process": "`worker-1` …, `ingest`, `admin`, `otlp` (restarts); `worker`, `ingest`, `otlp`, `supervisor` (age)",
    "kind": ", ".join(f"`{kind}`" for kind in JobKind),
    "job_status": ", ".join(f"`{status}`" for status in JobStatus),
    "version": "of Tracemill",
    "python": "of the interpreter",
}
"""What can stand in each label."""
