"""Which SQLite this is, and whether it has the WAL-reset bug.

Two connections of such a release, one checkpointing while the other commits, can lose or corrupt commits
(https://www.sqlite.org/wal.html, "The WAL-Reset Bug"). The store never has two: `store.writer_lock` lets one process at
a time write a file, and every other connection is opened read-only, which neither commits nor checkpoints.
"""

import sqlite3

Version = tuple[int, int, int]

_FIRST_AFFECTED: Version = (3, 7, 0)
_FIRST_FIXED: Version = (3, 51, 3)
_FIXED_BRANCHES: dict[tuple[int, int], int] = {(3, 44): 6, (3, 50): 7}
"""Older branches that got the fix, too, and the patch release that brought it."""


def has_wal_reset_bug(version: Version = sqlite3.sqlite_version_info) -> bool:
    """Tell whether that release of SQLite, the linked one unless told otherwise, has the bug."""
    patch = _FIXED_BRANCHES.get(version[:2])
    if patch is not None and version[2] >= patch:
        return False
    return _FIRST_AFFECTED <= version < _FIRST_FIXED
