"""The files that raw calls lie in: numbered, written at their end, deleted whole.

They lie beside the database and not in it, since there they would be written twice (log and file), be replicated with
every backup, and leave a file behind that only a rewrite makes small again. What a file holds is what `raw_packs` says
of it; anything else in it was written by a process that died before its transaction was committed, and is cut off.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = "raw"
_SUFFIX = ".raw"


class RawCallFiles:
    """The files of one data directory."""

    def __init__(self, folder: Path) -> None:
        """Make nothing yet; `folder` need not be there."""
        self.folder = folder

    def path(self, segment: int) -> Path:
        """Name a file."""
        return self.folder / f"{segment:08d}{_SUFFIX}"

    def segments(self) -> dict[int, int]:
        """Give the size of each file by its number, the oldest first."""
        found: dict[int, int] = {}
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            # Whoever looks need not be the one that deletes.
            with suppress(ValueError, FileNotFoundError):
                found[int(path.stem)] = path.stat().st_size
        return found

    def append(self, segment: int, end: int, data: bytes) -> None:
        """Write behind what a file holds; what was there behind `end` is gone.

        Raises:
            OSError: No room, or no right to it.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with self._open(segment, os.O_RDWR | os.O_CREAT) as file:
            if os.fstat(file).st_size != end:
                os.ftruncate(file, end)
            _write_all(file, data, end)

    def overwrite(self, segment: int, offset: int, data: bytes) -> None:
        """Put other bytes into a place; they are on the disk when this returns."""
        with self._open(segment, os.O_RDWR) as file:
            _write_all(file, data, offset)
            os.fdatasync(file)

    def read(self, segment: int, offset: int, size: int) -> bytes:
        """Read a piece; what is missing at the end of the file is missing here.

        Raises:
            FileNotFoundError: The file was pruned.
        """
        with self._open(segment, os.O_RDONLY) as file:
            return os.pread(file, size, offset)

    def delete(self, segment: int) -> None:
        """Delete a file, if it is there."""
        self.path(segment).unlink(missing_ok=True)

    def sweep(self, ends: Mapping[int, int]) -> None:
        """Cut every file to the end that is known of it; one of which nothing is known goes."""
        for segment, size in self.segments().items():
            end = ends.get(segment, 0)
            if end == 0:
                self.delete(segment)
            elif size > end:
                os.truncate(self.path(segment), end)

    @contextmanager
    def _open(self, segment: int, flags: int) -> Iterator[int]:
        file = os.open(self.path(segment), flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            yield file
        finally:
            os.close(file)


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
