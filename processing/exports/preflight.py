"""Before a byte is written: what becomes of every row in the target, and why some cannot be in it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from processing.exports.column import Column, require_holdable
from processing.exports.converted import Converted
from processing.exports.format import Container, Format
from processing.exports.reason import CannotHoldError, LeftOut, NotCarried
from processing.exports.row import COMMON
from store.datasets.row import Part, Row
from store.recorded.message import Json

PARTS: Final = (Part.TRAIN, Part.TEST, Part.UNSTRUCTURED)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_MAX_MODELS: Final = 50


@dataclass(slots=True)
class Tally:
    """What becomes of the rows; nothing here grows with their number.

    Attributes:
        rows: By part, those that are in.
        lines: The same, of the lines that they make.
        left_out: Rows by reason.
        not_carried: Rows by what of them stays behind.
        unsplit: Rows of no part, which go to train.
        columns: Fields that rows have beside those of every row.
        models: Models that rows name, by the number of rows; the first 50.
        formulas: Cells of CSV that a spreadsheet would take for a formula.
    """

    rows: Counter[Part] = field(default_factory=Counter)
    lines: Counter[Part] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    not_carried: Counter[NotCarried] = field(default_factory=Counter)
    unsplit: int = 0
    columns: set[str] = field(default_factory=set)
    models: Counter[str] = field(default_factory=Counter)
    formulas: int = 0
    has_images: bool = False
    has_tools: bool = False

    @property
    def parts(self) -> list[Part]:
        """The parts that have a line, in their order."""
        return [part for part in PARTS if self.lines[part]]

    def count(self, row: Row, converted: Converted, part: Part) -> None:
        """Note a row that is in."""
        self.rows[part] += 1
        self.lines[part] += len(converted.lines)
        self.not_carried.update(converted.lost)
        self.unsplit += row.part is None
        self.columns.update(name for name in row.content if name not in COMMON)
        self.has_images |= any("images" in line for line in converted.lines)
        self.has_tools |= bool(row.content.get("tools"))
        for model in _models(row.content):
            if model in self.models or len(self.models) < _MAX_MODELS:
                self.models[model] += 1


class Preflight:
    """Converts rows for a target; the same row gives the same whenever it is asked."""

    def __init__(self, target: Format, container: Container) -> None:
        self._target = target
        self._container = container

    def part_of(self, row: Row) -> Part:
        """Where a row goes; one that is not split counts as train."""
        return row.part or Part.TRAIN

    def convert(self, row: Row) -> Converted:
        """Write a row for the target.

        Raises:
            CannotHoldError: The target cannot hold it.
        """
        target = self._target
        convert = target.convert
        if self.part_of(row) is Part.UNSTRUCTURED:
            if target.unstructured is None:
                raise CannotHoldError(LeftOut.UNSTRUCTURED)
            convert = target.unstructured
        converted = convert(row.content)
        if not target.keeps_all:
            unknown = Column.JSON if Column.JSON_TEXT not in target.columns.values() else Column.JSON_TEXT
            for line in converted.lines:
                columns = {**dict.fromkeys(line, unknown), **target.columns}
                require_holdable(line, columns, has_images=self._container is Container.PARQUET)
        return converted

    def formulas(self, converted: Converted) -> int:
        """Count the cells of CSV that a spreadsheet would take for a formula."""
        if self._container is not Container.CSV:
            return 0
        return sum(
            isinstance(value, str) and value.startswith(_FORMULA_STARTS)
            for line in converted.lines
            for name, value in line.items()
            if self._target.columns.get(name) is Column.TEXT
        )


def columns_of(target: Format, tally: Tally) -> dict[str, Column]:
    """Give the columns of the files: those of the target that its rows need, then those of a run by name."""
    columns = {
        name: column for name, column in target.columns.items() if column is not Column.IMAGES or tally.has_images
    }
    if target.takes_columns and columns:
        column = Column.JSON_TEXT if Column.JSON_TEXT in columns.values() else Column.JSON
        columns |= dict.fromkeys(sorted(tally.columns - columns.keys()), column)
    return columns


def _models(content: Mapping[str, Json]) -> list[str]:
    metadata = content.get("metadata")
    if not isinstance(metadata, Mapping):
        return []
    listed = metadata.get("teacher_models")
    named = [metadata.get("original_model"), metadata.get("teacher_model")]
    named += listed if isinstance(listed, list) else []
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))
