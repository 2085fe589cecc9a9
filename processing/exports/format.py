"""What is declared of a target format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from processing.exports.column import Column
from processing.exports.converted import Convert
from store.recorded.message import Json


class Container(StrEnum):
    """What the lines of a part are kept in; the value is the suffix of its file."""

    LINES = ".jsonl"
    CSV = ".csv"
    PARQUET = ".parquet"


@dataclass(frozen=True, slots=True)
class Companion:
    """What the files beside the rows are made from.

    Attributes:
        dataset: Name of the dataset.
        label: Of the version.
        parts: The parts that have a file, with its path in the folder.
        has_images: Whether a line names images.
        job_description: Of the version or as it was given; None when none is known.
        config: The same of the configuration.
        has_tools: Whether a row has tools.
    """

    dataset: str
    label: str
    parts: Mapping[str, str]
    has_images: bool
    job_description: Mapping[str, Json] | None
    config: Mapping[str, Json] | None
    has_tools: bool


Companions: TypeAlias = Callable[[Companion], dict[str, bytes]]


def _none(_companion: Companion) -> dict[str, bytes]:
    return {}


@dataclass(frozen=True, slots=True)
class Format:
    """A target format.

    Attributes:
        name: As the command line has it.
        summary: What a line holds.
        readers: Who reads it.
        cannot: What it cannot hold, beyond what `reasons` counts; for the documentation.
        convert: Writes a row.
        columns: Fields of a line in their order, and how a typed container keeps them.
        files: Containers that a single file can have; none when it has to be a folder.
        folder: Container of each part in a folder; None when it has to be a single file.
        unstructured: Writes an unstructured row; None when the target has no place for one.
        keeps_all: Whether its readers are ours, which lose nothing that JSON can hold.
        traces: Writes the rows of train once more as `traces.jsonl`; None when there is no such file.
        companions: Makes the files beside the rows.
        usage: Lines with which its reader opens the folder; `{path}` stands for it.
        takes_columns: Whether the columns of a run beside those of every row are written too.
    """

    name: str
    summary: str
    readers: str
    cannot: str
    convert: Convert
    columns: Mapping[str, Column]
    files: tuple[Container, ...]
    folder: Container | None
    unstructured: Convert | None = None
    keeps_all: bool = False
    traces: Convert | None = None
    companions: Companions = _none
    usage: str = ""
    takes_columns: bool = False
