"""The records of a CSV file, as spreadsheets and databases write them.

The delimiter is told by looking, quoted cells may hold line ends, a byte order mark is passed over. A record with wrong
quotes or cells fails alone; an empty cell says that there is nothing.
"""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from processing.datasets.file_blocks import SAMPLE_BYTES, beginning_of, blocks_of
from processing.datasets.mapping import KNOWN_COLUMNS
from processing.datasets.record import Record, RecordFault, failed, failed_line
from processing.errors import InputError
from store.recorded.errors import LineError
from store.recorded.file_lines import MAX_LINE_BYTES, FileLine, file_lines

_DELIMITERS: Final = ",;\t|"
_LONGEST_NAME: Final = 64
"""A header cell is a name; a longer one is data."""
_SAMPLE_RECORDS: Final = 200


class _Header(NamedTuple):
    """The columns' names, and whether the record they were looked for in is data itself."""

    names: list[str]
    is_data: bool


def csv_records(
    path: Path, name: str, *, delimiter: str | None = None, has_header: bool | None = None
) -> Iterator[Record]:
    """Read a file from its beginning; blank lines are passed over.

    Args:
        path: Where it lies; it may be packed with gzip or zstd.
        name: What to call it.
        delimiter: None to tell it by looking.
        has_header: Whether the first record names the columns; None to tell by looking. Without a header the columns
            are `column_1`, `column_2` and so on.

    Raises:
        InputError: It is UTF-16, or two columns have one name.
    """
    start = beginning_of(path)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(name, "is UTF-16. Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8').")
    # A cell may hold a whole conversation; the module's own bound is 128 KiB.
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = _TextLines(file_lines(blocks_of(path)))
    reader = csv.reader(lines, delimiter=delimiter or _delimiter(start), strict=True)
    header: _Header | None = None
    while True:
        begins_at = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            yield failed(name, begins_at, RecordFault.NOT_CSV, str(exc))
            continue
        except LineError as exc:
            yield failed_line(name, lines.number + 1, exc)
            return
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _header(cells, name, has_header)
            if not header.is_data:
                continue
        yield _record(name, begins_at, header.names, cells)


class _TextLines(Iterator[str]):
    """Gives lines as text with their ends, and counts them; what is not UTF-8 stays recognisable."""

    def __init__(self, lines: Iterator[FileLine]) -> None:
        self.number = 0
        self._lines = lines

    def __next__(self) -> str:
        line = next(self._lines)
        if line.fault is not None:
            raise line.fault
        self.number = line.number
        return line.text.decode("utf-8", "surrogateescape") + "\n"


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
