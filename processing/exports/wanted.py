"""What is asked of an export, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.datasets.row import Part
from store.recorded.message import Json


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        format: Name of the format.
        out: File or folder to make; may be left out to check alone.
        check: Write nothing; say what would become of every row.
        part: Only rows of this part; those that are not split count as train.
        strict: A row that would be left out is an error.
        force: Replace an export that stands there.
        without_erased: Write a version of which rows were erased.
        job_description: For formats that hand one on, in place of the version's.
        config: The same of the configuration.
    """

    format: str
    out: Path | None = None
    check: bool = False
    part: Part | None = None
    strict: bool = False
    force: bool = False
    without_erased: bool = False
    job_description: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        manifest: As it was written beside the files; without `files` when nothing was.
        out: What was made; None when it was only checked.
        left_out_file: Where the rows that were left out are listed; None when there are none.
        notes: What a person should know of it.
    """

    manifest: Mapping[str, Any]
    out: Path | None
    left_out_file: Path | None
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Give everything as JSON."""
        return {
            **self.manifest,
            "out": None if self.out is None else str(self.out),
            "left_out_file": None if self.left_out_file is None else str(self.left_out_file),
            "notes": list(self.notes),
        }
