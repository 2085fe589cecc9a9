"""Following references between tables: those that the schema declares, and those that it does not.

A table that is written for every call declares none, since SQLite would look each one up at every insertion. There the
name of a column says where it leads: `trace`, `node` and `blob` are numbers of `traces`, `nodes` and `blobs`.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

_LEADS_TO = {"trace": "traces", "node": "nodes", "blob": "blobs"}
_MAY_DANGLE = frozenset({"doubted_blobs", "loose_blobs", "loose_nodes"})
"""Lists of what may be gone already."""
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"


class Reference(NamedTuple):
    """A column that leads to the rows of another table."""

    table: str
    column: str
    target: str
    target_column: str = "number"
    is_declared: bool = True


class Dangling(NamedTuple):
    """Rows that lead nowhere by one column, and how many of them there are."""

    reference: Reference
    rows: int


def references(connection: sqlite3.Connection) -> list[Reference]:
    """List every reference of a database."""
    found: list[Reference] = []
    for (table,) in connection.execute(_TABLES).fetchall():
        declared = [
            Reference(table, row[3], row[2], row[4] or "number")
            for row in connection.execute(f'PRAGMA foreign_key_list("{table}")')
        ]
        known = {reference.column for reference in declared}
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        found += declared
        if table not in _MAY_DANGLE:
            found += [
                Reference(table, column, _LEADS_TO[column], is_declared=False)
                for column in columns
                if column in _LEADS_TO and column not in known
            ]
    return found


def dangling(connection: sqlite3.Connection) -> Iterator[Dangling]:
    """Follow every reference, and tell those that lead nowhere; each column is one statement, and so one state."""
    for reference in references(connection):
        table, column, target, target_column, _ = reference
        # The outer join stands on the target's key, so it is one look-up a row.
        (count,) = connection.execute(
            f'SELECT count(*) FROM "{table}" r LEFT JOIN "{target}" t ON t."{target_column}" = r."{column}" '  # noqa: S608 - names of the file's own schema
            f'WHERE r."{column}" IS NOT NULL AND t."{target_column}" IS NULL'
        ).fetchone()
        if count:
            yield Dangling(reference, int(count))
