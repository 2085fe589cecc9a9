"""Reading a writer's journal along: entries in, finished calls and changes out.

The reader keeps no state on disk but one position per writer, the *watermark*: every call whose entries begin before it
has been handed out and stored. Calls that are still open hold the watermark back, so after a restart their entries are
read again; calls handed out twice that way are known by their id (`store.traces.TraceWriter.known`). One reader hands
out nothing twice, so that only what was there when it began has to be looked up (`may_repeat`).
"""

import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from proxy.journal.call_entries import make_call
from proxy.journal.change_entry import change_of
from proxy.journal.format import (
    MARK_SIZE,
    SEGMENT_HEAD_SIZE,
    SEGMENT_MAGIC,
    Damage,
    Entry,
    EntryKind,
    read_entries,
)
from proxy.journal.gap import gap_letter
from proxy.journal.raw_call import RawCall
from store.change import Change
from store.trace import DeadLetter, JournalPosition, Outcome

_log = logging.getLogger("tracemill.ingest")

_READ_BYTES = 2 * 1024 * 1024
_DEAD_LETTER_BYTES = 1024 * 1024
"""How much of a damaged stretch is kept; the rest of it is only counted in the detail."""

_DAMAGE = UUID("5d0c2f7e-6a53-4d5c-9a0b-3f1f0c4c8a11")
"""The namespace of the ids of damaged stretches, which belong to no call."""

_Part = tuple[int, int, int]
"""Where a piece of a body lies: segment, offset and size. A plain tuple, for every entry makes one."""


@dataclass(slots=True)
class _OpenCall:
    """What is known of a call whose END has not come."""

    segment: int
    offset: int
    meta: dict[str, Any]
    request: list[_Part]
    response: list[_Part]
    answered: dict[str, Any] | None = None


class _Window(NamedTuple):
    """The piece of a segment that is being read."""

    segment: int
    offset: int
    data: bytes


class JournalReader:
    """Reads one writer's folder."""

    def __init__(self, folder: Path, position: JournalPosition | None = None) -> None:
        """Begin at a position (or at the beginning)."""
        self.folder = folder
        self._segment = position.segment if position else 1
        self._offset = position.offset if position else 0
        self._mark = b""
        self._open: dict[bytes, _OpenCall] = {}
        self._window = _Window(0, 0, b"")
        self._letters: deque[DeadLetter] = deque()
        self._was_there = self._end()

    @property
    def may_repeat(self) -> bool:
        """Whether what comes next may have been stored before: it was there already when this reader began."""
        return self.place < self._was_there

    @property
    def position(self) -> JournalPosition:
        """The watermark: nothing before it is needed again."""
        oldest = min(((call.segment, call.offset) for call in self._open.values()), default=None)
        segment, offset = min(oldest or (self._segment, self._offset), (self._segment, self._offset))
        return JournalPosition(self.folder.name, segment, offset)

    @property
    def place(self) -> tuple[int, int]:
        """Segment and offset up to which everything was read."""
        return self._segment, self._offset

    def is_writer_alive(self) -> bool:
        """Tell whether the writer's process still holds its lock."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def read(self) -> Iterator[RawCall | Change]:
        """Yield the changes, and the calls that ended, since the last time; stops at the end of what is written."""
        self._pass_missing_segments()
        while True:
            yield from self._read_segment()
            if not self._path(self._segment + 1).exists():
                return
            # Nothing more can come into this segment: the writer has begun the next one.
            yield from self._read_segment()
            self._bury_rest("torn")
            self._segment, self._offset = self._segment + 1, 0

    def finish(self) -> Iterator[RawCall | Change]:
        """Yield what is left when the writer is dead: first what ended, then each open call with how far it came."""
        yield from self.read()
        self._bury_rest("torn")
        for id_ in list(self._open):
            yield self._close(id_, self._open[id_].answered or {"outcome": Outcome.INTERRUPTED})

    def take_dead_letters(self) -> list[DeadLetter]:
        """Return and forget the dead letters gathered while reading."""
        letters = list(self._letters)
        self._letters.clear()
        return letters

    def delete_read_segments(self, position: JournalPosition) -> None:
        """Delete the segments that a stored watermark has passed."""
        for number in range(position.segment - 1, 0, -1):
            path = self._path(number)
            if not path.exists():
                return
            path.unlink()

    def _pass_missing_segments(self) -> None:
        """Go on behind segments that are not there.

        An older database that was put back may ask for what a newer one had stored, so that it was deleted.
        """
        if self._path(self._segment).exists():
            return
        later = [int(path.stem) for path in self.folder.glob("*.seg") if path.stem > f"{self._segment:08d}"]
        if later:
            first = min(later)
            _log.warning(
                "%s: segments %d to %d are not there; going on behind them", self.folder, self._segment, first - 1
            )
            self._segment, self._offset = first, 0

    def _end(self) -> tuple[int, int]:
        """Give the place where the journal ends now."""
        last = max((int(path.stem) for path in self.folder.glob("*.seg")), default=0)
        return (last, self._path(last).stat().st_size) if last else (0, 0)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.seg"

    def _open_file(self, number: int) -> int:
        return os.open(f"{self.folder}/{number:08d}.seg", os.O_RDONLY | os.O_CLOEXEC)

    def _read_segment(self) -> Iterator[RawCall | Change]:
        try:
            file = self._open_file(self._segment)
        except FileNotFoundError:
            return
        try:
            yield from self._read_file(file)
        finally:
            os.close(file)
            self._window = _Window(0, 0, b"")

    def _read_file(self, file: int) -> Iterator[RawCall | Change]:
        written = os.fstat(file).st_size
        if written < SEGMENT_HEAD_SIZE:
            return
        self._offset = max(self._offset, SEGMENT_HEAD_SIZE)
        if written == self._offset:
            return
        self._mark = _mark_of(os.pread(file, SEGMENT_HEAD_SIZE, 0)) or self._mark
        size = _READ_BYTES
        while True:
            data = os.pread(file, size, self._offset)
            before = self._offset
            self._window = _Window(self._segment, before, data)
            for item in read_entries(self._mark, data, before):
                self._offset = item.end
                if isinstance(item, Damage):
                    self._bury(item.offset, item.end, "bad_crc")
                elif (taken := self._take(item)) is not None:
                    yield taken
            if len(data) < size:
                return
            # An entry larger than the window: look through a larger one.
            size = _READ_BYTES if self._offset > before else size * 2

    def _take(self, entry: Entry) -> RawCall | Change | None:
        """Take the next entry; give the change that it is, or the call that it ends."""
        kind, id_, meta, body, offset, _, body_offset = entry
        parts: list[_Part] = [(self._segment, body_offset, len(body))] if body else []
        if kind is EntryKind.BEGIN:
            self._open[id_] = _OpenCall(self._segment, offset, meta, parts, [])
            return None
        if kind is EntryKind.GAP:
            self._letters.append(gap_letter(entry.trace_id, {**entry.meta, "writer": self.folder.name}))
            return None
        if kind is EntryKind.CHANGE:
            return self._change(entry)
        call = self._open.get(id_)
        if call is None:
            self._letters.append(
                DeadLetter("orphan", f"a {entry.kind.name} entry without its BEGIN", bytes(entry.body), entry.trace_id)
            )
            return None
        if kind is EntryKind.REQUEST:
            call.request += parts
            return None
        call.response += parts
        if kind is EntryKind.END:
            return self._close(id_, meta)
        if kind is EntryKind.ANSWERED:
            call.answered = meta
        return None

    def _change(self, entry: Entry) -> Change | None:
        try:
            return change_of(entry)
        except ValueError:
            # A newer version may ask for what this one does not know; so may nobody else.
            detail = f"a change of the kind {str(entry.meta.get('kind'))[:40]!r} is not known to this version"
            self._letters.append(DeadLetter("unknown_change", detail, bytes(entry.body), entry.trace_id))
            return None

    def _close(self, id_: bytes, end: dict[str, Any]) -> RawCall:
        call = self._open.pop(id_)
        return make_call(id_, call.meta, end, self._join(call.request), self._join(call.response))

    def _join(self, parts: list[_Part]) -> bytes:
        return self._piece(parts[0]) if len(parts) == 1 else b"".join([self._piece(part) for part in parts])

    def _piece(self, part: _Part) -> bytes:
        """Give a piece of a body, from the file once the window has moved on."""
        segment, offset, size = part
        begin, data = self._window.offset, self._window.data
        if segment == self._window.segment and offset >= begin:
            return data[offset - begin : offset - begin + size]
        file = self._open_file(segment)
        try:
            return os.pread(file, size, offset)
        finally:
            os.close(file)

    def _bury_rest(self, reason: str) -> None:
        """Make a dead letter of what lies behind the last sound entry of a segment that will not grow."""
        path = self._path(self._segment)
        size = path.stat().st_size if path.exists() else 0
        if size > self._offset:
            self._bury(self._offset, size, reason)
            self._offset = size

    def _bury(self, offset: int, end: int, reason: str) -> None:
        with self._path(self._segment).open("rb") as file:
            body = os.pread(file.fileno(), min(end - offset, _DEAD_LETTER_BYTES), offset)
        where = f"{self.folder.name}/{self._segment:08d}.seg"
        detail = f"{end - offset} bytes at {offset} of {where} hold no entry"
        # An open call before it lets it be read again after a restart: by its place it is known, and counted once.
        self._letters.append(DeadLetter(reason, detail, body, uuid5(_DAMAGE, f"{where}/{offset}")))


def _mark_of(head: bytes) -> bytes | None:
    is_one = len(head) >= SEGMENT_HEAD_SIZE and head.startswith(SEGMENT_MAGIC)
    return head[-MARK_SIZE:] if is_one else None
