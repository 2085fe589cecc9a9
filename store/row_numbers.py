"""The numbers of rows that are known by a hash: found in the database, remembered, or given out for new rows."""

import sqlite3
from collections.abc import Collection, Mapping
from typing import NamedTuple

from store.id_list import id_list


class Numbered(NamedTuple):
    """The numbers of some ids.

    Attributes:
        all: The number of each.
        new: Those that the database has not, in the order they were asked for: their rows are to be inserted.
    """

    all: Mapping[bytes, int]
    new: Mapping[bytes, int]


class RowNumbers:
    """Numbers of the rows of one table, with a bounded memory of those used lately.

    Only what is committed may be remembered (`keep`), and whoever deletes rows has to `forget`: SQLite gives the number
    of a deleted last row out again. A table has one writer, so nothing else changes what is remembered here.
    """

    def __init__(self, find: str, last: str, size: int = 10_000) -> None:
        """Remember at least the last `size` ids and at most twice as many; some 150 bytes each.

        Args:
            find: Statement that gives id and number for a list of ids (`store.id_list`).
            last: Statement that gives the highest number in use, 0 for none.
            size: Bound of the memory.
        """
        self._find = find
        self._last = last
        self._size = size
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def number(self, db: sqlite3.Connection, ids: Collection[bytes]) -> Numbered:
        """Give the number of each id; new ones get the next numbers in their order."""
        young, old = self._young, self._old
        known = {id_: number for id_ in ids if (number := young.get(id_) or old.get(id_))}
        if len(known) < len(ids):
            known.update(db.execute(self._find, id_list([id_ for id_ in ids if id_ not in known])).fetchall())
        if len(known) == len(ids):
            return Numbered(known, {})
        first = db.execute(self._last).fetchone()[0] + 1
        new = dict(zip([id_ for id_ in ids if id_ not in known], range(first, first + len(ids)), strict=False))
        known.update(new)
        return Numbered(known, new)

    def keep(self, numbered: Numbered) -> None:
        """Remember numbers, once the transaction that made their rows is committed."""
        self._young.update(numbered.all)
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}

    def forget(self) -> None:
        """Ask the database again from now on."""
        self._young, self._old = {}, {}
