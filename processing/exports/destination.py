"""Where an export goes: a file or a folder that appears whole or not at all, and replaces nothing of anybody else's."""

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from processing.errors import InputError
from store.export import is_of_data_directory

MANIFEST: Final = "manifest.json"
KIND: Final = "tracemill export"
_LARGEST_MANIFEST: Final = 64 * 2**20
"""Many times what one of ours takes; a larger file of that name is somebody else's."""


class Destination:
    """A place for files while they are written, and where they stand in the end.

    Use as a context manager: what was written goes away by an error, and nothing older is touched before `publish`.
    """

    def __init__(self, out: Path, *, is_folder: bool, force: bool) -> None:
        """Check the place.

        Args:
            out: The file or folder to make.
            is_folder: Which of both.
            force: Replace an export that stands there.

        Raises:
            InputError: Something stands there that may not be replaced, or the folder above is missing.
        """
        self.out = Path(os.path.realpath(out))
        self._is_folder = is_folder
        self._force = force
        self._check()
        self.work = self.out.with_name(f".tracemill-export-{uuid4().hex[:8]}.tmp")

    @property
    def besides(self) -> tuple[Path, ...]:
        """Files that stand beside the export: the manifest of a single file, and the rows that were left out."""
        return (
            (self.left_out,) if self._is_folder else (self.out.with_name(f"{self.out.name}.{MANIFEST}"), self.left_out)
        )

    @property
    def left_out(self) -> Path:
        """Where the rows that were left out are listed."""
        return self.out.with_name(f"{self.out.name}.left-out.jsonl")

    def _check(self) -> None:
        if not self.out.parent.is_dir():
            raise InputError(str(self.out.parent), "is not a folder. Make it, or choose another --output.")
        if is_of_data_directory(self.out):
            raise InputError(str(self.out), "belongs to a data directory. Choose another --output.")
        if not self.out.exists():
            return
        if self.out.is_dir() is not self._is_folder:
            kind = "a folder" if self.out.is_dir() else "no folder"
            raise InputError(str(self.out), f"is {kind}. Choose another --output.")
        if self._is_folder:
            self._check_folder()
        elif not self.out.is_file():
            raise InputError(str(self.out), "is no regular file. Choose another --output.")
        elif not self._force:
            raise InputError(str(self.out), "is there already. --force replaces it.")

    def _check_folder(self) -> None:
        try:
            own = _own_files(self.out)
            foreign = _foreign(self.out, own)
            is_empty = foreign is None and next(self.out.iterdir(), None) is None
        except OSError as exc:
            raise InputError(
                str(self.out), f"cannot be looked into ({exc.strerror}). Choose another --output."
            ) from exc
        if foreign is not None:
            raise InputError(str(self.out), f"holds {foreign}, which no export made. Choose another --output.")
        if not is_empty and not self._force:
            raise InputError(str(self.out), "holds an export already. --force replaces it.")

    def __enter__(self) -> Self:
        self.work.mkdir(mode=0o700)
        return self

    def publish(self) -> None:
        """Put what was written in its place. A single file has its own name in the folder of the work."""
        for path in sorted(self.work.rglob("*")):
            _sync(path)
        _sync(self.work)
        left_out = self.work / self.left_out.name
        if left_out.exists():
            left_out.replace(self.left_out)
        else:
            self.left_out.unlink(missing_ok=True)
        if self._is_folder:
            self._replace_folder()
        else:
            for path in self.besides[:1]:
                (self.work / path.name).replace(path)
            (self.work / self.out.name).replace(self.out)
        _sync(self.out.parent)

    def _replace_folder(self) -> None:
        if not self.out.exists():
            self.work.rename(self.out)
            return
        earlier = self.out.with_name(f"{self.work.name}.earlier")
        self.out.rename(earlier)
        self.work.rename(self.out)
        shutil.rmtree(earlier)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        shutil.rmtree(self.work, ignore_errors=True)


def _own_files(folder: Path) -> set[str]:
    """The files of an export that stands in a folder; none when it is none of ours."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
        return set()
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["kind"] != KIND:
            return set()
        return {MANIFEST, *manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _foreign(folder: Path, own: Collection[str], inside: str = "") -> str | None:
    """Find something in a folder that is not among our files; None where there is nothing else.

    It looks at our own folders alone, and no further than to the first such thing: the folder may be anybody's home.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{inside}{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                if name not in own:
                    return name
            elif not any(each.startswith(f"{name}/") for each in own):
                return f"{name}/"
            elif (found := _foreign(folder / entry.name, own, f"{name}/")) is not None:
                return found
    return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
