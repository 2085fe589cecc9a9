"""Which kind of file system a folder is on: SQLite's write-ahead log works only where all its users share memory.

Over a network, or through a file system in user space that forwards to one, the log's index is not shared and its locks
may be empty promises (https://www.sqlite.org/wal.html, "WAL does not work over a network filesystem").
"""

import os
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")
"""Where Linux tells what is mounted (proc(5)); elsewhere nothing is known of a folder."""

_NETWORK = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "smb2", "smb3", "smbfs", "wekafs",
    }
)  # fmt: skip
_NETWORK_IN_USER_SPACE = frozenset(
    {
        "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "gcsfuse", "glusterfs", "goofys", "juicefs", "mfs", "mount-s3",
        "mountpoint-s3", "rclone", "s3fs", "seaweedfs", "sshfs",
    }
)  # fmt: skip
"""What stands behind `fuse.`; file systems of local disks come that way, too, and are taken."""


def network_file_system(folder: Path, mount_table: Path | None = None) -> str | None:
    """Return the kind of network file system that a folder is on; None when it is on none, or nobody can tell.

    Args:
        folder: It is there.
        mount_table: In place of this machine's own.
    """
    kind = _kind(folder, mount_table or MOUNT_TABLE)
    if kind is None:
        return None
    in_user_space = kind.removeprefix("fuse.")
    is_network = kind in _NETWORK if in_user_space == kind else in_user_space in _NETWORK_IN_USER_SPACE
    return kind if is_network else None


def _kind(folder: Path, mount_table: Path) -> str | None:
    try:
        device = folder.stat().st_dev
        lines = mount_table.read_text(errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mount, _, source = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 2 and fields[2] == wanted and source:
            return source.split()[0]
    return None
