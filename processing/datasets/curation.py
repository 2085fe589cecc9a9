"""Curation of the active version: which end each row has, derived anew from all that is known.

The end of a row depends on its birth, on the scores stored with it, on the settings of judge and filter as the
version's manifest holds them (`curation`), and on what people decided; not on the order in which commands were given.
So every stage, whichever was run, ends by deriving all ends:

1. *Base*: the end that the birth gave the row. Rows that were kept go on, and so do those that wait for review; a row
   that a birth dropped or that failed stays so, unless a person decides otherwise.
2. *Judge*: a kept row with a score below the threshold is dropped; one without a verdict is kept and says so.
3. *Filter*: the first rule that a row breaks drops it; of duplicates the best scored stays, of equals the first by id.
4. *Review*: what a person decided about the row holds, whatever judge and filter say.

Each lies on the one before and can be lifted (`store.datasets.covering`): a threshold that falls brings back what had
been dropped for its score, and nobody is asked again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from processing.datasets.row_facts import Facts, is_judged_at_all, judged
from processing.datasets.row_filter import CurationReason, FilterRules, FindPersonal, fault_of
from processing.datasets.row_form import RowFormError, example_of
from processing.datasets.step import CURATION, STEPS, with_step
from processing.dedup import content_key, prompt_document
from processing.disjoint_sets import DisjointSets
from processing.errors import ConservationError
from processing.near_text import TextDocument, near_pairs
from store.datasets.covering import FILTER, JUDGE, REVIEW, cover, uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.review import carry_decisions
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Version
from store.datasets.warnings import is_unjudged, unjudged_warning

Json = Any
BATCH: Final = 200
_OWN: Final = frozenset({JUDGE, FILTER})


@dataclass(frozen=True, slots=True)
class Curated:
    """What a stage did.

    Attributes:
        version: The active version, with its new counts.
        before: Rows by state, before.
        after: Rows by state; the sum is the same.
        ended: Stage to reason to rows, of those that are not kept now.
        dropped: Rows that were kept or waited for review, and are dropped now.
        returned: Rows that were not kept, and are now.
        details: What else the stage has to say.
        warnings: For a person.
    """

    version: Version
    before: Mapping[str, int]
    after: Mapping[str, int]
    ended: Mapping[str, Mapping[str, int]]
    dropped: int
    returned: int
    details: Mapping[str, Json]
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """For `--json` and reports of jobs."""
        return {
            "version": self.version.label,
            "rows": sum(self.after.values()),
            "before": dict(self.before),
            "after": dict(self.after),
            "ended": {stage: dict(reasons) for stage, reasons in self.ended.items()},
            "dropped": self.dropped,
            "returned": self.returned,
            **self.details,
            "warnings": list(self.warnings),
        }


async def set_curation(
    store: DatasetStore,
    version: Version,
    stage: str,
    settings: Mapping[str, Json],
    *,
    decisions: int,
    is_continued: bool = False,
) -> Version:
    """Write the settings of a stage into the manifest as it stands by now; give the version with it.

    Args:
        store: Holds the version.
        version: The active one.
        stage: Its name.
        settings: What it was given.
        decisions: How many decisions there were when it began.
        is_continued: See `processing.datasets.step`.
    """
    version = await store.version(version.label)
    current = dict(version.manifest.get(CURATION) or {})
    steps = with_step(version.manifest, stage, decisions=decisions, is_continued=is_continued)
    manifest = {**version.manifest, CURATION: {**current, stage: dict(settings)}, STEPS: steps}
    await store.set_manifest(version, manifest)
    return replace(version, manifest=manifest)


async def settle_decisions(store: DatasetStore, version: Version, known: int) -> None:
    """Apply decisions that came in while a stage was at work, which may have written over what they did to their rows.

    Args:
        store: Holds the version.
        version: The active one.
        known: How many decisions there were when the stage began.
    """
    if len(await store.decision_log(version.dataset)) != known:
        await carry_decisions(store, version)


async def derive_ends(
    store: DatasetStore,
    version: Version,
    *,
    find_personal: FindPersonal | None = None,
    details: Mapping[str, Json] | None = None,
    warnings: Iterable[str] = (),
    known_decisions: int | None = None,
) -> Curated:
    """Give each row of the active version the end that follows from all that is known.

    Args:
        store: Holds the version.
        version: The active one, with the settings of its stages in the manifest.
        find_personal: Finds personal data, where the filter asks for that.
        details: Handed on.
        warnings: Handed on.
        known_decisions: How many decisions there were when the stage began; None for those that there are now.

    Raises:
        ConservationError: A row has no end, or two; nothing was changed.
    """
    settings: Mapping[str, Json] = version.manifest.get(CURATION) or {}
    threshold = (settings.get(JUDGE) or {}).get("threshold")
    rules = None if settings.get(FILTER) is None else FilterRules.from_json(settings[FILTER])
    if known_decisions is None:
        known_decisions = len(await store.decision_log(version.dataset))
    facts, documents = await _read_facts(store, version, rules, find_personal)
    ends = {one.row_id: _own_end(one, threshold) for one in facts}
    if rules is not None and rules.duplicates != "keep":
        ends.update(_duplicates(facts, documents, ends))
    ends = {one.row_id: _reviewed(one.now, ends[one.row_id]) for one in facts}
    entered = version.counts.entered - version.erased
    if len(ends) != len(facts) or len(ends) != entered:
        raise ConservationError(
            f"{version.label}: {entered} rows, {len(facts)} were read and {len(ends)} have an end. "
            "This is a defect of Tracemill; nothing was changed."
        )
    changed = {one.row_id: ends[one.row_id] for one in facts if ends[one.row_id] != one.now}
    names = list(changed)
    for start in range(0, len(names), BATCH):
        await store.set_ends(version, {name: changed[name] for name in names[start : start + BATCH]})
    await settle_decisions(store, version, known_decisions)
    version = await store.version(version.label)
    return _curated(version, facts, ends, details or {}, warnings)


def _curated(
    version: Version,
    facts: Sequence[Facts],
    ends: Mapping[str, RowEnd],
    details: Mapping[str, Json],
    warnings: Iterable[str],
) -> Curated:
    """Tell what became of the rows."""
    was_kept = {one.row_id: one.now.state is RowState.KEPT for one in facts}
    unjudged = sum(is_unjudged(ends[one.row_id], one.part, was_asked_about=one.judged.was_asked_about) for one in facts)
    ended: dict[str, Counter[str]] = {}
    for end in ends.values():
        if end.state is not RowState.KEPT:
            ended.setdefault(end.stage, Counter())[end.reason] += 1
    return Curated(
        version=version,
        before=_states(one.now for one in facts),
        after=_states(ends.values()),
        ended={stage: dict(sorted(ended[stage].items())) for stage in sorted(ended)},
        dropped=sum(was_kept[name] and end.state is not RowState.KEPT for name, end in ends.items()),
        returned=sum(not was_kept[name] and end.state is RowState.KEPT for name, end in ends.items()),
        details=details,
        warnings=(*warnings, *unjudged_warning(version, unjudged)),
    )


async def _read_facts(
    store: DatasetStore, version: Version, rules: FilterRules | None, find_personal: FindPersonal | None
) -> tuple[list[Facts], dict[str, TextDocument]]:
    facts: list[Facts] = []
    documents: dict[str, TextDocument] = {}
    wants_keys = rules is not None and rules.duplicates != "keep"
    async for row in store.rows(version):
        one = _facts(row, rules, find_personal)
        facts.append(one)
        if wants_keys and one.fault is None and is_judged_at_all(row.end):
            try:
                example = example_of(row.content)
            except RowFormError:
                continue
            one.key = content_key(example)
            one.conversation = example.conversation_id
            if rules is not None and rules.duplicates == "near":
                asked = example.messages[: example.targets[0]]
                documents[row.row_id] = prompt_document(row.row_id, asked, example.tools)
    return facts, documents


def _facts(row: Row, rules: FilterRules | None, find_personal: FindPersonal | None) -> Facts:
    base = uncover(row.end)
    fault = None
    if rules is not None and is_judged_at_all(row.end) and row.part is not Part.UNSTRUCTURED:
        fault = fault_of(row.content, rules, find_personal)
    is_accepted = row.end.stage == REVIEW and row.end.state is RowState.KEPT
    said = judged(row.content.get("metadata") or {})
    return Facts(row.row_id, row.end, base, said, fault, None, row.row_id, is_accepted, row.part)


def _own_end(one: Facts, threshold: float | None) -> RowEnd:
    """The end by judge and filter, duplicates and decisions apart."""
    base, score = one.base, one.judged.score
    was_scored = base.reason == CurationReason.LOW_SCORE and base.state is RowState.DROPPED
    if was_scored and threshold is not None and score is not None and score >= threshold:
        base = cover(base, RowState.KEPT, JUDGE, CurationReason.SCORE_REACHED, _score_detail(score, threshold))
    if base.state is RowState.KEPT and threshold is not None and score is not None and score < threshold:
        return cover(base, RowState.DROPPED, JUDGE, CurationReason.LOW_SCORE, _score_detail(score, threshold))
    if base.state not in (RowState.KEPT, RowState.REVIEW):
        return base
    if one.fault is not None:
        state = RowState.REVIEW if one.fault.is_for_review else RowState.DROPPED
        return cover(base, state, FILTER, one.fault.reason, one.fault.detail)
    if base.state is RowState.KEPT and threshold is not None and one.judged.has_no_verdict:
        return cover(base, RowState.KEPT, JUDGE, CurationReason.NO_VERDICT)
    return base


def _score_detail(score: float, threshold: float) -> dict[str, Json]:
    return {"judge_score": score, "threshold": threshold}


def _duplicates(
    facts: Iterable[Facts], documents: Mapping[str, TextDocument], ends: Mapping[str, RowEnd]
) -> dict[str, RowEnd]:
    """The ends of rows of which another one stays: the accepted, then the best scored, then the first by id."""
    left = [one for one in facts if one.key is not None and (one.is_accepted or _goes_on(ends[one.row_id]))]
    left.sort(key=lambda one: (not one.is_accepted, -(one.judged.score or 0.0), one.row_id))
    found: dict[str, RowEnd] = {}
    first: dict[bytes | None, str] = {}
    for one in left:
        kept = first.setdefault(one.key, one.row_id)
        if kept != one.row_id:
            found[one.row_id] = _as_duplicate(ends[one.row_id], CurationReason.EXACT_DUPLICATE, kept)
    distinct = [one for one in left if one.row_id not in found]
    union: DisjointSets[str] = DisjointSets()
    for pair in near_pairs(documents[one.row_id] for one in distinct if one.row_id in documents):
        union.join(*pair)
    best: dict[str, Facts] = {}
    for one in distinct:
        kept_one = best.setdefault(union.find(one.row_id), one)
        if kept_one.conversation != one.conversation:
            found[one.row_id] = _as_duplicate(ends[one.row_id], CurationReason.NEAR_DUPLICATE, kept_one.row_id)
    return found


def _goes_on(end: RowEnd) -> bool:
    return end.state in (RowState.KEPT, RowState.REVIEW)


def _as_duplicate(end: RowEnd, reason: CurationReason, kept: str) -> RowEnd:
    return cover(uncover(end, _OWN), RowState.DROPPED, FILTER, reason, {"same_as": kept})


def _reviewed(now: RowEnd, below: RowEnd) -> RowEnd:
    """Lay what a person decided on the end that was derived."""
    if now.stage != REVIEW or "before" not in now.detail:
        return below
    detail = {name: value for name, value in now.detail.items() if name != "before"}
    return cover(below, now.state, REVIEW, now.reason, detail)


def _states(ends: Iterable[RowEnd]) -> dict[str, int]:
    counts = Counter(end.state for end in ends)
    return {str(state): counts[state] for state in RowState}
