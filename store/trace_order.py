"""The orders in which traces can be listed, each of an index, and the places in them."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from typing import Any, NamedTuple

from store.errors import CursorError


class Place(NamedTuple):
    """Where a trace stands in an order: by its key, and by its tie among those of the same key."""

    key: float
    tie: bytes | int


class Order(StrEnum):
    """What traces are listed by; a minus sign turns it round. Traces that lack the value are not in the list."""

    OLDEST = "created_at"
    NEWEST = "-created_at"
    FASTEST = "duration_ms"
    SLOWEST = "-duration_ms"
    FEWEST_PROMPT_TOKENS = "prompt_tokens"
    MOST_PROMPT_TOKENS = "-prompt_tokens"
    FEWEST_COMPLETION_TOKENS = "completion_tokens"
    MOST_COMPLETION_TOKENS = "-completion_tokens"

    @property
    def column(self) -> str:
        """The column that holds the key."""
        return self.value.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest key comes first."""
        return self.value.startswith("-")

    @property
    def is_of_time(self) -> bool:
        """Whether the key is the time."""
        return self.column == "created_at"

    @property
    def tie(self) -> str:
        """The column that tells apart those of one key."""
        return "id" if self.is_of_time else "number"

    @property
    def sql_index(self) -> str:
        """The index whose order it is."""
        return _INDEXES[self.column]

    @property
    def start(self) -> Place:
        """The place before the first trace."""
        if self.is_of_time:
            return Place(2**63 - 1, _LAST_ID) if self.is_descending else Place(-(2**63), b"")
        return Place(_LARGEST, 2**63 - 1) if self.is_descending else Place(-_LARGEST, -(2**63))

    def before(self, key: int) -> Place:
        """Give the place before all traces of a time."""
        return Place(key, self.start.tie)

    def is_beyond(self, key: float, other: float) -> bool:
        """Tell whether one key comes later in the order than another."""
        return key < other if self.is_descending else key > other

    def place_of(self, row: Any) -> Place:  # noqa: ANN401 - a row of traces
        """Give the place of a trace."""
        return Place(row[self.column], row[self.tie])


_INDEXES = {
    "created_at": "traces_by_time",
    "duration_ms": "traces_by_duration_ms",
    "prompt_tokens": "traces_by_prompt_tokens",
    "completion_tokens": "traces_by_completion_tokens",
}
_LARGEST = 1e300
_LAST_ID = b"\xff" * 17
_TIME_CURSOR = struct.Struct(">q")
_TIME_CURSOR_BYTES = 24
_CURSOR = struct.Struct(">Bdq")
_CODES = list(Order)


def to_cursor(order: Order, place: Place) -> str:
    """Make the opaque text that continues a list after this place."""
    if isinstance(place.tie, bytes):
        # A place between two traces has a tie that is no id: the last of all, or one before the first.
        key = int(place.key) if place.tie else int(place.key) - 1
        raw = _TIME_CURSOR.pack(key) + (place.tie or _LAST_ID)[:16]
    else:
        raw = _CURSOR.pack(_CODES.index(order), place.key, place.tie)
    return urlsafe_b64encode(raw).decode()


def from_cursor(order: Order, cursor: str) -> Place:
    """Undo `to_cursor`.

    Raises:
        CursorError: The text was not made by it, or for a list in another order.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
    except ValueError as exc:
        raise _bad_cursor(cursor, order) from exc
    if order.is_of_time and len(raw) == _TIME_CURSOR_BYTES:
        return Place(_TIME_CURSOR.unpack(raw[:8])[0], raw[8:])
    if not order.is_of_time and len(raw) == _CURSOR.size:
        code, key, tie = _CURSOR.unpack(raw)
        if code == _CODES.index(order):
            return Place(key, tie)
    raise _bad_cursor(cursor, order)


def _bad_cursor(cursor: str, order: Order) -> CursorError:
    return CursorError(
        f"cursor {cursor[:80]!r} was not made by a page of traces in the order {order}; leave it out to begin anew"
    )
