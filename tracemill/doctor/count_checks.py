"""Checks of a running server's counts: against its health, and against the rows of the store.

Every call that ended is one row, or one dead letter, or waits in the journal, or was counted as not recorded with its
reason. The counts are a quarter of a second old and the store some more, so what does not add up is looked at again
for a moment before it is told.
"""

import sqlite3
import time
from collections.abc import Iterator
from typing import NamedTuple

from proxy.metrics import catalog
from proxy.metrics.catalog import DropReason
from proxy.metrics.folder import Totals, read_totals
from proxy.serve.notice import Notice
from store import finding
from store.database_check import view
from store.finding import Finding
from store.gap import read_gaps
from store.unchanged_view import OrphanedLogError
from tracemill.doctor.place import Place

_HANGS_S = 10.0
_PATIENCE_S = 3.0
_LOOK_S = 0.3
_WHOLE_CALLS = (
    DropReason.JOURNAL_BACKLOG, DropReason.SAMPLED, DropReason.CAPTURE_OFF, DropReason.CAPTURE_FAILED,
)  # fmt: skip
_DECLARED = (DropReason.JOURNAL_BACKLOG, DropReason.JOURNAL_BACKLOG_BODY, DropReason.CAPTURE_FAILED)
# Of the proxy's own calls: ids of imported ones are made of what their source says, and of another version of UUID.
_STORED_SINCE = "SELECT count(*) FROM traces WHERE created_at >= :since AND substr(hex(id), 13, 1) <> '8'"
_ERASED_SINCE = "SELECT count(*) FROM forgotten_traces WHERE id >= :first"
_PRUNED_UNTIL = "SELECT until FROM pruned WHERE what = 'traces'"
_CALL_LETTERS = "SELECT count(*) FROM dead_letters WHERE reason IN ('derive_failed', 'unstorable')"


class _Sums(NamedTuple):
    """What a server counted since its start, and what the store holds of it."""

    ended: int
    stored: int
    dropped: dict[str, int]
    declared: int
    letters: int
    erased: int
    behind: bool

    @property
    def unaccounted(self) -> int:
        """Ended calls that are nowhere."""
        return (
            self.ended
            - self.stored
            - self.letters
            - self.erased
            - sum(self.dropped.get(each, 0) for each in _WHOLE_CALLS)
        )

    @property
    def undeclared(self) -> int:
        """Things that were shed and are not declared in the store."""
        return sum(self.dropped.get(each, 0) for each in _DECLARED) - self.declared


def check_counts(place: Place) -> Iterator[Finding]:
    """Hold each running server's counts against the store."""
    for server in place.servers:
        totals = read_totals(server.folder)
        yield from _check_health(totals, server)
    if len(place.servers) != 1:
        return  # several servers' rows cannot be told apart
    try:
        sums = _settled(place, place.servers[0])
    except (OrphanedLogError, sqlite3.Error):
        return  # the checks of the database tell of it
    if not _is_pruned(place, place.servers[0]):
        yield from _check_sums(sums)


def _is_pruned(place: Place, server: Notice) -> bool:
    """Tell whether retention has taken traces of the server's own time, which cannot be held against its counts."""
    if not place.traces.exists():
        return False
    found = view(place.traces, lambda connection: connection.execute(_PRUNED_UNTIL).fetchone())
    return found is not None and found[0] >= server.started_at * 1e6


def _check_health(totals: Totals, server: Notice) -> Iterator[Finding]:
    gauges, counters = totals.counts.gauges, totals.counts.counters
    stuck = int(sum(gauges.get(catalog.JOURNAL_STUCK.name, {}).values()))
    if stuck:
        yield Finding(finding.WORKER_STUCK, f"{stuck} workers wait for their disk.", {"workers": stuck})
    for role, told_at in sorted(totals.told_at.items()):
        age = time.time() - told_at
        if age > _HANGS_S:
            what = f"{role} of process {server.pid} told its counts {age:,.0f} s ago."
            yield Finding(finding.PROCESS_SILENT, what, {"process": role, "age_s": round(age, 1)})
    restarts = {labels[0]: int(n) for labels, n in counters.get(catalog.RESTARTS.name, {}).items() if n}
    if restarts:
        told = ", ".join(f"{name} {number} times" for name, number in sorted(restarts.items()))
        yield Finding(finding.PROCESS_RESTARTED, f"started again: {told}.", {"restarts": restarts})
    failures = int(sum(counters.get(catalog.SYNC_FAILURES.name, {}).values()))
    if failures:
        yield Finding(finding.FLUSH_FAILED, f"{failures:,} flushes were refused.", {"flushes": failures})


def _check_sums(sums: _Sums) -> Iterator[Finding]:
    facts = {**sums._asdict(), "unaccounted": sums.unaccounted, "undeclared": sums.undeclared}
    if sums.undeclared > 0:
        what = f"{sums.undeclared:,} more were shed than the store declares."
        yield Finding(finding.GAPS_UNDECLARED, what, facts)
    if sums.unaccounted > 0 and not sums.behind:
        what = f"{sums.unaccounted:,} of {sums.ended:,} ended calls are neither stored nor declared missing."
        yield Finding(finding.CALLS_UNACCOUNTED, what, facts)
    if sums.undeclared <= 0 and (sums.unaccounted <= 0 or sums.behind):
        dropped = {reason: number for reason, number in sums.dropped.items() if number}
        missing = ", ".join(f"{number:,} {reason}" for reason, number in sorted(dropped.items())) or "nothing"
        waiting = f"; {sums.unaccounted:,} wait in the journal" if sums.unaccounted > 0 else ""
        erased = f", {sums.erased:,} erased" if sums.erased else ""
        stored = f"{sums.stored:,} are stored{erased}{waiting}"
        what = f"of {sums.ended:,} calls since the start {stored}; not recorded: {missing}."
        yield Finding(finding.CAPTURE, what, facts)


def _settled(place: Place, server: Notice) -> _Sums:
    """Add up, again for a moment while it does not add up: what ended just now is on its way."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        sums = _add_up(place, server)
        if (sums.unaccounted <= 0 and sums.undeclared <= 0) or time.monotonic() >= deadline:
            return sums
        time.sleep(_LOOK_S)


def _add_up(place: Place, server: Notice) -> _Sums:
    # Counts first: a call that ends in between is then in the store and not in the counts, and nothing seems missing.
    counts = read_totals(server.folder).counts
    stored = declared = letters = erased = 0
    if place.traces.exists():
        stored, declared, letters, erased = view(place.traces, lambda connection: _rows(connection, server.started_at))
    return _Sums(
        ended=int(sum(counts.counters.get(catalog.CALLS.name, {}).values())),
        stored=stored,
        dropped={labels[0]: int(n) for labels, n in counts.counters.get(catalog.DROPPED.name, {}).items()},
        declared=declared,
        letters=letters,
        erased=erased,
        behind=bool(sum(counts.gauges.get(catalog.INGEST_BEHIND.name, {}).values())),
    )


def _rows(connection: sqlite3.Connection, started_at: float) -> tuple[int, int, int, int]:
    (stored,) = connection.execute(_STORED_SINCE, {"since": int(started_at * 1e6)}).fetchone()
    (letters,) = connection.execute(_CALL_LETTERS).fetchone()
    declared = sum(gap.count for gap in read_gaps(connection) if gap.last_at.timestamp() >= started_at)
    # Ids are of the time of their calls: UUIDv7 begins with the milliseconds.
    first = int(started_at * 1000).to_bytes(6, "big").ljust(16, b"\0")
    (erased,) = connection.execute(_ERASED_SINCE, {"first": first}).fetchone()
    return stored, declared, letters, erased
