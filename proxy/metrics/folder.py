"""The folder in memory where each process tells its counts, one file each, and where they are read and added up.

A file is a whole *snapshot* of its process and replaces the one before by a rename, so a reader sees one or the other.
The supervisor, who knows which process is dead, *buries* its snapshot: the counters are added to those of all the dead
in one file, the gauges forgotten. So a process that dies again and again leaves one file behind and not thousands.

A scrape may fall into a burial. It reads the file of the dead last, and that file names whom it holds, so nobody is
left out and nobody counted twice: a counter that seems to fall would look like a restart to Prometheus.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from proxy.metrics.counts import Counts
from store.lock_holder import lock_holder

FOLDER_VARIABLE = "TRACEMILL_METRICS_FOLDER"
"""The environment variable by which the supervisor tells its processes of the folder."""

_log = logging.getLogger("tracemill.metrics")

_PREFIX = "tracemill-metrics-"
_LOCK = "lock"
_MAKING_S = 60.0
_THE_DEAD = "the-dead"
_SUFFIX = ".json"
_NAMES_KEPT = 256
"""Of the buried: far more than can be buried while one scrape reads its files."""


@contextmanager
def made_folder() -> Iterator[Path]:
    """Make the folder, in memory where there is such a place: on a disk that is full nobody could tell that it is."""
    place = _place()
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _place() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


def find_folders() -> list[Path]:
    """Find the folders of our user's servers, and those that killed ones left behind."""
    found: list[Path] = []
    for folder in sorted(_place().glob(f"{_PREFIX}*")):
        with suppress(FileNotFoundError):
            if folder.stat().st_uid == os.getuid():
                found.append(folder)
    return found


def is_in_use(folder: Path) -> bool:
    """Tell whether the supervisor that made a folder is alive; one without a lock is only just being made."""
    lock = folder / _LOCK
    return lock_holder(lock).is_held or (folder.exists() and not lock.exists())


def remove_abandoned(place: Path) -> None:
    """Remove our user's folders whose supervisor was killed: they are memory that nobody else gives back."""
    for folder in place.glob(f"{_PREFIX}*"):
        # Between its making and its lock a folder looks abandoned; others' cannot be opened.
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid() or time.time() - folder.stat().st_mtime < _MAKING_S:
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def metrics_folder() -> Path | None:
    """Give the folder of this server; None for a process that no supervisor started."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else None


class Totals(NamedTuple):
    """What all processes counted, and when each of the living last told.

    Attributes:
        told_at: Seconds of the epoch by role, the oldest of several processes.
    """

    counts: Counts
    told_at: dict[str, float]


def snapshot_path(folder: Path, process: str) -> Path:
    """Name the snapshot of this process: by its id, for the burial, and by chance, for ids come again."""
    return folder / f"{process}-{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"


def tell(path: Path, counts: Counts) -> None:
    """Replace a process's snapshot.

    Raises:
        OSError: The folder cannot be written; the snapshot before is untouched.
    """
    _replace(path, counts.to_json())


def bury(folder: Path, pid: int) -> None:
    """Add a dead process's counters to those of all the dead and take its file away. One process alone may do that.

    Raises:
        OSError: The folder cannot be written.
    """
    for path in folder.glob(f"*-{pid}-*{_SUFFIX}"):
        dead, names = _the_dead(folder)
        counts = _read(path)
        if counts is not None and path.name not in names:
            dead.add(counts, has_gauges=False)
            _replace(folder / _THE_DEAD, orjson.dumps([[*names, path.name][-_NAMES_KEPT:], dead.to_json().decode()]))
        path.unlink()


def read_totals(folder: Path) -> Totals:
    """Add up the living and the dead."""
    living = {path.name: counts for path in folder.glob(f"*{_SUFFIX}") if (counts := _read(path)) is not None}
    totals, names = _the_dead(folder)
    told_at: dict[str, float] = {}
    for name, counts in living.items():
        if name in names:
            continue
        totals.add(counts, has_gauges=True)
        told_at[counts.process] = min(counts.told_at, told_at.get(counts.process, counts.told_at))
    return Totals(totals, told_at)


def _the_dead(folder: Path) -> tuple[Counts, list[str]]:
    """Give what the dead counted, and the names of their files."""
    try:
        names, counts = orjson.loads((folder / _THE_DEAD).read_bytes())
    except FileNotFoundError:
        return Counts(), []
    return Counts.from_json(counts), names


def _read(path: Path) -> Counts | None:
    """Read a snapshot; None for one that went away meanwhile, or is none."""
    try:
        return Counts.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s cannot be read (%s); what it counts is missing in /metrics", path, error)
        return None


def _replace(path: Path, data: bytes) -> None:
    # Not `.json`: a glob finds hidden files too, and this one would be counted beside the one it is to replace.
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    new.replace(path)
