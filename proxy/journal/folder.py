"""A writer's folder: its name, its lock, and its place among the others."""

import fcntl
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from proxy.journal.disk import Disk


class WriterFolder(NamedTuple):
    """A folder that exists and is ours.

    Attributes:
        path: `journal/<writer>`.
        lock: Descriptor of the lock, which the kernel drops when this process ends, however it ends.
    """

    path: Path
    lock: int


def make_folder(root: Path, disk: Disk) -> WriterFolder:
    """Create a writer's folder with its lock already held, so that nobody ever sees it unlocked and alive.

    Raises:
        OSError: It cannot be made now; nothing is left behind but, at worst, a hidden folder.
    """
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    hidden, path = root / f".{name}", root / name
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.mkdir(hidden, 0o700)
    lock = -1
    try:
        lock = disk.open(hidden / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        disk.rename(hidden, path)
    except OSError:
        # A full disk is tried five times a second: the names must not pile up on it.
        with suppress(OSError):
            if lock >= 0:
                os.close(lock)
            (hidden / "lock").unlink(missing_ok=True)
            hidden.rmdir()
        raise
    return WriterFolder(path, lock)


def used_bytes(folder: Path, segment: int = 0, offset: int = 0) -> int:
    """Add up the segments that lie in a writer's folder, from a place on."""
    total, first = 0, f"{segment:08d}"
    for path in folder.glob("*.seg"):
        # Ingest deletes segments meanwhile.
        with suppress(FileNotFoundError):
            if path.stem >= first:
                total += path.stat().st_size - (offset if path.stem == first else 0)
    return total
