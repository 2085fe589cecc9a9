"""The records of a CSV file, as spreadsheets and databases write them.

The delimiter is told by looking, quoted cells may hold line ends, a byte order mark is passed over. A record with wrong
quotes or cells fails alone; an empty cell says that there is nothing.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from processing.datasets.file_blocks import SAMPLE_BYTES, beginning_of, text_blocks
from processing.datasets.mapping import KNOWN_COLUMNS
from processing.datasets.record import Record, RecordFault, failed, failed_line
from processing.errors import InputError
from store.recorded.errors import LineError, RejectReason
from store.recorded.file_lines import MAX_LINE_BYTES, FileLine, file_lines

MAX_RECORD_BYTES: Final = MAX_LINE_BYTES
"""However many lines it has: a quote that is never closed would make one record of all that follows it."""
_DELIMITERS: Final = ",;\t|"
_LONGEST_NAME: Final = 64
"""A header cell is a name; a longer one is data."""
_SAMPLE_RECORDS: Final = 200
_CLOSES: Final = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
"""Begins a line that closes the quote in which it begins; two quotes stand for one of the text."""


class _Header(NamedTuple):
    """The columns' names, and whether the record they were looked for in is data itself."""

    names: list[str]
    is_data: bool


def csv_records(
    path: Path,
    name: str,
    *,
    delimiter: str | None = None,
    has_header: bool | None = None,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Record]:
    """Read a file from its beginning; blank lines are passed over.

    Args:
        path: Where it lies; it may be packed with gzip or zstd.
        name: What to call it.
        delimiter: None to tell it by looking.
        has_header: Whether the first record names the columns; None to tell by looking. Without a header the columns
            are `column_1`, `column_2` and so on.
        max_record_bytes: A longer record is the last one that is read: where it ends, and so where the next begins,
            cannot be known.

    Raises:
        InputError: It is UTF-16 or UTF-32 without a byte order mark, or two columns have one name.
    """
    header: _Header | None = None
    for number, found in _cells(path, name, delimiter, max_record_bytes):
        if isinstance(found, Record):
            yield found
        elif any(cell.strip() for cell in found):
            if header is None:
                header = _header(found, name, has_header)
                if not header.is_data:
                    continue
            yield _record(name, number, header.names, found)


def _cells(path: Path, name: str, delimiter: str | None, max_bytes: int) -> Iterator[tuple[int, list[str] | Record]]:
    """Give the line at which each record begins with its cells, or with why there are none."""
    # A cell may hold a whole conversation; the module's own bound is 128 KiB.
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = _TextLines(file_lines(text_blocks(path, name)), max_bytes)
    reader = csv.reader(lines, delimiter=delimiter or _delimiter(beginning_of(path, name)), strict=True)
    while True:
        lines.begin_record()
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            yield lines.begun_at, failed(name, lines.begun_at, RecordFault.NOT_CSV, lines.why_not_csv(exc))
        except LineError as exc:
            yield lines.number, failed_line(name, lines.number, exc)
            if exc.reason is not RejectReason.TOO_LONG or lines.number > lines.begun_at:
                return
        except _EndlessRecordError as exc:
            yield lines.begun_at, failed(name, lines.begun_at, RecordFault.NOT_CSV, str(exc))
            return
        else:
            if cells is None:
                return
            yield lines.begun_at, cells


class _EndlessRecordError(Exception):
    """A record is longer than any."""


class _TextLines(Iterator[str]):
    """Gives lines as text with their ends, and counts them; what is not UTF-8 stays recognisable.

    Attributes:
        number: Of the line that was given last.
        begun_at: Number of the first line of the record that is read.
    """

    def __init__(self, lines: Iterator[FileLine], max_record_bytes: int) -> None:
        self.number = 0
        self.begun_at = 1
        self._lines = lines
        self._max_record_bytes = max_record_bytes
        self._record_bytes = 0
        self._opened_at = 1

    def begin_record(self) -> None:
        """Take the next line for the first of a record."""
        self.begun_at = self._opened_at = self.number + 1
        self._record_bytes = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.number = line.number
        if line.fault is not None:
            raise line.fault
        self._record_bytes += len(line.text) + 1
        if self._record_bytes > self._max_record_bytes:
            raise _EndlessRecordError(
                f"the record has more than {self._max_record_bytes:,} bytes, and its last quote opens in line "
                f"{self._opened_at:,}; nothing behind it was read. {_CLOSE_IT}"
            )
        text = line.text.decode("utf-8", "surrogateescape") + "\n"
        # Another line is asked for within a quote alone. One that closes it, and is not the last, opens the next.
        if line.number > self.begun_at and _CLOSES.match(text):
            self._opened_at = line.number
        return text

    def why_not_csv(self, error: csv.Error) -> str:
        """Say what is wrong with the record that was read last."""
        if str(error) == "unexpected end of data":
            behind = self.number - self._opened_at
            taken = f", and {behind:,} more lines were taken for its text" if behind else ""
            return f"the quote that opens in line {self._opened_at:,} is never closed{taken}. {_CLOSE_IT}"
        spans = self.number > self.begun_at
        return f"{error} in line {self.number:,}, to which the record goes on" if spans else str(error)


_CLOSE_IT: Final = "Close it; a quote that is part of a text is written twice."


def _header(cells: list[str], source: str, has_header: bool | None) -> _Header:
    names = [cell.strip() for cell in cells]
    # Without a name is the column of row numbers that data frames write, or what a delimiter at the end makes.
    is_known = any(name.casefold() in KNOWN_COLUMNS for name in names)
    looks_named = all((name or is_known) and len(name) <= _LONGEST_NAME and "\n" not in name for name in names)
    if has_header is False or (has_header is None and not looks_named):
        return _Header([f"column_{number}" for number in range(1, len(cells) + 1)], is_data=True)
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(source, f"has two columns of one name: {', '.join(twice)}.", line=1)
    return _Header([name or f"column_{number}" for number, name in enumerate(names, 1)], is_data=False)


def _record(source: str, number: int, names: list[str], cells: list[str]) -> Record:
    if len(cells) != len(names):
        counted = f"the header has {len(names)} cells and this record {len(cells)}"
        problem = f"{counted}; put quotes round cells that hold the delimiter"
        return failed(source, number, RecordFault.WRONG_CELLS, problem)
    # As `surrogateescape` marks bytes that are not UTF-8.
    if any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell):
        return failed(source, number, RecordFault.NOT_UTF8, "a cell is not UTF-8")
    return Record(source, number, {name: cell for name, cell in zip(names, cells, strict=True) if cell != ""})


def _delimiter(start: bytes) -> str:
    """The delimiter that parts most of the first records into the same number of cells, and into most cells."""
    lines = start.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    # The last line of the sample may be cut.
    lines = lines[:-1] if len(lines) > 1 and len(start) >= SAMPLE_BYTES else lines
    found: list[tuple[float, int, int, str]] = []
    for order, delimiter in enumerate(_DELIMITERS):
        counts: list[int] = []
        try:
            for cells in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter):
                counts += [len(cells)] if cells else []
                if len(counts) >= _SAMPLE_RECORDS:
                    break
        except csv.Error:
            pass
        if counts and counts[0] > 1:
            found.append((counts.count(counts[0]) / len(counts), counts[0], -order, delimiter))
    return max(found)[-1] if found else ","
