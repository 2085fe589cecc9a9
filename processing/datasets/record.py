"""One record of a data file, or why it could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json


class RecordFault(StrEnum):
    """Why a record could not be read. A closed list."""

    NOT_UTF8 = "not_utf8"
    """It is not UTF-8 text."""
    NOT_JSON = "not_json"
    """The line is not one JSON value; NaN and Infinity are none either."""
    NOT_OBJECT = "not_object"
    """The line is JSON, but not an object."""
    TOO_LONG = "too_long"
    """The line has more than 64 MiB."""
    TOO_DEEP = "too_deep"
    """It nests deeper than 200 levels."""
    BROKEN_FILE = "broken_file"
    """Here the file is damaged or cut short; nothing behind it could be read."""
    NOT_CSV = "not_csv"
    """The quotes of the record are wrong; one that is never closed takes all that follows for its text."""
    WRONG_CELLS = "wrong_cells"
    """The record has more or fewer cells than the header."""


_SHOWN_KEY: Final = 40
_OF_LINES: Final = {
    RejectReason.TOO_LONG: RecordFault.TOO_LONG,
    RejectReason.BROKEN_FILE: RecordFault.BROKEN_FILE,
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a data file.

    Attributes:
        file: Name of the file, as a person knows it.
        number: Its line for text formats (the first one, where it spans several), else its place; from 1.
        value: Column to value; None when it could not be read.
        split: The split that the data set names for its file; None where it names none.
        fault: Why it could not be read.
        detail: More of it for a person; holds no content.
        is_columnar: Whether it comes from typed columns, where a null in an object may stand for a missing field.
        repeated_key: A key that stands twice in one object, of which the last value counts; None where none does.
    """

    file: str
    number: int
    value: Mapping[str, Json] | None
    split: str | None = None
    fault: RecordFault | None = None
    detail: str | None = None
    is_columnar: bool = False
    repeated_key: str | None = None

    @property
    def place(self) -> str:
        """Where it stands, for a person."""
        return f"{self.file}:{self.number}"


@dataclass(slots=True)
class RepeatedKeys:
    """Records with a key that stands twice in one object.

    Attributes:
        count: How many.
        first: The first such key and where it stands, for a person.
    """

    count: int = 0
    first: str = ""

    def take(self, record: Record) -> None:
        """Count a record if it is one."""
        if record.repeated_key is not None:
            self.count += 1
            self.first = self.first or f'"{record.repeated_key[:_SHOWN_KEY]}" in {record.place}'

    def warnings(self, entered: int) -> list[str]:
        """Tell of them among all records; nothing where there are none."""
        if not self.count:
            return []
        counted = f"A key stands twice in {self.count:,} of {entered:,} records; its last value counts."
        return [f"{counted} The first is {self.first}."]


def failed(file: str, number: int, fault: RecordFault, detail: str) -> Record:
    """Make the record of what could not be read."""
    return Record(file, number, None, fault=fault, detail=detail)


def failed_line(file: str, number: int, error: LineError) -> Record:
    """Make the record of a line that could not be taken off its file."""
    return failed(file, number, _OF_LINES[error.reason], error.detail)
