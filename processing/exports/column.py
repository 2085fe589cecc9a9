"""The columns of a table, and whether a value survives the way into them and back."""

import math
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import orjson

from processing.exports.image import Image
from processing.exports.reason import CannotHoldError, LeftOut
from store.recorded.message import Json


class Column(StrEnum):
    """How a field of a line is kept where there are typed columns."""

    TEXT = "text"
    JSON_TEXT = "json_text"
    """A value of any shape as JSON text: every reader gives the text back letter by letter."""
    JSON = "json"
    """A value of any shape; Arrow's JSON type, which `datasets` decodes on reading."""
    JSON_LIST = "json_list"
    """A list of values of any shape, each of Arrow's JSON type."""
    TEXT_LIST = "text_list"
    IMAGES = "images"
    """A list of images with their bytes."""


# What pandas' JSON reader, which `datasets` decodes with, takes: int64 and uint64, and floats it does not lose.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_TINIEST_FLOAT, _HUGEST_FLOAT = 1e-300, 1e300
_EXTREME_FLOAT = re.compile(rb"[0-9]e[+-]?[0-9]{3}")


def require_holdable(line: Mapping[str, Json], columns: Mapping[str, Column], *, has_images: bool) -> None:
    """Make sure that a line survives the way into its columns and back.

    Args:
        line: As a target's module wrote it.
        columns: Of the target.
        has_images: Whether the container can hold the bytes of images.

    Raises:
        CannotHoldError: It does not; the detail names the field.
    """
    for name, value in line.items():
        column = columns.get(name, Column.JSON)
        if column is Column.IMAGES:
            if value and not has_images:
                raise CannotHoldError(LeftOut.IMAGE, "JSON lines hold no bytes; give a folder or a .parquet file")
        elif column is Column.TEXT and not isinstance(value, str | None):
            raise CannotHoldError(LeftOut.NOT_A_ROW, f"{name} is no text")
        elif column is not Column.JSON_TEXT:
            _require_all(value, name)


def _require_all(value: Json, name: str) -> None:
    # orjson refuses the very strings and integers that are refused here; only floats are left to be looked at.
    try:
        if _EXTREME_FLOAT.search(orjson.dumps(value)) is None:
            return
    except (orjson.JSONEncodeError, TypeError):
        pass
    for scalar in _scalars(value):
        _require(scalar, name)


def _require(scalar: Json, name: str) -> None:
    if isinstance(scalar, str):
        if not scalar.isascii() and any("\ud800" <= character <= "\udfff" for character in scalar):
            raise CannotHoldError(LeftOut.LONE_SURROGATE, f"in {name}")
    elif isinstance(scalar, float):
        if not (scalar == 0 or _TINIEST_FLOAT <= abs(scalar) <= _HUGEST_FLOAT) or not math.isfinite(scalar):
            raise CannotHoldError(LeftOut.NUMBER_OUT_OF_RANGE, f"in {name}")
    elif isinstance(scalar, int) and not _SMALLEST <= scalar <= _LARGEST:
        raise CannotHoldError(LeftOut.NUMBER_OUT_OF_RANGE, f"in {name}")


def _scalars(value: Json) -> Iterator[Json]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting.extend(found)
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
        elif not isinstance(found, Image):
            yield found
