"""Whether this process has a file open already.

SQLite's locks are POSIX locks, and a process loses all that it has on a file as soon as it closes any descriptor of
that file (https://www.sqlite.org/howtocorrupt.html, section 2.2). A reader whose lock is gone goes on reading; but the
next writer that closes takes itself for the last, deletes the log, and the reader sees nothing new from then on.
So a database is not opened beside SQLite where SQLite has it open.
"""

import os
from contextlib import suppress
from pathlib import Path

_DESCRIPTORS = Path("/dev/fd")


def is_open_here(path: Path) -> bool:
    """Tell whether some descriptor of this process is of a file; False where that cannot be found out."""
    with suppress(OSError):
        wanted = path.stat()
        return any(_is_of(each.name, wanted) for each in _DESCRIPTORS.iterdir())
    return False


def _is_of(name: str, wanted: os.stat_result) -> bool:
    with suppress(OSError, ValueError):
        found = os.fstat(int(name))
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
    return False
