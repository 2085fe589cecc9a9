"""Checks of what is to go: the retention in force, erasures that are under way, and room that the disk has not back."""

import sqlite3
from collections.abc import Iterator
from typing import Any

from store import finding
from store.database_check import view
from store.erasing.under_way import erasures_under_way
from store.finding import Finding
from store.schema_version import TRACES, read_version
from store.unchanged_view import OrphanedLogError
from tracemill.doctor.place import Place

_MIB = 1024 * 1024
_WORTH_BYTES = 64 * _MIB
_PRUNED = "SELECT what, traces FROM pruned"


def check_retention(place: Place) -> Iterator[Finding]:
    """Tell how long things are kept, and what still has to go."""
    yield _in_force(place.settings or {})
    if not place.traces.exists() or place.is_database_bad:
        return
    try:
        yield from view(place.traces, _of_database)
    except (OrphanedLogError, sqlite3.Error):
        return  # the checks of the database tell of it


def _in_force(settings: dict[str, Any]) -> Finding:
    names = ("content_retention_days", "metadata_retention_days", "max_store_bytes")
    facts = {name: settings.get(name) for name in (*names, "raw_retention_days", "raw_retention_bytes")}
    set_ = [f"{name}={facts[name]}" for name in names if facts[name] is not None]
    return Finding(finding.RETENTION, f"{', '.join(set_) or 'traces are kept for good'}.", facts)


def _of_database(connection: sqlite3.Connection) -> list[Finding]:
    if read_version(connection) != TRACES.version:
        return []
    found: list[Finding] = []
    under_way = erasures_under_way(connection)
    failing = {str(each.id): each.counts["error"] for each in under_way if "error" in each.counts}
    if failing:
        told = "; ".join(f"{id_}: {error}" for id_, error in failing.items())
        found.append(Finding(finding.ERASURES_FAILING, f"{told}.", {"erasures": failing}))
    waiting = [(str(each.id), each.phase, each.counts.get("traces", 0)) for each in under_way]
    if waiting:
        told = "; ".join(f"{id_} in {phase!r} after {traces:,} traces" for id_, phase, traces in waiting)
        found.append(Finding(finding.ERASURES_PENDING, f"{told}.", {"erasures": [list(each) for each in waiting]}))
    facts = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "freelist_count")}
    free = facts["page_size"] * facts["freelist_count"]
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0 and free >= _WORTH_BYTES:
        what = f"{free // _MIB:,} MiB of traces.db are free and cannot be given back to the disk."
        found.append(Finding(finding.ROOM_HELD, what, {"free_bytes": free}))
    return found
