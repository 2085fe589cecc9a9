"""The output folder: one run at a time, whole files only, the manifest last.

A file is written under a temporary name in the same folder, flushed to disk and renamed. The manifest of an earlier run
goes before the first file changes and the new one comes after the last: a folder with a manifest holds one whole
dataset.
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from processing.errors import InputError, RunLockedError
from store import json_text
from store.erasing.work_erasing import MARK_FILE, mark_folder
from store.job import Erased
from store.recorded.message import Json

MANIFEST = "manifest.json"
_LOCK = ".tracemill-run.lock"


class OutputFolder:
    """A folder that this run alone writes into, from entering to leaving the context.

    Raises:
        RunLockedError: Another run holds the folder; on entering.
        InputError: The folder cannot be made or written; on entering.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._is_known = False

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._is_known = (self.path / _LOCK).exists()
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise InputError(
                str(self.path), f"cannot be the output folder ({exc.strerror}). Choose another --out."
            ) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.read(lock, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(lock)
            raise RunLockedError(
                f"{self.path}: {holder} is running into this folder. Wait for it, or choose another --out."
            ) from exc
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._lock = lock
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def name(self) -> str:
        """The folder's own name, also when it was given as `.`."""
        return self.path.resolve().name

    def claim(self, names: Collection[str], conversations: Collection[str]) -> None:
        """Make sure that publishing replaces nothing but an earlier dataset of the same conversations.

        Args:
            names: The files that will be written.
            conversations: Ids of the conversations that the dataset is made of.

        Raises:
            InputError: The folder holds such a file that no run made, or the dataset of other conversations.
        """
        foreign = sorted(name for name in (*names, MANIFEST) if (self.path / name).exists())
        if foreign and not self._is_known:
            (self.path / _LOCK).unlink()
            raise InputError(str(self.path), f"holds {foreign[0]}, which no run made. Choose another --out.")
        earlier = self._earlier_conversations()
        if earlier and conversations and not earlier & set(conversations):
            raise InputError(
                str(self.path), "holds the dataset of other conversations. Choose another --out, or move it away."
            )

    def _earlier_conversations(self) -> set[str]:
        try:
            found = json.loads((self.path / MANIFEST).read_bytes()).get("conversations")
        except (OSError, ValueError, AttributeError):
            return set()
        return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()

    def publish(self, files: Mapping[str, bytes], manifest: Mapping[str, Json]) -> None:
        """Write the files, then the manifest with each file's size, lines and SHA-256.

        Raises:
            OSError: The disk is full or the folder cannot be written; the folder then has no manifest.
        """
        (self.path / MANIFEST).unlink(missing_ok=True)
        for name, content in files.items():
            self._write(name, content)
        described = {
            name: {
                "bytes": len(content),
                "lines": content.count(b"\n"),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for name, content in files.items()
        }
        self._sync()
        self._write(MANIFEST, pretty({**manifest, "files": described}))
        self._sync()

    def mark_erased(self, erased: Erased | None) -> None:
        """Say in the folder what was erased of the traces that its files were made from, or that nothing was."""
        if erased is None:
            (self.path / MARK_FILE).unlink(missing_ok=True)
        else:
            mark_folder(self.path, erased._asdict())

    def _write(self, name: str, content: bytes) -> None:
        temporary = self.path / f".{name}.new"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.rename(self.path / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _sync(self) -> None:
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_running(path: Path) -> bool:
    """Whether a run holds the folder right now; the lock dies with its holder, whatever killed it."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def lines(rows: Iterable[Json]) -> bytes:
    """Write JSON Lines; U+2028 and U+2029 are escaped, since some readers end lines there."""
    return b"".join(_escaped(json_text.dumps(row)) + b"\n" for row in rows)


def pretty(value: Mapping[str, Json]) -> bytes:
    """Write one JSON object for people, keys in their order."""
    return json.dumps(value, indent=2).encode() + b"\n"


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
