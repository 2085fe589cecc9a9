"""Which schema a database has, and the numbered steps that lead to today's."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One numbered step: `store/migrations/<schema>/NNNN_<what>.sql`."""

    version: int
    sql: str


@dataclass(frozen=True, slots=True)
class Schema:
    """One of the store's database layouts.

    Attributes:
        name: Names the files `store/schema/<name>.sql` and the folder `store/migrations/<name>/`.
        application_id: What SQLite keeps in the file's header to tell our files from others.
    """

    name: str
    application_id: int

    @property
    def version(self) -> int:
        """Number of the last migration; the `user_version` of a database of today."""
        return self.migrations()[-1].version

    def migrations(self) -> tuple[Migration, ...]:
        """All steps in their order, from 1 without gaps."""
        return _migrations(self.name)

    def sql(self) -> str:
        """The statements of today's schema, for reading; databases are made by the migrations."""
        return (files("store") / "schema" / f"{self.name}.sql").read_text("utf-8")


# "TmT" and "TmW" with the layout's generation in the last byte, as SQLite's list of ids suggests four readable bytes.
TRACES = Schema("traces", 0x546D5431)
WORK = Schema("work", 0x546D5731)


@cache
def _migrations(name: str) -> tuple[Migration, ...]:
    folder = files("store") / "migrations" / name
    steps = sorted(
        Migration(int(entry.name[:4]), entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )
    if [step.version for step in steps] != list(range(1, len(steps) + 1)) or not steps:
        raise AssertionError(f"migrations of {name!r} are not numbered 1, 2, 3, ...")
    return tuple(steps)


def migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Lead a database to today's schema; each step is one transaction with its record.

    An empty one goes the whole way in one transaction: a reader that finds it half made would take it for an old one.

    Args:
        connection: In autocommit mode (`isolation_level=None`).
        schema: The layout the database has or, when it is empty, shall have.
    """
    steps = schema.migrations()
    for group in [steps] if read_version(connection) == 0 else [(step,) for step in steps]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in group:
                _take(connection, schema, step)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _take(connection: sqlite3.Connection, schema: Schema, step: Migration) -> None:
    # Asked inside the transaction: another process may just have done this step.
    if read_version(connection) >= step.version:
        return
    for statement in _statements(step.sql):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {schema.application_id}")
    connection.execute(f"PRAGMA user_version = {step.version}")


def read_version(connection: sqlite3.Connection) -> int:
    """Tell the number of the last migration a database has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(sql: str) -> Iterator[str]:
    """Cut a script into statements; `executescript` would commit the transaction it runs in."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise AssertionError(f"a migration ends in the middle of a statement: {pending!r}")
