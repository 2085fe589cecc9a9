"""Header fields, and what their names alone decide.

A client sends the same names in the same order with every call, and so does an upstream. What follows from the names is
found out once for each order of them and remembered: their lower case, where each stands, which ones go on. Values are
not remembered, for some of them are keys.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

Fields = list[tuple[bytes, bytes]]
"""Header fields as they stood in the message: names in their own case, values without the white space around them."""

USUAL = 256
"""How many orders of names are remembered."""
_USUAL_BYTES = 4096
"""Of heads with so many bytes of fields at most: what nobody sends twice is not worth the memory."""
_name = itemgetter(0)


class Names:
    """The names of some fields.

    Attributes:
        lower: In lower case, in their order.
        places: Where each of them stands, first place first.
    """

    __slots__ = ("lower", "places")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        """Take the names in their own case."""
        self.lower = tuple([name.lower() for name in names])
        self.places: dict[bytes, list[int]] = {}
        for place, name in enumerate(self.lower):
            self.places.setdefault(name, []).append(place)


class HeadFields(Fields):
    """The fields of a head that was read; they stay as they are.

    Attributes:
        names: Their names.
    """

    __slots__ = ("names",)

    def __init__(self, fields: Fields, size: int) -> None:
        """Take the fields; `size` is how many bytes they had in the head."""
        super().__init__(fields)
        names = tuple(map(_name, fields))
        self.names = _usual_names(names) if size <= _USUAL_BYTES else Names(names)


def names_of(fields: Sequence[tuple[bytes, bytes]]) -> Names:
    """Return the names of fields; those of a head are there already."""
    return fields.names if isinstance(fields, HeadFields) else Names(tuple(map(_name, fields)))


def first(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first field of that name (lower case), None when there is none."""
    if isinstance(fields, HeadFields):
        places = fields.names.places.get(name)
        return None if places is None else fields[places[0]][1]
    for key, value in fields:
        if key.lower() == name:
            return value
    return None


def values(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of all fields of that name (lower case), in their order."""
    places = names_of(fields).places.get(name)
    return [] if places is None else [fields[place][1] for place in places]


_usual_names = lru_cache(USUAL)(Names)
