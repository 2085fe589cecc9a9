"""Where changes are written: a journal folder like a worker's, with the disk waited for.

A worker's journal is made never to hold up a call. This one is made to be believed: a change that `write` returned for
outlives a power failure. It blocks, so it belongs on a thread of its own or into a command. When nothing was asked for
a while, the folder is given up, so that ingest removes it: what was asked may name a person.
"""

import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy.journal.change_entry import encode_change
from proxy.journal.disk import Disk
from proxy.journal.folder import WriterFolder, make_folder, used_bytes
from proxy.journal.format import MARK_SIZE
from proxy.journal.segment import Segment
from store.change import Change

_SEGMENT_BYTES = 16 * 1024 * 1024
"""Ingest deletes whole segments: an import of any size then needs the room of a few."""
_IDLE_S = 2.0


class ChangeWriter:
    """The journal of one process that asks for changes; any thread may write, one at a time."""

    def __init__(self, root: Path, *, disk: Disk | None = None) -> None:
        """Make nothing yet: a process that never asks for anything leaves no folder behind.

        Args:
            root: The data directory's `journal` folder.
            disk: The system calls to write with.
        """
        self._root = root
        self._disk = disk or Disk()
        self._mark = secrets.token_bytes(MARK_SIZE)
        self._segment = Segment(self._mark, self._disk)
        self._folder: WriterFolder | None = None
        self._turn = threading.Lock()
        self._written_at = 0.0
        self._idle: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, *changes: Change) -> None:
        """Write changes in their order; all of them are on the disk when this returns.

        Raises:
            OSError: They may or may not be done; written again under the same ids they are done once.
        """
        with self._turn:
            self._make_room()
            entries = [encode_change(self._mark, change) for change in changes]
            while entries:
                del entries[: self._segment.append(entries)]
                if self._segment.is_broken:
                    self._begin_segment()
            self._segment.sync()
            self._written_at = time.monotonic()
            if self._idle is None:
                self._watch(_IDLE_S)

    def waiting_bytes(self) -> int:
        """Tell how much of what was written ingest has not done with yet, to the size of a segment."""
        return 0 if self._folder is None else used_bytes(self._folder.path)

    def close(self) -> None:
        """Give the folder up: ingest takes the rest in and removes it."""
        with self._turn:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            self._give_up()

    def _give_up(self) -> None:
        self._segment.close()
        with suppress(OSError):
            self._segment.sync()  # closes what a failure left open; `write` has told of that failure
        if self._folder is not None:
            os.close(self._folder.lock)
            self._folder = None

    def _watch(self, seconds: float) -> None:
        self._idle = threading.Timer(seconds, self._look)
        self._idle.daemon = True
        self._idle.start()

    def _look(self) -> None:
        with self._turn:
            if self._idle is None:
                return  # closed meanwhile
            left = self._written_at + _IDLE_S - time.monotonic()
            if left > 0:
                self._watch(left)
                return
            self._idle = None
            self._give_up()

    def _make_room(self) -> None:
        if self._folder is None or not self._folder.path.exists():
            if self._folder is not None:
                os.close(self._folder.lock)
            self._folder = make_folder(self._root, self._disk)
            self._segment.use_folder(self._folder.path)
        if not self._segment.is_open or self._segment.is_broken or self._segment.size >= _SEGMENT_BYTES:
            self._begin_segment()

    def _begin_segment(self) -> None:
        self._segment.close()
        self._segment.open_next()
