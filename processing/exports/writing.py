"""Files of lines in the containers that formats use: JSON lines, CSV and Parquet, written as they come."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

from processing.errors import InputError
from processing.exports.column import Column
from processing.exports.format import Container
from processing.output import lines
from store import json_text
from store.recorded.message import Json

_GROUP_ROWS: Final = 1000
_GROUP_BYTES: Final = 32 * 1024 * 1024
"""A row group of Parquet is closed when it holds either; that bounds what is in memory."""


class Written(NamedTuple):
    """A finished file.

    Attributes:
        bytes: Its size.
        lines: Rows in it; None for a file that has none.
        sha256: Of its bytes.
    """

    bytes: int
    lines: int | None
    sha256: str


class LineFile(Protocol):
    """A file that lines are added to."""

    def write(self, line: Mapping[str, Json]) -> None:
        """Add a line."""

    def close(self) -> None:
        """Finish the file; nothing is synced."""


def open_lines(path: Path, container: Container, columns: Mapping[str, Column]) -> LineFile:
    """Begin a new file, readable by its owner alone.

    Raises:
        InputError: Parquet is asked for and pyarrow is not installed.
    """
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    if container is Container.LINES:
        return _JsonLines(file)
    return _Csv(file, columns) if container is Container.CSV else _Parquet(file, columns)


def require_container(container: Container) -> None:
    """Make sure that a container can be written here.

    Raises:
        InputError: It is Parquet and pyarrow is not installed.
    """
    if container is Container.PARQUET:
        _pyarrow()


def described(path: Path, count: int | None) -> Written:
    """Describe a finished file."""
    with path.open("rb") as file:
        return Written(path.stat().st_size, count, hashlib.file_digest(file, "sha256").hexdigest())


def line_bytes(line: Json) -> bytes:
    """Write a JSON line; characters that some readers take for the end of a line are escaped, NEL among them."""
    return lines([line]).replace(b"\xc2\x85", b"\\u0085")


class _JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, line: Mapping[str, Json]) -> None:
        self._file.write(line_bytes(line))

    def close(self) -> None:
        self._file.close()


class _Csv:
    """RFC 4180 with every text in quotes and nothing at all for null, so that empty text and null are told apart."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, Column]) -> None:
        self._file = file
        self._columns = columns
        self._file.write(_csv_record(list(columns)))

    def write(self, line: Mapping[str, Json]) -> None:
        self._file.write(_csv_record([_csv_cell(line.get(name), kind) for name, kind in self._columns.items()]))

    def close(self) -> None:
        self._file.close()


def _csv_cell(value: Json, column: Column) -> str | None:
    if value is None or column is Column.TEXT:
        return value if value is None else str(value)
    return json_text.dumps(value).decode()


def _csv_record(cells: Sequence[str | None]) -> bytes:
    quoted = ("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells)
    return (",".join(quoted) + "\r\n").encode()


class _Parquet:
    """Parquet with the types that `datasets` knows noted in the schema; a row group at a time is in memory."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, Column]) -> None:
        arrow, parquet = _pyarrow()
        self._arrow = arrow
        self._file = file
        self._columns = columns
        features = {name: _feature(column) for name, column in columns.items()}
        self._stored = arrow.schema([(name, _type(arrow, column, stored=True)) for name, column in columns.items()])
        self._schema = arrow.schema(
            [(name, _type(arrow, column, stored=False)) for name, column in columns.items()],
            metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd", version="2.6")
        self._group: list[list[Json]] = []
        self._bytes = 0

    def write(self, line: Mapping[str, Json]) -> None:
        cells = [_arrow_cell(line.get(name), column) for name, column in self._columns.items()]
        self._group.append(cells)
        self._bytes += sum(_size(cell) for cell in cells)
        if len(self._group) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        try:
            self._write_group()
            self._writer.close()
        finally:
            self._file.close()

    def _write_group(self) -> None:
        if not self._group:
            return
        arrays = [
            self._arrow.array([cells[at] for cells in self._group], type=field.type)
            for at, field in enumerate(self._stored)
        ]
        self._writer.write_table(self._arrow.table(arrays, schema=self._stored).cast(self._schema))
        self._group, self._bytes = [], 0


def _arrow_cell(value: Json, column: Column) -> Json:
    if column is Column.IMAGES:
        return [{"bytes": image.content, "path": image.name} for image in value or ()]
    if value is None or column in (Column.TEXT, Column.TEXT_LIST):
        return value
    if column is Column.JSON_LIST and isinstance(value, list):
        return [json_text.dumps(item).decode() for item in value]
    return json_text.dumps(value).decode()


def _size(cell: Json) -> int:
    if isinstance(cell, str | bytes):
        return len(cell)
    if isinstance(cell, list):
        return sum(_size(item) for item in cell)
    return sum(_size(item) for item in cell.values()) if isinstance(cell, dict) else 8


def _feature(column: Column) -> Json:
    value, decoded = {"dtype": "string", "_type": "Value"}, {"_type": "Json"}
    return {
        Column.TEXT: value,
        Column.JSON_TEXT: value,
        Column.JSON: decoded,
        Column.JSON_LIST: {"feature": decoded, "_type": "List"},
        Column.TEXT_LIST: {"feature": value, "_type": "List"},
        Column.IMAGES: {"feature": {"_type": "Image"}, "_type": "List"},
    }[column]


def _type(arrow: Any, column: Column, *, stored: bool) -> Any:  # noqa: ANN401 - pyarrow is optional and untyped
    decoded = arrow.string() if stored else arrow.json_(arrow.string())
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    return {
        Column.TEXT: arrow.string(),
        Column.JSON_TEXT: arrow.string(),
        Column.JSON: decoded,
        Column.JSON_LIST: arrow.list_(decoded),
        Column.TEXT_LIST: arrow.list_(arrow.string()),
        Column.IMAGES: arrow.list_(image),
    }[column]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise InputError("--format", "needs pyarrow. Install it with: pip install 'tracemill[parquet]'") from exc
    return pa, parquet
