"""The records of Parquet and Arrow files, batch by batch.

pyarrow comes with an extra; without it the first such file says so.
"""

import base64
import datetime as dt
import decimal
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from processing.datasets.record import Record, RecordFault, failed
from processing.errors import InputError
from store import json_text
from store.recorded.message import Json

_ROWS_AT_ONCE: Final = 512
_JSON_TYPE: Final = "extension<arrow.json"


def parquet_records(path: Path, name: str) -> Iterator[Record]:
    """Read a Parquet file from its beginning.

    Raises:
        InputError: It is none, or pyarrow is not installed.
    """
    pyarrow, parquet = _library("pyarrow", name), _library("pyarrow.parquet", name)
    try:
        with parquet.ParquetFile(path) as file:
            yield from _records(file.iter_batches(batch_size=_ROWS_AT_ONCE), name)
    except pyarrow.ArrowException as exc:
        raise InputError(name, f"is not Parquet that can be read: {_first_line(exc)}.") from exc


def arrow_records(path: Path, name: str) -> Iterator[Record]:
    """Read an Arrow file of either form from its beginning; `datasets` writes streams.

    Raises:
        InputError: It is none, or pyarrow is not installed.
    """
    pyarrow = _library("pyarrow", name)
    try:
        with pyarrow.memory_map(str(path)) as mapped:
            yield from _records(_arrow_batches(pyarrow, mapped), name)
    except pyarrow.ArrowException as exc:
        raise InputError(name, f"is not an Arrow file that can be read: {_first_line(exc)}.") from exc


def _library(module: str, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        return import_module(module)
    except ImportError as exc:
        problem = "needs pyarrow, which is not installed: pip install 'tracemill[parquet]'."
        raise InputError(name, problem) from exc


def _arrow_batches(pyarrow: Any, mapped: Any) -> Iterator[Any]:  # noqa: ANN401
    try:
        stream = pyarrow.ipc.open_stream(mapped)
    except pyarrow.ArrowInvalid:
        mapped.seek(0)
        with pyarrow.ipc.open_file(mapped) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)
    else:
        yield from stream


def _records(batches: Iterable[Any], name: str) -> Iterator[Record]:
    number = 0
    for batch in batches:
        twice = sorted({column for column in batch.schema.names if batch.schema.names.count(column) > 1})
        if twice:
            raise InputError(name, f"has two columns of one name: {', '.join(twice)}.")
        # In this library a column of JSON comes out as text.
        json_columns = [field.name for field in batch.schema if str(field.type).startswith(_JSON_TYPE)]
        labels = _labels(batch.schema.metadata)
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield _record(_named(row, labels), json_columns, name, number)


def _labels(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names behind the numbers of class columns, which `datasets` keeps beside the schema."""
    try:
        told = json_text.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _named(row: dict[str, Any], labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """A row with the names of its classes; a number below 0 stands for no label."""
    for column, names in labels.items():
        number = row.get(column)
        if isinstance(number, int) and number < len(names):
            row[column] = names[number] if number >= 0 else None
    return row


def _record(row: Mapping[str, Any], json_columns: list[str], name: str, number: int) -> Record:
    try:
        value = {column: _plain(item) for column, item in row.items() if item is not None}
        value |= {column: json_text.loads(value[column].encode()) for column in json_columns if column in value}
    except (ValueError, AttributeError, RecursionError):
        return failed(name, number, RecordFault.NOT_JSON, "a column of JSON holds something else")
    if json_text.is_too_deep(value):
        return failed(name, number, RecordFault.TOO_DEEP, f"nested deeper than {json_text.MAX_DEPTH}")
    return Record(name, number, value, is_columnar=True)


def _plain(value: Any) -> Json:  # noqa: ANN401 - whatever a column holds
    """A column's value as JSON: times as ISO 8601, decimals as text, bytes as base64."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
