"""Who holds a lock file, asked without standing in anybody's way."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_KERNELS_LIST = Path("/proc/locks")


class Holder(NamedTuple):
    """Whether a lock is held.

    Attributes:
        pid: The holder's process id, None when it cannot be told (another machine's or container's).
    """

    is_held: bool
    pid: int | None = None


def lock_holder(path: Path) -> Holder:
    """Tell who holds the `flock` on a file; a file that is not there is held by nobody.

    The kernel's list is asked first, which disturbs nobody. It leaves out processes of other containers, so a lock that
    is not on it is tried for a moment, shared and without waiting: whoever wants it in that very moment tries again.

    Raises:
        OSError: The file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Holder(is_held=False)
    try:
        pid = _listed(os.fstat(descriptor))
        if pid is not None:
            return Holder(is_held=True, pid=pid)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Holder(is_held=True, pid=None)
        return Holder(is_held=False)
    finally:
        os.close(descriptor)


def _listed(file: os.stat_result) -> int | None:
    """Find the holder in the kernel's list: `1: FLOCK  ADVISORY  WRITE 708 fe:00:2359475 0 EOF`."""
    with suppress(OSError):
        for line in _KERNELS_LIST.read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and _is_file(words[5], file):
                return int(words[4])
    return None


def _is_file(place: str, file: os.stat_result) -> bool:
    major, minor, inode = place.split(":")
    return int(inode) == file.st_ino and os.makedev(int(major, 16), int(minor, 16)) == file.st_dev
