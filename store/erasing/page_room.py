"""The unused room of a b-tree page, in which copies of rows can be left.

A page holds pointers to its rows at its beginning and the rows at its end; what lies between is read by nobody. When
SQLite moves rows from page to page to balance them, it writes pages anew without touching that room, so that a copy of
what was there stays. `secure_delete` overwrites rows that are deleted, not these copies.

Nothing here reads or writes a file. The layout is that of https://www.sqlite.org/fileformat2.html, section 1.6.
"""

from struct import unpack_from
from typing import NamedTuple

HEADER_BYTES = 100
"""Of the file; they stand in the first page, before what every other page begins with."""
_INNER, _LEAVES = (2, 5), (10, 13)
_PENDING_BYTE = 0x40000000
_BTREE_ROOT, _BTREE = 1, 5
_MAP_ENTRY_BYTES = 5
_MOST_PAGES_WITHOUT_MAP = 2**25
"""Below this, the first byte of a page that continues a long row, or lists free pages, is never that of a b-tree."""


class FileLayout(NamedTuple):
    """How a database file is cut into pages.

    Attributes:
        page_bytes: Of every page.
        usable_bytes: Of each page, what is not reserved for extensions.
        pages: How many there are.
        has_map: Whether pages in between tell what each page is (`auto_vacuum`).
    """

    page_bytes: int
    usable_bytes: int
    pages: int
    has_map: bool

    @classmethod
    def of_header(cls, header: bytes, file_bytes: int) -> "FileLayout":
        """Read it from a file's first bytes and size."""
        given = int.from_bytes(header[16:18], "big")
        page_bytes = 65536 if given == 1 else given
        largest_root = int.from_bytes(header[52:56], "big")
        return cls(page_bytes, page_bytes - header[20], file_bytes // page_bytes, largest_root != 0)

    @property
    def is_known(self) -> bool:
        """Whether it can be told which pages are b-trees."""
        return self.has_map or self.pages < _MOST_PAGES_WITHOUT_MAP

    def map_page(self, number: int) -> int:
        """Give the number of the page that tells what a page is; of a map page, its own."""
        a_map = self.usable_bytes // _MAP_ENTRY_BYTES + 1
        at = (number - 2) // a_map * a_map + 2
        return at + 1 if at == self.lock_page else at

    @property
    def lock_page(self) -> int:
        """Number of the page that is never used, since locks lie on it."""
        return _PENDING_BYTE // self.page_bytes + 1

    def is_btree(self, number: int, map_page: bytes) -> bool:
        """Tell whether a page, not the first one, is of a b-tree by what its map page says."""
        at = _MAP_ENTRY_BYTES * (number - self.map_page(number) - 1)
        return 0 <= at < len(map_page) and map_page[at] in (_BTREE_ROOT, _BTREE)


def unused_room(page: bytes, usable_bytes: int, *, is_first: bool = False) -> tuple[int, int] | None:
    """Give where the room between pointers and rows begins and ends; None for what is no b-tree page, or a damaged one.

    Args:
        page: A whole page.
        usable_bytes: As `FileLayout` has it.
        is_first: It is the first page of its file.
    """
    at = HEADER_BYTES if is_first else 0
    kind = page[at]
    if kind not in _INNER and kind not in _LEAVES:
        return None
    rows, content = unpack_from(">HH", page, at + 3)
    begin = at + (12 if kind in _INNER else 8) + 2 * rows
    end = content or 65536
    if not begin <= end <= usable_bytes:
        return None
    return begin, end


def is_sound(page: bytes, begin: int, end: int, usable_bytes: int, *, is_first: bool = False) -> bool:
    """Tell whether no row of a b-tree page, and no piece that is free for one, lies in its unused room."""
    at = HEADER_BYTES if is_first else 0
    rows = int.from_bytes(page[at + 3 : at + 5], "big")
    pointers = unpack_from(f">{rows}H", page, begin - 2 * rows)
    free = int.from_bytes(page[at + 1 : at + 3], "big")
    return all(end <= pointer < usable_bytes for pointer in pointers) and (free == 0 or free >= end)
