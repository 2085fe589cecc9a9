"""Having every journal begin a new file, so that what was read of the old one can be deleted.

A journal's newest file is written on and stays, although ingest has stored what is in it. When something is to be gone
from the disk, ingest leaves a file named `roll` in the writer's folder; the writer sees it within a fraction of a
second, begins its next file and removes it.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

REQUEST = "roll"


class JournalFiles:
    """The files of all journals of a data directory."""

    def __init__(self, root: Path) -> None:
        """Touch nothing yet; `root` is the data directory's `journal` folder and need not be there."""
        self._root = root

    def begin_anew(self) -> Mapping[str, int]:
        """Ask every writer for a new file; give the newest of today by writer."""
        newest: dict[str, int] = {}
        if not self._root.is_dir():
            return newest
        for folder in self._root.iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            # Ingest removes folders of writers that are gone.
            with suppress(FileNotFoundError):
                newest[folder.name] = max(_numbers(folder), default=0)
                os.close(os.open(folder / REQUEST, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return newest

    def are_gone(self, old: Mapping[str, int]) -> bool:
        """Tell whether none of the files that `begin_anew` gave is there any more.

        Those that hold the beginning of a call which goes on stay until it has ended.
        """
        return not any(number <= newest for name, newest in old.items() for number in _numbers(self._root / name))


def is_asked(folder: Path) -> bool:
    """Tell a writer whether it is to begin a new file."""
    return os.path.exists(f"{folder}/{REQUEST}")  # noqa: PTH110 - looked at all the time


def is_done(folder: Path) -> None:
    """Take the request away."""
    with suppress(OSError):
        (folder / REQUEST).unlink()


def _numbers(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.seg") if path.stem.isdigit()]
