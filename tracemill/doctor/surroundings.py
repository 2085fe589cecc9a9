"""Checks of what lies around the data: programs, files, modes, disk, keys."""

import os
import platform
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from proxy.calls.key_file import KEY_FILE, read_keys
from proxy.errors import KeyFileError
from store import finding
from store.file_system import network_file_system
from store.finding import Finding
from store.sqlite_version import has_wal_reset_bug
from tracemill.doctor.place import Place

MIB = 1024 * 1024
_FULL_BYTES = 64 * MIB
_NAMED = 3
_PACKAGES = ("tracemill", "uvloop", "httpx2", "starlette", "uvicorn", "orjson", "pydantic")


def check_versions(_place: Place) -> Iterator[Finding]:
    """Tell what is running."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    first = ("tracemill", "python", "sqlite", "uvloop", "httpx2")
    yield Finding(finding.VERSIONS, ", ".join(f"{name} {found[name]}" for name in first) + ".", found)
    if has_wal_reset_bug():
        what = f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug; one process alone writes here."
        yield Finding(finding.SQLITE_WAL_RESET, what, {"sqlite": sqlite3.sqlite_version})


def check_files(place: Place) -> Iterator[Finding]:
    """Look at modes and owners of everything in the data directory."""
    owner = place.data_dir.stat().st_uid
    opened: list[str] = []
    foreign: list[str] = []
    count = size = 0
    for path in (place.data_dir, *_below(place.data_dir)):
        try:
            status = path.lstat()
        except FileNotFoundError:  # ingest takes segments away
            continue
        count += 1
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
        name = str(path.relative_to(place.data_dir)) if path != place.data_dir else str(path)
        if stat.S_IMODE(status.st_mode) & 0o077 and not stat.S_ISLNK(status.st_mode):
            opened.append(name)
        if status.st_uid != owner:
            foreign.append(name)
    if opened:
        yield Finding(finding.OPEN_TO_OTHERS, f"open to others: {_names(opened)}.", {"paths": opened[:100]})
    if foreign:
        yield Finding(finding.FOREIGN_OWNER, f"not of user {owner}: {_names(foreign)}.", {"paths": foreign[:100]})
    if not opened and not foreign:
        what = f"{place.data_dir}: {count:,} files and folders, {size / MIB:,.1f} MiB, for user {owner} alone."
        yield Finding(finding.DATA_DIR, what, {"files": count, "bytes": size, "owner": owner})


def check_disk(place: Place) -> Iterator[Finding]:
    """Compare the room on the disk with what the journals may take; tell a network filesystem."""
    kind = network_file_system(place.data_dir)
    if kind is not None:
        yield Finding(finding.NETWORK_FILESYSTEM, f"{place.data_dir} is on {kind}.", {"kind": kind})
    free = shutil.disk_usage(place.data_dir).free
    inodes = os.statvfs(place.data_dir)
    bound = int(place.setting("workers")) * int(place.setting("max_journal_bytes"))
    facts = {"free_bytes": free, "journal_bound_bytes": bound, "free_files": inodes.f_favail}
    if free < _FULL_BYTES or (inodes.f_files and not inodes.f_favail):
        yield Finding(finding.DISK_FULL, f"{free / MIB:,.1f} MiB and {inodes.f_favail:,} files are free.", facts)
    elif free < bound:
        what = f"{free / MIB:,.0f} MiB are free; the journals may take {bound / MIB:,.0f} MiB."
        yield Finding(finding.DISK_LOW, what, facts)
    else:
        what = f"{free / MIB:,.0f} MiB are free; the journals may take {bound / MIB:,.0f} MiB of them."
        yield Finding(finding.DISK, what, facts)


def check_keys(place: Place) -> Iterator[Finding]:
    """Read the file of the proxy keys."""
    try:
        keys = read_keys(place.data_dir).keys
    except KeyFileError:
        yield Finding(finding.PROXY_KEYS_DAMAGED, f"{KEY_FILE} cannot be read or is no file of proxy keys.")
        return
    if keys:
        yield Finding(finding.PROXY_KEYS, f"{KEY_FILE} holds {len(keys):,} keys.", {"keys": len(keys)})
    elif place.setting("require_proxy_key"):
        yield Finding(finding.PROXY_KEYS_MISSING, "require_proxy_key is on, and no key lets a client in.")


def _below(folder: Path) -> Iterator[Path]:
    """Walk a folder; what cannot be listed is named by its parent's entry alone."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
