"""The parts of the full-text index: a row of `search_parts` each, and an FTS5 table."""

# ruff: noqa: S608 - names of tables are made of numbers of parts.
import sqlite3
from typing import NamedTuple

_NEW_PART = """
    INSERT INTO search_parts (first_node, last_node, indexed_node, state, replaces)
    VALUES (:first, :last, :first - 1, 'growing', :replaces)
"""


class SearchPart(NamedTuple):
    """A row of `search_parts`.

    Attributes:
        first: Number of the first node of its stretch.
        last: Of the last one.
        indexed: Of the last one that is in.
        state: `growing`, `full`, `merging`, `whole`, `stale` (holds erased messages) or `gone` (its pages are wiped).
        replaces: The part that it takes the place of when it is whole.
    """

    number: int
    first: int
    last: int
    indexed: int
    state: str
    replaces: int | None

    @property
    def table(self) -> str:
        """Name of its FTS5 table."""
        return f"search_words_{self.number}"


def find_parts(db: sqlite3.Connection) -> list[SearchPart]:
    """Give all parts."""
    rows = db.execute("SELECT number, first_node, last_node, indexed_node, state, replaces FROM search_parts")
    return [SearchPart(*row) for row in rows.fetchall()]


def make_part(db: sqlite3.Connection, first: int, last: int, replaces: int | None) -> None:
    """Begin a part for a stretch of messages; `replaces` is the number of the one whose place it is to take."""
    number = db.execute(_NEW_PART, {"first": first, "last": last, "replaces": replaces}).lastrowid
    db.execute(
        f"CREATE VIRTUAL TABLE search_words_{number} USING fts5 "
        "(text, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2')"
    )


def merge_pages(db: sqlite3.Connection, part: SearchPart, pages: int) -> None:
    """Merge so many pages of a part; less than nothing begins to merge all of it into one run, by steps."""
    db.execute(f"INSERT INTO {part.table} ({part.table}, rank) VALUES ('merge', :pages)", {"pages": pages})


def move_part(db: sqlite3.Connection, part: SearchPart, indexed: int, state: str) -> None:
    """Note how far a part has come."""
    db.execute(
        "UPDATE search_parts SET indexed_node = :indexed, state = :state WHERE number = :number",
        {"indexed": indexed, "state": state, "number": part.number},
    )


def set_state(db: sqlite3.Connection, part: SearchPart, state: str) -> None:
    """Give a part another state, and the ends that it has now."""
    db.execute(
        """
        UPDATE search_parts SET state = :state, last_node = :last, indexed_node = :indexed WHERE number = :number
        """,
        {"state": state, "last": part.last, "indexed": part.indexed, "number": part.number},
    )
