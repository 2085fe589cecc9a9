"""The self-check as a whole: each check stands alone, so that one that fails hides none of the others."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from store import finding
from store.capture_check import check_capture
from store.data_files import WORK_FILE
from store.database_check import check_database, view
from store.finding import GROUPS, KINDS, Finding
from store.raw_call_check import check_raw_calls
from store.schema_version import TRACES, WORK, read_version
from store.search_check import check_search
from store.unchanged_view import OrphanedLogError
from store.verify import Progress, verify
from tracemill.doctor.count_checks import check_counts
from tracemill.doctor.dataset_checks import check_datasets
from tracemill.doctor.journal_checks import check_journal
from tracemill.doctor.place import Place, check_servers, check_settings
from tracemill.doctor.retention_checks import check_retention
from tracemill.doctor.surroundings import check_disk, check_files, check_keys, check_versions

Check = Callable[[Place], Iterator[Finding]]

_READABLE = (finding.DATABASE, finding.DATABASE_UNCHECKED)


def examine(data_dir: Path, config: Path | None, *, progress: Progress | None = None) -> list[Finding]:
    """Make every check; nothing in the data directory is changed.

    Args:
        data_dir: The data directory; a server may be running on it.
        config: The settings' file named on the command line.
        progress: Have every id derived again, and be told how far that is; None to leave it out.

    Returns:
        The findings by group, in the order of `store.finding.KINDS`.
    """
    place = Place(data_dir, config)
    if not data_dir.is_dir():
        what = f"{data_dir} is not there." if not data_dir.exists() else f"{data_dir} is no folder."
        found = [Finding(finding.DATA_DIR_MISSING, what, {"data_dir": str(data_dir)})]
        checks: list[Check] = [check_versions]
    else:
        found = []
        checks = [
            check_versions, check_servers, check_settings, check_files, check_disk, check_keys,
            _databases(is_thorough=progress is not None), check_retention, _capture, _search, check_journal,
            check_counts,
        ]  # fmt: skip
        if progress is not None:
            checks += [_verification(progress), check_datasets]
    for check in checks:
        found += _made(check, place)
    order = list(KINDS)
    return sorted(found, key=lambda each: (GROUPS.index(each.kind.group), order.index(each.kind.name)))


def _made(check: Check, place: Place) -> list[Finding]:
    """Make one check; one that fails is a finding of its own, beside what it had found."""
    found: list[Finding] = []
    try:
        found.extend(check(place))
    except Exception as error:  # noqa: BLE001 - whatever is broken, the other checks are wanted all the more
        name = check.__name__.removeprefix("_").removeprefix("check_")
        detail = f": {error}" if isinstance(error, OSError) else ""
        what = f"the check of {name} failed by {type(error).__name__}{detail}."
        found.append(Finding(finding.CHECK_FAILED, what, {"check": name, "error": type(error).__name__}))
    return found


def _databases(*, is_thorough: bool) -> Check:
    def databases(place: Place) -> Iterator[Finding]:
        found = check_database(place.traces, TRACES, is_thorough=is_thorough)
        place.is_database_bad = not any(each.kind in _READABLE for each in found)
        yield from found
        work = place.data_dir / WORK_FILE
        if work.exists():
            yield from check_database(work, WORK, is_thorough=is_thorough)

    return databases


def _capture(place: Place) -> Iterator[Finding]:
    yield from _of_traces(place, check_capture)


def _search(place: Place) -> Iterator[Finding]:
    yield from _of_traces(place, check_search)


def _verification(progress: Progress) -> Check:
    def verification(place: Place) -> Iterator[Finding]:
        yield from _of_traces(place, lambda connection: list(verify(connection, progress).findings()))
        yield from _of_traces(place, lambda connection: list(check_raw_calls(connection, place.data_dir)))

    return verification


def _of_traces(place: Place, look: Callable[[sqlite3.Connection], list[Finding]]) -> list[Finding]:
    """Look at the database of traces when it is there and of this version; one that is bad as far as it can be read."""
    if not place.traces.exists():
        return []
    try:
        return view(
            place.traces, lambda connection: look(connection) if read_version(connection) == TRACES.version else []
        )
    except (OrphanedLogError, sqlite3.Error):
        if place.is_database_bad:
            return []  # and that was told
        raise
