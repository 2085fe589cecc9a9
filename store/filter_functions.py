"""SQL functions that filters use to look into what is stored packed: they only read, and never fail on odd content."""

import json
import operator
import sqlite3
from collections.abc import Callable
from functools import lru_cache

from store.body import unpack
from store.filter_labels import Scalar, bare_scalars, called_names, scalars, value_of

_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def add_functions(db: sqlite3.Connection) -> None:
    """Make the functions known to a connection."""
    for name, count, function in (
        ("unpacked", 1, _unpacked),
        ("called_tools", 1, _called_tools),
        ("metadata_text", 2, _metadata_text),
        ("metadata_holds", 4, _metadata_holds),
    ):
        db.create_function(name, count, function, deterministic=True)


def _unpacked(body: bytes | None) -> bytes | None:
    return None if body is None else unpack(body)


def _called_tools(body: bytes) -> str:
    """Give the names of the tools that a stored reply calls, as a JSON list."""
    return json.dumps(list(called_names(value_of(unpack(body)))))


@lru_cache(maxsize=256)
def _values(body: bytes) -> dict[bytes, list[Scalar]]:
    """Give the values of stored metadata by their paths; a path may be written in two ways, so it may have several."""
    found: dict[bytes, list[Scalar]] = {}
    for path, value in scalars(value_of(unpack(body))):
        found.setdefault(path.encode("utf-8", "surrogatepass"), []).append(value)
    return found


def _at(body: bytes | None, path: bytes) -> list[Scalar]:
    return [] if body is None else _values(body).get(path, [])


def _metadata_text(body: bytes | None, path: bytes) -> bytes | None:
    return next((value for value in _at(body, path) if isinstance(value, bytes)), None)


def _metadata_holds(body: bytes | None, path: bytes, how: str, asked: bytes | str) -> bool:
    """Compare: `asked` is a text that was quoted, as bytes, or a bare word."""
    found = _at(body, path)
    if how == "null":
        return not found
    wanted = _wanted(asked)
    if how == "=":
        return any(_same(value, each) for value in found for each in wanted)
    compare = _ORDERS[how]
    numbers = [each for each in wanted if _is_number(each)]
    return any(compare(value, each) for value in found if _is_number(value) for each in numbers)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _wanted(asked: bytes | str) -> list[Scalar]:
    return [asked] if isinstance(asked, bytes) else [asked.encode("utf-8", "surrogatepass"), *bare_scalars(asked)]


def _same(one: Scalar, other: Scalar) -> bool:
    """Tell whether two values are equal and of one kind: true is not 1, and "1" is neither; 1.0 is 1."""
    return (
        one == other
        and isinstance(one, bytes) == isinstance(other, bytes)
        and (one is True or one is False) == (other is True or other is False)
    )


def _is_number(value: Scalar) -> bool:
    return not isinstance(value, bytes | bool)
