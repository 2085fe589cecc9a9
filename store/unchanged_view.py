"""Looking at a database without changing a byte beside it: no log, no index of a log, no time of a file.

An ordinary reader of a database in WAL mode makes the files that go with a log when they are not there, and brings the
index of a log in order when its last writer was killed. A self-check must leave what it finds as it found it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from store.connection import connect_sqlite


class OrphanedLogError(Exception):
    """There is a log without its index, which nobody can read without making one."""


@contextmanager
def unchanged_view(path: Path, *, is_log_ignored: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a database to look at, beside a writer or on its own.

    Args:
        path: The database.
        is_log_ignored: Look at what stands in the file itself.

    Raises:
        OrphanedLogError: The log cannot be read; ask again without it.
        sqlite3.Error: The file cannot be opened.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if is_log_ignored or not log.exists():
        # Nobody writes where there is no log: the file is read as it stands, and nothing made beside it.
        parameters: dict[str, str | int] = {"mode": "ro", "immutable": 1}
    elif index.exists():
        parameters = {"mode": "ro", "readonly_shm": 1}
    elif log.stat().st_size == 0:
        parameters = {"mode": "ro", "immutable": 1}
    else:
        raise OrphanedLogError
    with closing(connect_sqlite(path, **parameters)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.row_factory = sqlite3.Row
        yield connection
