"""Raw calls: the bytes that a trace was made of, kept for a while, so that it can be made again.

A follower of the writer (`store.follower`): what ingest offers for a batch is packed and written to a file behind the
database (`store.raw_call_files`), and one row for each pack says where, in the transaction that stores the traces. The
files are not waited for to be on the disk: after a loss of power the last packs may be missing, and the traces made of
them are as they were. Erasing overwrites a call's bytes in their place, and waits for the disk.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from store.follower import StoredTrace
from store.id_list import number_list
from store.raw_call_files import FOLDER, RawCallFiles
from store.raw_call_pack import (
    MAX_CALL_BYTES,
    PACK_BYTES,
    DamagedPackError,
    RawCallBytes,
    decode_pack,
    encode_into,
    encode_pack,
)
from store.trace import Trace

_log = logging.getLogger("tracemill.store")

MIB = 1024 * 1024
_DAY_S = 86_400.0
_LARGEST_SEGMENT_BYTES = 16 * MIB
_LEAST_SEGMENT_BYTES = 64 * 1024
_SEGMENTS = 16
"""So many files make up what may be kept: pruning by whole files then takes a sixteenth at a time."""

_END = """
    SELECT p.segment, p.offset + p.size,
           (SELECT f.stored_at FROM raw_packs f WHERE f.segment = p.segment ORDER BY f.offset LIMIT 1)
    FROM raw_packs p ORDER BY p.segment DESC, p.offset DESC LIMIT 1
"""
_END_OF = "SELECT offset + size FROM raw_packs WHERE segment = :segment ORDER BY offset DESC LIMIT 1"
_INSERT = """
    INSERT INTO raw_packs (segment, offset, size, calls, first_trace, last_trace, stored_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
# Packs do not overlap: numbers are given out upwards, and one that is given out again was taken out of its pack before.
_PACKS_OF = """
    SELECT DISTINCT p.number, p.segment, p.offset, p.size
    FROM json_each(:numbers) w CROSS JOIN raw_packs p
    ON p.number = (SELECT l.number FROM raw_packs l WHERE l.last_trace >= w.value ORDER BY l.last_trace LIMIT 1)
    WHERE p.first_trace <= w.value
"""
_NARROW = "UPDATE raw_packs SET calls = ?, first_trace = ?, last_trace = ? WHERE number = ?"
_DELETE = "DELETE FROM raw_packs WHERE number = ?"
_TRACE = "SELECT number FROM traces WHERE id = :id"


class RawRetention(NamedTuple):
    """For how long raw calls are kept.

    Attributes:
        bytes: Most that all files together may take; 0 keeps none.
        days: Longest time; 0 keeps none.
    """

    bytes: int = 0
    days: float = 0.0

    @property
    def keeps_any(self) -> bool:
        """Whether there is anything to be kept."""
        return self.bytes > 0 and self.days > 0

    @property
    def seconds(self) -> float:
        """Longest time, in seconds."""
        return self.days * _DAY_S

    @property
    def segment_bytes(self) -> int:
        """Size from which on a file is full."""
        return min(_LARGEST_SEGMENT_BYTES, max(_LEAST_SEGMENT_BYTES, self.bytes // _SEGMENTS))

    @property
    def segment_age_s(self) -> float:
        """Age of its first pack from which on a file is full."""
        return self.seconds / _SEGMENTS


NOT_KEPT = RawRetention()

Derive = Callable[[bytes], Trace]
"""Makes the trace of a call of its raw bytes, with its own id. Raises ValueError for bytes that are no call's."""


class _End(NamedTuple):
    """Where the next pack goes.

    Attributes:
        began_at: When the file's first pack was stored, in microseconds.
    """

    segment: int
    offset: int
    began_at: int


class RawCalls:
    """The raw calls of one data directory, as its one writer keeps them."""

    def __init__(self, data_dir: Path, retention: RawRetention = NOT_KEPT, derive: Derive | None = None) -> None:
        """Touch nothing yet.

        Args:
            data_dir: The folder of the database.
            retention: For how long new ones are kept; those that are there stay until they are pruned.
            derive: Makes a trace of a call's bytes; without it nothing can be made again.
        """
        self.files = RawCallFiles(data_dir / FOLDER)
        self.retention = retention
        self.derive = derive
        self._lost = 0
        self._offered: Mapping[UUID, bytes] = {}
        self._end: _End | None = None
        self._is_swept = False

    def offer(self, calls: Mapping[UUID, bytes]) -> None:
        """Give the bytes of calls that the next batches may hold, in place of those offered before."""
        self._offered = calls

    def add(self, db: sqlite3.Connection, traces: Sequence[StoredTrace]) -> None:
        """Write what was offered for these traces; trouble with the files costs raw calls and never a trace."""
        if not self._offered or not self.retention.keeps_any:
            return
        found = [
            RawCallBytes(stored.number, stored.trace.id.bytes, body)
            for stored in traces
            if (body := self._offered.get(stored.trace.id)) is not None and len(body) <= MAX_CALL_BYTES
        ]
        try:
            for calls in _packs(found):
                self._append(db, calls)
        except OSError as error:
            self._lost += len(found)
            self._end = None
            _log.warning(
                "raw calls cannot be kept in %s (%s); their traces are stored", self.files.folder, error.strerror
            )

    def take_lost(self) -> int:
        """Tell, once, of how many stored traces the calls could not be written since the last time."""
        lost, self._lost = self._lost, 0
        return lost

    def remove(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Overwrite the bytes of these traces' calls.

        Raises:
            OSError: The disk refuses; nothing may be taken for erased.
        """
        self.sweep(db)
        erase(db, numbers)

    def remove_content(self, db: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Overwrite the bytes of calls of which no more than metadata stays; raises OSError as `remove`."""
        self.remove(db, numbers)

    def forget(self) -> None:
        """Ask the database again where the next pack goes; what a transaction wrote that was rolled back is cut off."""
        self._end = None
        self._is_swept = False

    def sweep(self, db: sqlite3.Connection) -> None:
        """Cut off what was written and not committed, once at the beginning and after each `forget`.

        Raises:
            OSError: The folder cannot be read or written.
        """
        if not self._is_swept:
            if self.files.folder.is_dir():
                self.files.sweep({segment: _end_of(db, segment) for segment in self.files.segments()})
            self._is_swept = True

    def _append(self, db: sqlite3.Connection, calls: list[RawCallBytes]) -> None:
        now = time.time_ns() // 1000
        pack = encode_pack(calls)
        segment, offset, began_at = self._place(db, now)
        self.files.append(segment, offset, pack)
        db.execute(_INSERT, (segment, offset, len(pack), len(calls), calls[0].number, calls[-1].number, now))
        self._end = _End(segment, offset + len(pack), began_at)

    def _place(self, db: sqlite3.Connection, now: int) -> _End:
        """Tell where a pack goes, in a new file when the newest is full."""
        self.sweep(db)
        if self._end is None:
            row = db.execute(_END).fetchone()
            self._end = _End(1, 0, now) if row is None else _End(*row)
        end = self._end
        if end.offset >= self.retention.segment_bytes or now - end.began_at >= self.retention.segment_age_s * 1e6:
            return _End(end.segment + 1, 0, now)
        return end


def erase(db: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """Overwrite the raw bytes of traces, in a transaction; say of how many there were any.

    The bytes are gone from the disk when this returns, whatever becomes of the transaction. Not to be called for
    numbers that were given out again.

    Args:
        db: The writer's connection.
        numbers: Of the traces, as in `traces.number`; their rows need not be there any more.

    Raises:
        OSError: The disk refuses.
    """
    files = _files(db)
    gone = set(numbers)
    erased = 0
    for pack, segment, offset, size in db.execute(_PACKS_OF, number_list(numbers)).fetchall():
        try:
            calls = decode_pack(files.read(segment, offset, size))
        except (DamagedPackError, FileNotFoundError):
            calls = []  # nobody can tell whose they are
        left = [call for call in calls if call.number not in gone]
        if calls and len(left) == len(calls):
            continue
        erased += len(calls) - len(left)
        data = encode_into(left, size) if left else None
        if data is None:
            left = []
        if files.path(segment).exists():
            files.overwrite(segment, offset, data or bytes(size))
        if left:
            db.execute(_NARROW, (len(left), left[0].number, left[-1].number, pack))
        else:
            db.execute(_DELETE, (pack,))
    return erased


def find_raw_call(db: sqlite3.Connection, trace_id: UUID) -> bytes | None:
    """Give the raw bytes of a call; None when they are not kept, not kept any longer, or damaged.

    Args:
        db: Any connection that reads the database.
        trace_id: The trace's id.
    """
    return raw_calls_of(db, [trace_id]).get(trace_id)


def raw_calls_of(db: sqlite3.Connection, ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """Give the raw bytes of several calls, by trace id; those that are not there are left out."""
    wanted = list(ids)
    rows = [db.execute(_TRACE, {"id": id_.bytes}).fetchone() for id_ in wanted]
    found = find_raw_calls(db, [row[0] for row in rows if row is not None])
    return {id_: found[id_] for id_ in wanted if id_ in found}


def find_raw_calls(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[UUID, bytes]:
    """Give the raw bytes of several traces' calls, by trace id; those that are not there are left out."""
    files = _files(db)
    wanted = set(numbers)
    found: dict[UUID, bytes] = {}
    for _, segment, offset, size in db.execute(_PACKS_OF, number_list(wanted)).fetchall():
        try:
            calls = decode_pack(files.read(segment, offset, size))
        except (DamagedPackError, FileNotFoundError):
            continue
        found.update({UUID(bytes=call.id): call.body for call in calls if call.number in wanted})
    return found


def _files(db: sqlite3.Connection) -> RawCallFiles:
    """Find the files that lie beside a database."""
    return RawCallFiles(Path(db.execute("PRAGMA database_list").fetchone()[2]).parent / FOLDER)


def _end_of(db: sqlite3.Connection, segment: int) -> int:
    row = db.execute(_END_OF, {"segment": segment}).fetchone()
    return 0 if row is None else int(row[0])


def _packs(calls: Iterable[RawCallBytes]) -> Iterator[list[RawCallBytes]]:
    pack: list[RawCallBytes] = []
    size = 0
    for call in calls:
        pack.append(call)
        size += len(call.body)
        if size >= PACK_BYTES:
            yield pack
            pack, size = [], 0
    if pack:
        yield pack
