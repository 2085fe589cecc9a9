"""What of a row decides its end, without the row itself: thousands of them are held at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from processing.datasets.row_filter import CurationReason, Fault
from store.datasets.covering import uncover
from store.datasets.row import Part, RowEnd, RowState

Json = Any


class Judged(NamedTuple):
    """What a row's metadata say of its judging.

    Attributes:
        score: In [0, 1]; None without one.
        has_no_verdict: Whether the judge was asked and gave none.
    """

    score: float | None
    has_no_verdict: bool

    @property
    def was_asked_about(self) -> bool:
        """Whether the judge has seen the row."""
        return self.score is not None or self.has_no_verdict


@dataclass(slots=True)
class Facts:
    """What of a row decides its end.

    Attributes:
        row_id: The row.
        now: Its end as it stands.
        base: The end that its birth gave it.
        judged: What the judge said.
        fault: The first rule that it breaks by itself.
        key: The same for rows that say the same; None where that does not matter.
        conversation: Rows of one conversation are no near duplicates of one another.
        is_accepted: Whether a person wants it kept: of duplicates that one stays.
        part: Where it stands.
    """

    row_id: str
    now: RowEnd
    base: RowEnd
    judged: Judged
    fault: Fault | None
    key: bytes | None
    conversation: str
    is_accepted: bool
    part: Part | None


def judged(metadata: Mapping[str, Json]) -> Judged:
    """Read what the judge said of a row."""
    score = metadata.get("judge_score")
    known = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
    return Judged(known, bool(metadata.get("judge_problem")))


def is_judged_at_all(end: RowEnd) -> bool:
    """Whether judge and filter look at a row: its birth kept it, or left it to a person."""
    base = uncover(end)
    # A birth that drops by the judge's score, as generating does, is a stage like ours: its threshold moves too.
    return base.state in (RowState.KEPT, RowState.REVIEW) or base.reason == CurationReason.LOW_SCORE
