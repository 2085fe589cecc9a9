"""What can go wrong in the store. Each error says what happened, with which file, and how to mend it.

StoreError
├── DatabaseMissingError      there is no database at this path yet
├── NotOurDatabaseError       the file is something else; it is left untouched
├── CorruptDatabaseError      SQLite says the file is damaged
├── NewerSchemaError          written by a later Tracemill; it is left untouched
├── OlderSchemaError          a reader met a database that a writer has to migrate first
├── NetworkFileSystemError    the file would be on another machine, where a write-ahead log is not safe
├── WriterBusyError           another process holds the right to write
├── StoreFullError            disk or quota is full; the batch was rolled back
├── UnstorableTraceError      one trace holds a value no column can hold; nothing was written
├── DatasetError              a dataset has no such version or row, or may not change so (`store.datasets`)
├── ClusterError              there is no such cluster, or somebody else built them meanwhile (`store.clusters`)
└── FilterError               a `--where` expression cannot be understood (`store.filter`)
"""

from pathlib import Path
from uuid import UUID


class StoreError(Exception):
    """Base of every error of the store.

    Attributes:
        path: The database file, None when no file is concerned.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class DatabaseMissingError(StoreError):
    """There is no database at this path yet."""


class NotOurDatabaseError(StoreError):
    """The file is no SQLite database, or one of another program; it is left untouched."""


class CorruptDatabaseError(StoreError):
    """SQLite found the file damaged."""


class SchemaVersionError(StoreError):
    """The file's schema is not the one this program speaks.

    Attributes:
        found: Version of the file.
        expected: Version this program writes.
    """

    def __init__(self, message: str, path: Path, found: int, expected: int) -> None:
        super().__init__(message, path)
        self.found = found
        self.expected = expected


class NewerSchemaError(SchemaVersionError):
    """A later Tracemill wrote the file; it is left untouched."""


class OlderSchemaError(SchemaVersionError):
    """An earlier Tracemill wrote the file, and a reader cannot migrate it."""


class NetworkFileSystemError(StoreError):
    """The database would be on a network file system.

    Attributes:
        kind: As the mount table names it.
    """

    def __init__(self, message: str, path: Path, kind: str) -> None:
        super().__init__(message, path)
        self.kind = kind


class WriterBusyError(StoreError):
    """Another process holds the right to write this database.

    Attributes:
        pid: The holder's process id as it wrote it down, None when it cannot be read.
    """

    def __init__(self, message: str, path: Path, pid: int | None) -> None:
        super().__init__(message, path)
        self.pid = pid


class StoreFullError(StoreError):
    """Disk or quota is full; the batch was rolled back and can be written again once there is room."""


class UnstorableTraceError(StoreError):
    """A trace holds a value that no column can hold; no trace of its batch was written.

    Attributes:
        trace_id: The trace to set aside before the batch is written again.
    """

    def __init__(self, message: str, trace_id: UUID) -> None:
        super().__init__(message)
        self.trace_id = trace_id


class DatasetError(StoreError):
    """A dataset or version is not there, is not what the command needs, or may not change as was asked."""


class ClusterError(StoreError):
    """There is no cluster of this id, or the clusters changed while they were built."""


class FilterError(StoreError):
    """A filter expression cannot be understood.

    Attributes:
        expression: The whole expression.
        position: Where in it, counted from 1.
    """

    def __init__(self, message: str, expression: str, position: int) -> None:
        super().__init__(f"filter, position {position}: {message}")
        self.expression = expression
        self.position = position


class CursorError(StoreError):
    """A cursor was not made by an earlier page."""
