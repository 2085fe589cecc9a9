"""One file of a data set and how it is read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from processing.datasets.column_file import arrow_records, parquet_records
from processing.datasets.csv_file import csv_records
from processing.datasets.json_file import json_records
from processing.datasets.record import Record
from processing.errors import InputError


class Kind(StrEnum):
    """What a data file is."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    ARROW = "arrow"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set.

    Attributes:
        path: Where it lies.
        name: What to call it: its path inside the data set.
        kind: How it is read.
        split: The split that it belongs to; None where nothing says so.
        has_header: Whether a CSV file's first record names the columns; None to tell by looking.
    """

    path: Path
    name: str
    kind: Kind
    split: str | None = None
    has_header: bool | None = None

    def records(self) -> Iterator[Record]:
        """Read the file from its beginning, piece by piece.

        Raises:
            InputError: It cannot be read at all.
        """
        try:
            for record in self._records():
                yield record if self.split is None else replace(record, split=self.split)
        except OSError as exc:
            raise InputError(self.name, f"cannot be read: {exc.strerror or exc}.") from exc

    def _records(self) -> Iterator[Record]:
        match self.kind:
            case Kind.JSONL:
                return json_records(self.path, self.name)
            case Kind.PARQUET:
                return parquet_records(self.path, self.name)
            case Kind.ARROW:
                return arrow_records(self.path, self.name)
        delimiter = "\t" if self.kind is Kind.TSV else None
        return csv_records(self.path, self.name, delimiter=delimiter, has_header=self.has_header)
