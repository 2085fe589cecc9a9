"""Ends that lie on others: what curation decides covers the end that a row had, and can be lifted again.

A row has one end. The stages of curation (`judge`, `filter`, `review`) never overwrite the end that a birth gave it:
they keep it in their own end's detail, as `before`. So a threshold can fall and a decision can be taken back, and what
was below is there again as it was. Detail holds codes and numbers alone, never text of a row.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from store.datasets.row import RowEnd, RowState

Json = Any
JUDGE: Final = "judge"
FILTER: Final = "filter"
REVIEW: Final = "review"
CURATION: Final = frozenset({JUDGE, FILTER, REVIEW})
_BEFORE: Final = "before"


def cover(below: RowEnd, state: RowState, stage: str, reason: str, detail: Mapping[str, Json] | None = None) -> RowEnd:
    """Give an end that lies on another one."""
    kept = {"state": str(below.state), "stage": below.stage, "reason": below.reason, "detail": dict(below.detail)}
    return RowEnd(state, stage, reason, {**(detail or {}), _BEFORE: kept})


def uncover(end: RowEnd, stages: Collection[str] = CURATION) -> RowEnd:
    """Give the end that lies below those of some stages; the end itself where nothing is to be lifted."""
    while end.stage in stages and isinstance(below := end.detail.get(_BEFORE), Mapping):
        end = RowEnd(RowState(below["state"]), below["stage"], below["reason"], below["detail"])
    return end
