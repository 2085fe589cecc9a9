"""What becomes of one row in one target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from processing.exports.image import Image
from processing.exports.reason import NotCarried
from store.recorded.message import Json


@dataclass(frozen=True, slots=True)
class Converted:
    """The lines of one row; a target that learns one answer a line has a line for each answer that is learned.

    Attributes:
        lines: One object each.
        lost: What of the row stays behind.
        images: Files that the lines name, by their path in the folder of the export.
    """

    lines: tuple[dict[str, Json], ...]
    lost: frozenset[NotCarried] = frozenset()
    images: Mapping[str, Image] = field(default_factory=dict)


Convert: TypeAlias = Callable[[Json], Converted]
"""Writes a row for a target. Raises CannotHoldError where the target cannot hold it."""
