"""Checks of the way from the journal to the store: who writes, who reads, what waits and what is damaged."""

import sqlite3
import time
from collections.abc import Collection, Iterator
from uuid import UUID

from proxy.journal.survey import KnownIds, WriterSurvey, survey_journals
from proxy.journal.writer import JOURNAL_FOLDER
from store import finding
from store.database_check import view
from store.finding import Finding
from store.id_list import KNOWN_DEAD_LETTERS, KNOWN_TRACES, id_list
from store.schema_version import TRACES, read_version
from store.trace import JournalPosition
from store.unchanged_view import OrphanedLogError
from tracemill.doctor.place import Place

MIB = 1024 * 1024
_LATE_S = 10.0
"""A call is in the store within a second (`docs/contract.md`, C5); from here on something keeps it."""
_FULL = 0.95
_START_S = 3.0
_LOOK_S = 0.1


def check_journal(place: Place) -> Iterator[Finding]:
    """Look at every writer's folder, and at who stores what they write."""
    writers = _survey(place)
    living = [writer for writer in writers if writer.is_alive]
    is_written = bool(living) or any(not server.settings.get("no_capture") for server in place.servers)
    if is_written:
        _await_writer(place)
    if place.has_writer:
        who = f"process {place.writer_pid}" if place.writer_pid else "a process elsewhere"
        yield Finding(finding.INGEST, f"{who} holds the right to write the store.", {"pid": place.writer_pid})
    elif is_written:
        what = f"{len(living)} workers write, and no process holds the right to write the store."
        yield Finding(finding.INGEST_STOPPED, what, {"writers": len(living)})
    yield from _check_waiting(place, writers)
    yield from _check_full(place, living)
    yield from _check_damage(writers)
    dead = len(writers) - len(living)
    size = sum(writer.bytes for writer in writers)
    segments = sum(writer.segments for writer in writers)
    what = f"{len(living)} living writers and {dead} dead ones, {segments} segments, {size / MIB:,.1f} MiB on disk."
    yield Finding(finding.JOURNAL, what, {"bytes": size, "writers": [_facts(writer) for writer in writers]})


def _await_writer(place: Place) -> None:
    """Wait a moment for an ingest that is only just being started, for the first time or again."""
    deadline = time.monotonic() + _START_S
    while not place.has_writer and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        place.look_for_writer()


def _check_waiting(place: Place, writers: list[WriterSurvey]) -> Iterator[Finding]:
    waiting = sum(writer.waiting_calls for writer in writers)
    if not waiting:
        return
    oldest = min(writer.oldest_ended_at for writer in writers if writer.oldest_ended_at is not None)
    age = max(0.0, time.time() - oldest)
    facts = {"calls": waiting, "oldest_age_s": round(age, 1)}
    what = f"{waiting:,} calls wait to be stored, the oldest for {age:,.0f} s."
    if not place.has_writer and not any(writer.is_alive for writer in writers):
        yield Finding(finding.JOURNAL_WAITING, what, facts)
    elif age > _LATE_S:
        yield Finding(finding.INGEST_BEHIND, what, facts)


def _check_full(place: Place, living: list[WriterSurvey]) -> Iterator[Finding]:
    bound = int(place.setting("max_journal_bytes"))
    for writer in living:
        if writer.bytes >= _FULL * bound:
            what = f"the journal of {writer.writer} has {writer.bytes / MIB:,.0f} MiB of {bound / MIB:,.0f} MiB."
            yield Finding(finding.JOURNAL_FULL, what, {"writer": writer.writer, "bytes": writer.bytes, "bound": bound})


def _check_damage(writers: list[WriterSurvey]) -> Iterator[Finding]:
    for writer in writers:
        if not writer.damaged and not writer.missing_segments:
            continue
        told = [f"{writer.damaged:,} damaged places ({writer.damages[0]})"] if writer.damaged else []
        if writer.missing_segments:
            told.append(f"segments missing from {writer.missing_segments[0]:08d}")
        facts = {"writer": writer.writer, "damages": writer.damages, "missing_segments": writer.missing_segments[:100]}
        yield Finding(finding.JOURNAL_DAMAGED, f"{writer.writer}: {' and '.join(told)}.", facts)


def _facts(writer: WriterSurvey) -> dict[str, object]:
    return {
        "writer": writer.writer,
        "is_alive": writer.is_alive,
        "pid": writer.pid,
        "segments": writer.segments,
        "bytes": writer.bytes,
        "unread_bytes": writer.unread_bytes,
        "waiting_calls": writer.waiting_calls,
    }


def _survey(place: Place) -> list[WriterSurvey]:
    """Look at the journals beside the store that says how far they are read; all is unread where it cannot be told."""
    journals = place.data_dir / JOURNAL_FOLDER

    def look(connection: sqlite3.Connection) -> list[WriterSurvey]:
        if read_version(connection) != TRACES.version:
            return survey_journals(journals, {}, _nothing)
        rows = connection.execute("SELECT writer, segment, offset FROM journal_positions").fetchall()
        positions = {row["writer"]: JournalPosition(row["writer"], row["segment"], row["offset"]) for row in rows}
        return survey_journals(journals, positions, _known_in(connection))

    if place.traces.exists():
        try:
            return view(place.traces, look)
        except (OrphanedLogError, sqlite3.Error):
            pass  # the checks of the database tell of it
    return survey_journals(journals, {}, _nothing)


def _known_in(connection: sqlite3.Connection) -> KnownIds:
    def known(ids: Collection[UUID]) -> set[UUID]:
        parameters = id_list(each.bytes for each in ids)
        found = connection.execute(KNOWN_TRACES, parameters).fetchall()
        found += connection.execute(KNOWN_DEAD_LETTERS, parameters).fetchall()
        return {UUID(bytes=row[0]) for row in found}

    return known


def _nothing(_ids: Collection[UUID]) -> set[UUID]:
    return set()
