"""Whether versions of datasets are what their hashes say, and are guarded against changes."""

import sqlite3
from collections.abc import Iterator

from store import finding
from store.data_files import WORK_FILE
from store.database_check import view
from store.datasets.version_check import VersionCheck, all_versions, check_guards, check_version
from store.finding import Finding
from store.schema_version import WORK, read_version
from store.unchanged_view import OrphanedLogError
from tracemill.doctor.place import Place

_MOST_NAMED = 20


def check_datasets(place: Place) -> Iterator[Finding]:
    """Derive every hash of every version again; reads all rows."""
    path = place.data_dir / WORK_FILE
    if not path.exists():
        return
    try:
        checks, guards = view(path, _look)
    except (OrphanedLogError, sqlite3.Error):
        return  # and the check of the database has told
    damaged = [check for check in checks if not check.is_sound]
    for check in damaged[:_MOST_NAMED]:
        what = f"{check.label}: {check.problems} problems; the first: {check.named[0]}."
        facts = {"version": check.label, "problems": check.problems, "named": check.named}
        yield Finding(finding.VERSION_DAMAGED, what, facts)
    if guards:
        yield Finding(finding.VERSIONS_UNGUARDED, f"{', '.join(guards)}.", {"triggers": guards})
    if checks and not damaged and not guards:
        rows = sum(check.rows for check in checks)
        facts = {"versions": len(checks), "rows": rows, "erased": sum(check.erased for check in checks)}
        yield Finding(finding.VERSIONS_SOUND, f"{len(checks)} versions with {rows:,} rows.", facts)


def _look(connection: sqlite3.Connection) -> tuple[list[VersionCheck], list[str]]:
    if read_version(connection) != WORK.version:
        return [], []
    return [check_version(connection, version) for version in all_versions(connection)], check_guards(connection)
