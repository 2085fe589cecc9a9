"""What became of the prompts that a dataset was generated from: counts that add up, and what it cost."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from processing.teachers import Bill
from store.datasets.row import Row, RowState
from store.datasets.version import Version
from store.recorded.message import Json


@dataclass(slots=True)
class GenerateReport:
    """What became of a generation.

    Attributes:
        prompts: Prompts that were asked.
        samples: Answers wanted of each.
        entered: Answers, and lines that were not asked.
        reasons: State to reason to how many; they add up to `entered`.
        repeated_keys: Lines of the file with a key that stands twice in one object; its last value counts.
        bill: What the answers cost, by purpose, the ones bought earlier included.
        paid: Calls that this command bought; `cached` were known.
        version: The version; None when nothing was written.
        warnings: What to look at.
    """

    prompts: int
    samples: int
    entered: int = 0
    reasons: dict[RowState, Counter[str]] = field(default_factory=dict)
    repeated_keys: int = 0
    bill: Mapping[str, Bill] = field(default_factory=dict)
    paid: int = 0
    cached: int = 0
    version: Version | None = None
    warnings: list[str] = field(default_factory=list)

    def take(self, row: Row) -> None:
        """Count a row with its end."""
        self.entered += 1
        self.reasons.setdefault(row.end.state, Counter())[str(row.end.reason)] += 1

    def count(self, state: RowState) -> int:
        """How many ended so."""
        return self.reasons.get(state, Counter()).total()

    def counts(self) -> dict[str, Json]:
        """All counts, for manifests too."""
        return {
            "prompts": self.prompts,
            "samples": self.samples,
            "entered": self.entered,
            "kept": self.count(RowState.KEPT),
            "dropped": self.count(RowState.DROPPED),
            "failed": self.count(RowState.FAILED),
            "reasons": {str(state): dict(sorted(found.items())) for state, found in sorted(self.reasons.items())},
            "repeated_keys": self.repeated_keys,
        }

    def calls(self) -> dict[str, Json]:
        """What the answers cost by purpose; the same in every run of the same work."""
        return {purpose: asdict(bill) for purpose, bill in sorted(self.bill.items())}

    def as_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "version": None if self.version is None else self.version.label,
            **self.counts(),
            "calls": self.calls(),
            "paid": self.paid,
            "cached": self.cached,
            "warnings": self.warnings,
        }
