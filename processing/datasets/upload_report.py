"""What became of an upload: counts that add up, and the records that did not become rows."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from processing.datasets.data_set import Format
from processing.datasets.mapping import FieldMapping
from processing.datasets.record import Record, RepeatedKeys
from processing.datasets.row_split import SplitRows
from store.datasets.row import Row, RowState
from store.datasets.version import Version
from store.recorded.message import Json

_SHOWN_PROBLEMS: Final = 100


class UploadReason(StrEnum):
    """How a record of a file ends that could be read as a row. A closed list."""

    UPLOADED = "uploaded"
    """Kept: a row."""
    EXACT_DUPLICATE = "exact_duplicate"
    """It says the same as an earlier record, or as a row that the version began with; ids and white space aside."""
    NOT_STORED = "not_stored"
    """The store does not take it; `detail` tells why. A row that was erased with its trace stays away."""


class Problem(NamedTuple):
    """A record that did not become a row.

    Attributes:
        place: File and line.
        state: Dropped or failed.
        reason: From the closed lists.
        detail: For a person; holds no content.
    """

    place: str
    state: RowState
    reason: str
    detail: str


@dataclass(slots=True)
class UploadReport:
    """What became of an upload.

    Attributes:
        source: The file or folder.
        format: What it is.
        mapping: Which columns are what.
        entered: Records that are not blank.
        reasons: State to reason to how many; they add up to `entered`.
        parts: Part to kept rows; an empty name stands for rows that are not split.
        trailing_messages: Left out behind the last answers.
        repeated_keys: Records with a key that stands twice in one object; its last value counts.
        problems: The first records that did not become rows.
        version: The version; None when nothing was written.
        split: What the split came to, where one was asked for.
        warnings: What to look at.
    """

    source: str
    format: Format
    mapping: FieldMapping
    entered: int = 0
    reasons: dict[RowState, Counter[str]] = field(default_factory=dict)
    parts: Counter[str] = field(default_factory=Counter)
    trailing_messages: int = 0
    repeated_keys: RepeatedKeys = field(default_factory=RepeatedKeys)
    problems: list[Problem] = field(default_factory=list)
    version: Version | None = None
    split: SplitRows | None = None
    warnings: list[str] = field(default_factory=list)

    def count(self, state: RowState) -> int:
        """How many records ended so."""
        return self.reasons.get(state, Counter()).total()

    def take(self, row: Row, record: Record, *, trailing: int) -> None:
        """Count a record with its end."""
        self.entered += 1
        self.repeated_keys.take(record)
        self.reasons.setdefault(row.end.state, Counter())[str(row.end.reason)] += 1
        self.trailing_messages += trailing
        if row.end.state is RowState.KEPT:
            self.parts[str(row.part or "")] += 1
        elif len(self.problems) < _SHOWN_PROBLEMS:
            detail = row.end.detail
            said = detail.get("problem") or f"the same as row {detail.get('duplicate_of')}"
            self.problems.append(Problem(record.place, row.end.state, str(row.end.reason), str(said)))

    def warn(self) -> None:
        """Put down what to look at, once all is counted."""
        if self.count(RowState.FAILED):
            failed = self.count(RowState.FAILED)
            self.warnings.append(f"{failed:,} of {self.entered:,} records are no rows; they count as failed.")
        if self.trailing_messages:
            left_out = f"{self.trailing_messages:,} messages after a last answer were left out"
            self.warnings.append(f"{left_out}: nothing answers them.")
        self.warnings += self.repeated_keys.warnings(self.entered)
        if self.split is None and self.parts[""] and sum(self.parts.values()) > self.parts[""]:
            self.warnings.append(f"{self.parts['']:,} rows stand in no part, while others do; they count as train.")

    def as_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "version": None if self.version is None else self.version.label,
            "source": self.source,
            "format": str(self.format),
            "mapping": self.mapping.as_json(),
            **self.counts(),
            "split": None if self.split is None else self.split.as_json(),
            "problems": [problem._asdict() | {"state": str(problem.state)} for problem in self.problems],
            "warnings": self.warnings,
        }

    def counts(self) -> dict[str, Json]:
        """All counts, for manifests too."""
        return {
            "entered": self.entered,
            "kept": self.count(RowState.KEPT),
            "dropped": self.count(RowState.DROPPED),
            "failed": self.count(RowState.FAILED),
            "reasons": {str(state): dict(sorted(found.items())) for state, found in sorted(self.reasons.items())},
            "parts": {name or "unsplit": count for name, count in sorted(self.parts.items())},
            "trailing_messages": self.trailing_messages,
            "repeated_keys": self.repeated_keys.count,
        }
