"""A database is never made where a write-ahead log is not safe."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.connection import connect_sqlite
from store.database import begin_log
from store.errors import StoreError
from store.file_system import network_file_system


def table_of(folder: Path, kind: str) -> Path:
    """Write a mount table in which the folder's disk is of that kind."""
    device = folder.stat().st_dev
    table = folder / "mountinfo"
    table.write_text(
        "22 27 0:999 / /proc rw,relatime - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /a\\040folder rw,noatime shared:1 - {kind} host:/x rw\n"
    )
    return table


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "fuse.sshfs", "fuse.s3fs"])
def test_network_file_systems_are_known(tmp_path: Path, kind: str) -> None:
    assert network_file_system(tmp_path, table_of(tmp_path, kind)) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "zfs", "fuse.ntfs-3g", "fuseblk", "9p"])
def test_disks_of_this_machine_are_taken(tmp_path: Path, kind: str) -> None:
    assert network_file_system(tmp_path, table_of(tmp_path, kind)) is None


def test_where_nothing_is_known_nothing_is_refused(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, tmp_path / "no-table") is None


def test_a_file_system_that_cannot_carry_a_log_is_refused(tmp_path: Path) -> None:
    """SQLite goes on without a log and says so only in the answer to the pragma."""
    path = tmp_path / "x.db"
    without_log = connect_sqlite(path, mode="rwc", vfs="unix-dotfile")
    with closing(without_log) as connection, pytest.raises(StoreError, match="cannot carry SQLite's write-ahead log"):
        begin_log(connection, path)
    with closing(sqlite3.connect(tmp_path / "y.db")) as connection:
        begin_log(connection, tmp_path / "y.db")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
