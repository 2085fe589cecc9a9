"""A look at all journals of a data directory, without reading them on behalf of ingest: nothing moves, nothing is kept.

It reads what ingest has not stored, with ingest's own reader, so that what it says of damage is what ingest will say.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from proxy.journal.folder import used_bytes
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader
from store.change import Change
from store.lock_holder import lock_holder
from store.trace import JournalPosition

_TRIES = 3
_ASK_CALLS = 500

KnownIds = Callable[[Collection[UUID]], set[UUID]]
"""Tells which of these are in the store already, as traces or dead letters."""


@dataclass(slots=True)
class WriterSurvey:
    """What lies in one writer's folder.

    Attributes:
        segments: Files on disk.
        bytes: Their size.
        unread_bytes: What ingest has not stored of it.
        waiting_calls: Calls that ended and are not in the store; of a dead writer also those that it cut short.
        oldest_ended_at: When the oldest of them ended, in seconds of the epoch; None when none waits.
        damaged: Stretches of bytes that are no entry, and entries without their call's beginning, not stored yet.
        damages: A sentence for each of the first 100.
        missing_segments: Numbers that are missing between two segments.
    """

    writer: str
    is_alive: bool
    pid: int | None
    segments: int = 0
    bytes: int = 0
    unread_bytes: int = 0
    waiting_calls: int = 0
    oldest_ended_at: float | None = None
    damaged: int = 0
    damages: list[str] = field(default_factory=list)
    missing_segments: list[int] = field(default_factory=list)


def survey_journals(root: Path, positions: Mapping[str, JournalPosition], known: KnownIds) -> list[WriterSurvey]:
    """Look at every writer's folder.

    Args:
        root: The data directory's `journal` folder; it need not be there.
        positions: How far ingest has come, by writer.
        known: Asked for ids that may be stored already.

    Raises:
        OSError: A folder or a file cannot be read.
    """
    if not root.is_dir():
        return []
    folders = sorted(folder for folder in root.iterdir() if not folder.name.startswith(".") and folder.is_dir())
    return [found for folder in folders if (found := _survey(folder, positions.get(folder.name), known)) is not None]


def _survey(folder: Path, position: JournalPosition | None, known: KnownIds) -> WriterSurvey | None:
    """Look at one folder; again when ingest took a segment away meanwhile, None when it took the folder."""
    for attempt in range(_TRIES):
        try:
            return _look(folder, position, known)
        except FileNotFoundError:
            if not folder.exists():
                return None
            if attempt == _TRIES - 1:
                raise
    return None


def _look(folder: Path, position: JournalPosition | None, known: KnownIds) -> WriterSurvey:
    holder = lock_holder(folder / "lock")
    found = WriterSurvey(folder.name, is_alive=holder.is_held, pid=holder.pid)
    numbers = sorted(int(path.stem) for path in folder.glob("*.seg") if path.stem.isdigit())
    found.segments = len(numbers)
    found.bytes = used_bytes(folder)
    start = position or JournalPosition(folder.name, numbers[0] if numbers else 1, 0)
    found.unread_bytes = used_bytes(folder, start.segment, start.offset)
    wanted = range(max(start.segment, numbers[0]), numbers[-1]) if numbers else range(0)
    found.missing_segments = sorted(set(wanted) - set(numbers))
    _read(folder, start, found, known)
    return found


def _read(folder: Path, start: JournalPosition, found: WriterSurvey, known: KnownIds) -> None:
    reader = JournalReader(folder, start)
    ends: dict[UUID, float] = {}
    for taken in reader.read() if found.is_alive else reader.finish():
        if isinstance(taken, Change):
            continue  # a change that is read again is known by its id, and done once
        ends[taken.trace_id] = _ended_at(taken)
        if len(ends) >= _ASK_CALLS:
            _count(ends, found, known)
            _count_damage(reader, found, known)
    _count(ends, found, known)
    _count_damage(reader, found, known)


def _count(ends: dict[UUID, float], found: WriterSurvey, known: KnownIds) -> None:
    for trace_id in known(ends.keys()):
        ends.pop(trace_id, None)
    found.waiting_calls += len(ends)
    if ends:
        oldest = min(ends.values())
        found.oldest_ended_at = oldest if found.oldest_ended_at is None else min(oldest, found.oldest_ended_at)
    ends.clear()


def _count_damage(reader: JournalReader, found: WriterSurvey, known: KnownIds) -> None:
    letters = [letter for letter in reader.take_dead_letters() if letter.reason != "gap"]
    stored = known({letter.trace_id for letter in letters if letter.trace_id is not None})
    for letter in letters:
        if letter.trace_id not in stored:
            found.damaged += 1
            found.damages.append(f"{letter.reason}: {letter.detail}")
    del found.damages[100:]


def _ended_at(call: RawCall) -> float:
    return call.started_at.timestamp() + (call.duration_ms or 0) / 1000
