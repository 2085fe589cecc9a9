"""Header fields, and what their names alone decide.

A client sends the same names in the same order with every call, and so does an upstream. What follows from the names is
found out once for each order of them and remembered: their lower case, where each stands, which ones go on. Values are
not remembered, for some of them are keys.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar, cast

Field = tuple[bytes, bytes]
Fields = list[Field]
"""Header fields as they stood in the message: names in their own case, values without the white space around them."""

_USUAL = 256
"""How many orders of names are remembered."""
_USUAL_BYTES = 4096
"""Of heads with so many bytes of fields at most: what nobody sends twice is not worth the memory."""
_name = itemgetter(0)
T = TypeVar("T")


class Names:
    """The names of some fields.

    Attributes:
        own_case: In their own case, in their order.
        lower: In lower case, in their order.
        places: Where each of them stands, first place first.
        found: What follows from them, by what finds it (`of_names`).
    """

    __slots__ = ("__weakref__", "found", "lower", "own_case", "places")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        """Take the names in their own case."""
        self.own_case = names
        self.lower = tuple([name.lower() for name in names])
        self.places: dict[bytes, list[int]] = {}
        for place, name in enumerate(self.lower):
            self.places.setdefault(name, []).append(place)
        self.found: dict[object, Any] = {}


def of_names(find: Callable[[Names], T]) -> Callable[[Names], T]:
    """Have what follows from names alone found once, and kept with them for as long as they are remembered."""

    def find_once(names: Names) -> T:
        found = names.found
        if find not in found:
            found[find] = find(names)
        return cast("T", found[find])

    return find_once


class HeadFields(Fields):
    """Fields whose names are known; their names stay as they are.

    Attributes:
        names: Their names.
    """

    __slots__ = ("names",)

    def __init__(self, fields: Fields, names: Names) -> None:
        """Take the fields and the names that they have."""
        self.names = names
        self.extend(fields)


def head_fields(fields: Fields, size: int) -> HeadFields:
    """Return the fields of a head with their names; `size` is how many bytes they had there."""
    names = tuple(map(_name, fields))
    return HeadFields(fields, _usual_names(names) if size <= _USUAL_BYTES else Names(names))


def names_of(fields: Sequence[tuple[bytes, bytes]]) -> Names:
    """Return the names of fields; those of a head are there already."""
    return fields.names if type(fields) is HeadFields else Names(tuple(map(_name, fields)))


def first(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first field of that name (lower case), None when there is none."""
    if type(fields) is HeadFields:
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


_usual_names = lru_cache(_USUAL)(Names)
