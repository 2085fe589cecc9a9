"""A database file below SQLite: overwriting the unused room of its pages while nobody can write to it.

Only bytes that SQLite never reads are written, each page's by itself, so nothing has to be undone after a kill, and
readers may read meanwhile. What has to hold is that the file is all there is of the database: the log is empty, and
whoever calls has the right to write, so that no page is written between the look at it and the overwriting.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from store.erasing.page_room import HEADER_BYTES, FileLayout, is_sound, unused_room
from store.errors import StoreError

_READ_PAGES = 64
_LOG_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_SALTS = slice(16, 24)
_kept: dict[tuple[int, int], int] = {}
"""Descriptors by device and inode. To close one would take away the locks that SQLite holds on the same file in this
process (https://www.sqlite.org/howtocorrupt.html, section 2.2), so none is, as long as the file has a name."""


class DatabaseFile:
    """The pages of a database whose log is empty."""

    def __init__(self, path: Path) -> None:
        """Look at the file; nobody may write to it from here on.

        Raises:
            OSError: It cannot be read or written.
            StoreError: It cannot be told which of its pages are which.
        """
        self._descriptor = _descriptor(path)
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        self._layout = FileLayout.of_header(header, os.fstat(self._descriptor).st_size)
        self._zeros = bytes(self._layout.page_bytes)
        self._map_number, self._map = 0, b""
        if not self._layout.is_known:
            raise StoreError(
                f"{path} is too large to be cleaned in place without auto_vacuum. Run `tracemill vacuum` once.", path
            )

    @property
    def pages(self) -> int:
        """How many there are."""
        return self._layout.pages

    def clean(self, numbers: Iterable[int]) -> None:
        """Overwrite the unused room of some pages."""
        size = self._layout.page_bytes
        for number in numbers:
            if 1 <= number <= self.pages:
                self._clean(number, os.pread(self._descriptor, size, (number - 1) * size))

    def clean_down(self, last: int, deadline: float) -> int:
        """Overwrite the unused room of the pages up to one, from there towards the first.

        Args:
            last: Number of the page to begin with.
            deadline: Stop soon after it, by the monotonic clock; some pages are always done.

        Returns:
            The number of the page to go on with; 0 when the first one is done.
        """
        size = self._layout.page_bytes
        last = min(last, self.pages)
        while last > 0:
            first = max(1, last - _READ_PAGES + 1)
            block = os.pread(self._descriptor, (last - first + 1) * size, (first - 1) * size)
            for number in range(first, last + 1):
                at = (number - first) * size
                self._clean(number, block[at : at + size])
            last = first - 1
            if time.monotonic() >= deadline:
                break
        return last

    def sync(self) -> None:
        """Have the disk hold what was overwritten, by this object or any before it."""
        os.fdatasync(self._descriptor)

    def _clean(self, number: int, page: bytes) -> None:
        layout = self._layout
        if len(page) < layout.page_bytes or number == layout.lock_page:
            return
        room = unused_room(page, layout.usable_bytes, is_first=number == 1)
        if room is None:
            return
        begin, end = room
        if page[begin:end] == self._zeros[begin:end] or not self._is_btree(number):
            return
        if is_sound(page, begin, end, layout.usable_bytes, is_first=number == 1):
            os.pwrite(self._descriptor, self._zeros[begin:end], (number - 1) * layout.page_bytes + begin)

    def _is_btree(self, number: int) -> bool:
        layout = self._layout
        if number == 1 or not layout.has_map:
            return True
        at = layout.map_page(number)
        if at == number:
            return False
        if at != self._map_number:
            self._map = os.pread(self._descriptor, layout.usable_bytes, (at - 1) * layout.page_bytes)
            self._map_number = at
        return layout.is_btree(number, self._map)


class Log:
    """The write-ahead log of a database; https://www.sqlite.org/fileformat2.html, section 4."""

    def __init__(self, database: Path) -> None:
        """Touch nothing yet."""
        self._path = database.with_name(database.name + "-wal")

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing."""
        return not self._path.exists() or self._path.stat().st_size == 0

    def salts(self) -> bytes:
        """Give what changes whenever the log begins anew; empty while it holds nothing."""
        return b"" if self.is_empty else self._header()[_SALTS]

    def pages(self) -> set[int]:
        """Give the numbers of all pages that stand in it; some of an earlier log may be among them."""
        if self.is_empty:
            return set()
        page_bytes = int.from_bytes(self._header()[8:12], "big")
        found = set()
        with self._path.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            frames = range(_LOG_HEADER_BYTES, os.fstat(descriptor).st_size, _FRAME_HEADER_BYTES + page_bytes)
            for at in frames:
                found.add(int.from_bytes(os.pread(descriptor, 4, at), "big"))
        return found

    def _header(self) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            return file.read(_LOG_HEADER_BYTES)


def _descriptor(path: Path) -> int:
    for key, descriptor in list(_kept.items()):
        if os.fstat(descriptor).st_nlink == 0:
            del _kept[key]
            os.close(descriptor)
    found = path.stat()
    key = (found.st_dev, found.st_ino)
    if key not in _kept:
        _kept[key] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return _kept[key]
