"""A backup: a data directory that holds what another one held at a moment, checked and ready to be started on.

Order makes it complete. Small files and what waits in the journals are copied first, the databases after them: a call
that ended before the backup began is then in the copied journal, in the copied database, or in both, where its id makes
it one. Raw calls, if they are wanted, come last, so that every pack the database speaks of is there.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from proxy.calls.key_file import KEY_FILE
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.key_salt import SALT_FILE
from proxy.serve.ingest_process import SETTINGS_FILE
from store.backup import CopiedDatabase, Progress, check_copy, copy_database, size_on_disk
from store.data_files import TRACES_FILE, WORK_FILE
from store.database import TRACES, WORK, Schema
from store.datasets.kept_folder import KEPT_FOLDER
from store.erasing.work_erasing import INPUTS_FOLDER
from store.errors import DatabaseMissingError, StoreError, StoreFullError
from store.job_folder import JOBS_FOLDER, PROMPTS, UPLOADED
from store.raw_call_files import FOLDER as RAW_FOLDER

MANIFEST = "backup.json"
_FORMAT = 1
_JOB_FILES = (
    "[!.]*/*.json*",
    f"[!.]*/{UPLOADED}/*",
    f"[!.]*/{PROMPTS}/*",
    "[!.]*/dataset/[!.]*",
    f"[!.]*/dataset/{INPUTS_FOLDER}/*",
)
"""What a job was given, what it told and what it made."""
_POSITION_FILE = "otlp-position"
_SMALL_FILES = (SALT_FILE, KEY_FILE, SETTINGS_FILE, _POSITION_FILE)
"""What a data directory holds beside databases and journals, and would miss: a salt stands for all fingerprints, and a
key file for all keys of clients."""
_DATABASES: Mapping[str, Schema] = {TRACES_FILE: TRACES, WORK_FILE: WORK}
_SPARE_BYTES = 64 * 1024 * 1024
"""Left free for a server that goes on writing to the same disk."""
_BLOCK_BYTES = 1024 * 1024


@dataclass
class Manifest:
    """What a backup holds; the file that is written last.

    Attributes:
        databases: By name: schema version and the rows of each table.
        files: SHA-256 of every file but this one, by its path.
    """

    tracemill: str
    created_at: str
    format: int = _FORMAT
    databases: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def traces(self) -> int:
        """How many traces there are."""
        return int(self.databases.get(TRACES_FILE, {}).get("rows", {}).get("traces", 0))


def make_backup(data_dir: Path, target: Path, progress: Progress, *, has_raw: bool = False) -> Manifest:
    """Make a backup in a folder that is not there yet; it appears under its name when it is whole and checked.

    Args:
        data_dir: The data directory; a server may be running on it, and is not waited for.
        target: Its parent is there.
        progress: Told of each database how far it is.
        has_raw: Copy raw calls too.

    Raises:
        StoreError: There is nothing to copy, `target` cannot be made, or a database cannot be copied.
        StoreFullError: There is no room for it.
    """
    _check_places(data_dir, target)
    _check_room(data_dir, target, has_raw=has_raw)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(mode=0o700)
        manifest = _fill(data_dir, partial, progress, has_raw=has_raw)
        partial.rename(target)
        _sync(target.parent)
    except OSError as exc:
        _remove(partial)
        message = f"{target}: the backup cannot be written ({exc.strerror or exc}). Nothing is left of it."
        raise StoreError(message, target) from exc
    except BaseException:
        _remove(partial)
        raise
    return manifest


def check_backup(backup: Path) -> Manifest:
    """Check that a backup is as it was made.

    Raises:
        StoreError: It is none, or a file is missing, changed or damaged.
    """
    manifest = _read_manifest(backup)
    for name, digest in manifest.files.items():
        try:
            found = _digest(backup / name)
        except OSError as exc:
            raise StoreError(f"{backup}: {name} cannot be read ({exc.strerror}).", backup / name) from exc
        if found != digest:
            raise StoreError(
                f"{backup}: {name} is not as it was backed up. A backup that was started on is one no more.",
                backup / name,
            )
    for name, told in manifest.databases.items():
        check_copy(backup / name, told["schema_version"], told["rows"])
    return manifest


def _fill(data_dir: Path, partial: Path, progress: Progress, *, has_raw: bool) -> Manifest:
    manifest = Manifest(version("tracemill"), datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    for name in _SMALL_FILES:
        with suppress(FileNotFoundError):
            _copy_file(data_dir / name, partial / name)
    _copy_folder(data_dir, partial, JOURNAL_FOLDER, "*/*.seg")
    for name, schema in _DATABASES.items():
        if (data_dir / name).exists():
            copied = copy_database(data_dir / name, partial / name, schema, progress)
            manifest.databases[name] = _told(copied)
    if has_raw:
        _copy_folder(data_dir, partial, RAW_FOLDER, "*.raw")
    _copy_folder(data_dir, partial, KEPT_FOLDER, "*.gz")
    # After the database that speaks of them: a job's folder is made before its row.
    for pattern in _JOB_FILES:
        _copy_folder(data_dir, partial, JOBS_FOLDER, pattern)
    for path in sorted(path for path in partial.rglob("*") if path.is_file()):
        manifest.files[str(path.relative_to(partial))] = _digest(path)
    _write(partial / MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
    for folder in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
        _sync(folder)
    return manifest


def _told(copied: CopiedDatabase) -> dict[str, Any]:
    return {"schema_version": copied.schema_version, "rows": dict(copied.rows)}


def _check_places(data_dir: Path, target: Path) -> None:
    if not (data_dir / TRACES_FILE).exists() and not (data_dir / WORK_FILE).exists():
        raise DatabaseMissingError(
            f"{data_dir}: there is no database to back up. Name the data directory that `tracemill serve` uses with "
            "--data-dir or TRACEMILL_DATA_DIR.",
            data_dir,
        )
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target} is there already, and a backup overwrites nothing. Choose another name.", target)
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: there is no such folder to make the backup in.", target)
    if target.parent.resolve().is_relative_to(data_dir.resolve()):
        raise StoreError(f"{target} is inside of what is backed up. Choose a place outside, on another disk.", target)


def _check_room(data_dir: Path, target: Path, *, has_raw: bool) -> None:
    needed = sum(size_on_disk(data_dir / name) for name in _DATABASES)
    patterns = [(KEPT_FOLDER, "*.gz"), (JOURNAL_FOLDER, "*/*.seg"), (RAW_FOLDER, "*.raw" if has_raw else "")]
    for folder, pattern in [*patterns, *((JOBS_FOLDER, pattern) for pattern in _JOB_FILES)]:
        for path in (data_dir / folder).glob(pattern) if pattern else ():
            with suppress(FileNotFoundError):
                needed += path.stat().st_size
    free = shutil.disk_usage(target.parent).free
    if free < needed + _SPARE_BYTES:
        raise StoreFullError(
            f"{target}: the backup takes up to {needed / 2**20:,.0f} MiB, and {_SPARE_BYTES / 2**20:,.0f} MiB have to "
            f"stay free; there are {free / 2**20:,.0f} MiB. Make room, or choose another disk.",
            target,
        )


def _copy_folder(data_dir: Path, partial: Path, folder: str, pattern: str) -> None:
    """Copy files as long as they are now; those that go away meanwhile are stored, or pruned."""
    for path in sorted((data_dir / folder).glob(pattern)):
        copy = partial / path.relative_to(data_dir)
        for parent in reversed(copy.relative_to(partial).parents[:-1]):
            (partial / parent).mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            _copy_file(path, copy)


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                copy.write(block)
                left -= len(block)
            copy.flush()
            os.fsync(copy.fileno())


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(backup: Path) -> Manifest:
    path = backup / MANIFEST
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
    except OSError as exc:
        raise StoreError(f"{path}: cannot be read ({exc.strerror}); is {backup} a backup?", path) from exc
    except (TypeError, ValueError) as exc:
        raise StoreError(f"{path}: is no list of what a backup holds.", path) from exc
    if manifest.format != _FORMAT:
        raise StoreError(f"{path}: format {manifest.format}; this version reads format {_FORMAT}.", path)
    return manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
