"""The folder of a filed job, `jobs/<run id>` in the data directory: what it was given, what it tells, what it makes.

Its events are lines of a file that is only ever appended to, each in one write, so that several processes may write.
The id of an event is the place in the file behind it: whoever has seen an event asks for what comes after its id.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

JOBS_FOLDER: Final = "jobs"
UPLOADED: Final = "uploaded"
"""Name of a folder with one file, which keeps its own name."""
PROMPTS: Final = "prompts"
"""The same."""
_EVENTS = "events.jsonl"
_LOCK = "job.lock"
_BLOCK_BYTES = 256 * 1024
_TRIES = 5
_RETRY_S = 0.02
_ASIDE = ".removed-"
_INCOMING = ".incoming-"


class EventKind(StrEnum):
    """What an event tells."""

    STATUS = "status"
    STAGE = "stage"
    WARNING = "warning"


class Event(NamedTuple):
    """Something that happened to a job.

    Attributes:
        id: Place in the file behind it; what comes later has a larger one.
        facts: `type`, one of `EventKind`, `at` in UTC, and what else there is to tell.
    """

    id: int
    facts: Mapping[str, Any]


class JobBusyError(Exception):
    """Another process writes about the job now."""


class JobFolder:
    """The folder of one job; nothing is opened before it is needed.

    Args:
        data_dir: The data directory.
        run_id: Id of the job, in the form in which it is stored.
    """

    def __init__(self, data_dir: Path, run_id: str) -> None:
        self.path = data_dir / JOBS_FOLDER / run_id
        self.dataset = self.path / "dataset"
        self.job_description = self.path / "job_description.json"
        self.config = self.path / "config.json"
        self.test = self.path / "test.jsonl"
        self.request = self.path / "request.json"
        self.calibration = self.path / "calibration.jsonl"
        self.prompts = self.path / PROMPTS
        self.uploaded = self.path / UPLOADED
        self.unpacked = self.path / "unpacked"

    def make(self, files: Mapping[Path, bytes]) -> None:
        """Make the folder with what the job is given. One that is there gets the same files again.

        Raises:
            OSError: It cannot be written.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_name(f".{path.name}.new")
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        for folder in {*(path.parent for path in files), self.path, self.path.parent}:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def set_aside(self) -> Path | None:
        """Give the folder a name under which nobody looks for it, until it is removed; None where there is none.

        Raises:
            OSError: It cannot be renamed.
        """
        if not self.path.is_dir():
            return None
        aside = self.path.with_name(f"{_ASIDE}{self.path.name}")
        self.path.rename(aside)
        return aside

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who runs the job, or writes about one that rests, while the block runs.

        Raises:
            JobBusyError: Somebody else is.
            OSError: The folder is not there, or cannot be written.
        """
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        for _ in range(_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Whoever only asks whether it is held holds it for that moment.
                time.sleep(_RETRY_S)
            else:
                return
        raise JobBusyError(f"{self.path}: another process runs the job.")

    def is_held(self) -> bool:
        """Whether somebody runs the job right now; the lock dies with its holder, whatever kills it."""
        try:
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def tell(self, kind: EventKind, **facts: object) -> None:
        """Append an event.

        Raises:
            OSError: It cannot be written.
        """
        line = json.dumps({"type": kind, "at": _now(), **facts}).encode() + b"\n"
        file = os.open(self.path / _EVENTS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            # The end of a line may be missing where the disk was full; then that line is nobody's.
            os.write(file, line if size == 0 or os.pread(file, 1, size - 1) == b"\n" else b"\n" + line)
        finally:
            os.close(file)

    def is_event(self, id_: int) -> bool:
        """Whether an event has that id; 0 stands for none yet."""
        if id_ == 0:
            return True
        try:
            with (self.path / _EVENTS).open("rb") as file:
                file.seek(id_ - 1)
                return file.read(1) == b"\n"
        except OSError:
            return False

    def events(self, after: int) -> list[Event]:
        """Give some of the events after an id, in their order; none where none has come since."""
        try:
            with (self.path / _EVENTS).open("rb") as file:
                file.seek(after)
                block = file.read(_BLOCK_BYTES)
        except FileNotFoundError:
            return []
        found: list[Event] = []
        for line in block[: block.rfind(b"\n") + 1].splitlines(keepends=True):
            after += len(line)
            try:
                facts = json.loads(line)
            except ValueError:
                continue
            if isinstance(facts, dict):
                found.append(Event(after, facts))
        return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def incoming(data_dir: Path, run_id: str) -> JobFolder:
    """Give the folder of a job that is not filed yet; it is renamed when it is."""
    return JobFolder(data_dir, f"{_INCOMING}{run_id}")


def remove_leftovers(data_dir: Path) -> None:
    """Remove what was set aside, or was coming in, when its process died over it."""
    for beginning in (_ASIDE, _INCOMING):
        for folder in (data_dir / JOBS_FOLDER).glob(f"{beginning}*"):
            shutil.rmtree(folder, ignore_errors=True)
