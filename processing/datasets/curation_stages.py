"""Judge and filter as stages of curation, each of which runs alone on the active version.

What a stage was given stands in the version's manifest and holds until the stage is run again; what the judge says
stands in the rows. Both together decide the ends (`processing.datasets.curation`), so a threshold moves for nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from processing.baseline import Judging
from processing.datasets.curation import (
    BATCH,
    Curated,
    derive_ends,
    set_curation,
)
from processing.datasets.judging import DEFAULT_JUDGE, DEFAULT_THRESHOLD, PURPOSE, RowScore, family_warning, judge_rows
from processing.datasets.row_facts import is_judged_at_all, judged
from processing.datasets.row_filter import CurationReason, FilterRules, FindPersonal
from processing.datasets.row_form import RowFormError, example_of
from processing.datasets.step import CURATION
from processing.errors import InputError
from processing.prompt import prompt
from processing.teachers import Teachers
from store.datasets.covering import FILTER, JUDGE, REVIEW, uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.edit import is_edited
from store.datasets.review import open_to_curate
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Version

Json = Any
Tell = Callable[[int, int], None]
"""Told how many rows are through, and of how many."""
_DUPLICATES: Final = frozenset({CurationReason.EXACT_DUPLICATE, CurationReason.NEAR_DUPLICATE})
_AUTHORS: Final = ("teacher_model", "teacher_models", "original_model", "edited_by")


async def judge(
    store: DatasetStore,
    reference: str,
    model: str | None,
    teachers: Teachers | None,
    *,
    threshold: float | None = None,
    task: str | None = None,
    criteria: str | None = None,
    find_personal: FindPersonal | None = None,
    tell: Tell = lambda _done, _total: None,
) -> Curated:
    """Have a model score the rows, and drop those below a threshold.

    Asked about is every row that its birth kept and that neither filter nor person took out, and every duplicate, since
    the best scored stays; rows that were asked about before, by this judge about this content, cost nothing. What was
    paid for is kept when it stops.

    Args:
        store: Holds the dataset.
        reference: The active version, or a frozen one on top of which the next is opened.
        model: The judge; None asks nobody and only moves the threshold.
        teachers: Asks it; needed with a model.
        threshold: Least score that stays; None for that of the last time, at first 0.7.
        task: The task in words; None for that of the last time, an empty text for none.
        criteria: What else to look at; as `task`.
        find_personal: Finds personal data, where the filter asks for that.
        tell: Told how far it is.

    Raises:
        InputError: The threshold is not in [0, 1], the model cannot be asked, or no row has a score and no model is
            given.
        TeacherError: The run has to stop.
        BudgetError: Nothing more may be bought.
    """
    await _check_judge(store, reference, model, teachers, threshold)
    version = await open_to_curate(store, reference)
    known = len(await store.decision_log(version.dataset))
    earlier: Mapping[str, Json] = (version.manifest.get(CURATION) or {}).get(JUDGE) or {}
    if threshold is None:
        threshold = earlier.get("threshold", DEFAULT_THRESHOLD)
    task = earlier.get("task") if task is None else task
    criteria = earlier.get("criteria") if criteria is None else criteria
    settings = {**earlier, "threshold": threshold}
    warnings: list[str] = []
    if model is not None and teachers is not None:
        settings |= {"model": model, "task": task, "criteria": criteria, "prompt": prompt(PURPOSE).hash}
        settings |= {"models": teachers.asked_at([model])}
        warnings = await _score_all(store, version, model, teachers, task, criteria, tell)
    counts = await _judge_counts(store, version)
    details: dict[str, Json] = {"stage": JUDGE, "threshold": threshold, "judge": settings.get("model"), **counts}
    is_asked = model is not None and teachers is not None
    if is_asked and teachers is not None:
        bill = teachers.bill().get(PURPOSE)
        settings |= {"rows": counts, "calls": bill.calls if bill else 0, "cost": bill.cost if bill else None}
        details |= {"paid": teachers.counts.paid, "cached": teachers.counts.cached, "cost": settings["cost"]}
        warnings += teachers.problems()
    if counts["no_verdict"]:
        warnings.append(f"{counts['no_verdict']:,} rows have no verdict: they stay as they are, and review shows them.")
    version = await set_curation(store, version, JUDGE, settings, decisions=known, is_continued=not is_asked)
    return await derive_ends(
        store, version, find_personal=find_personal, details=details, warnings=warnings, known_decisions=known
    )


async def _check_judge(
    store: DatasetStore, reference: str, model: str | None, teachers: Teachers | None, threshold: float | None
) -> None:
    """Refuse what cannot be, before a version is opened and anything is paid."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError("--threshold", f"{threshold:g} is no score; scores are from 0 to 1.")
    if model is not None and teachers is not None:
        teachers.check([model])
    if model is None and not (await _judge_counts(store, await store.version(reference)))["scored"]:
        raise InputError(
            reference, "has no row with a judge's score, so there is no threshold to move. Name a judge: --model."
        )


async def usual_judge(store: DatasetStore, reference: str) -> str:
    """Name the judge of a version when nobody names one: that of the last time, else a cheap model.

    Raises:
        DatasetError: There is no such version.
    """
    version = await store.version(reference)
    settings = (version.manifest.get(CURATION) or {}).get(JUDGE) or {}
    return str(settings.get("model") or DEFAULT_JUDGE)


async def filter_rows(
    store: DatasetStore,
    reference: str,
    rules: FilterRules,
    *,
    find_personal: FindPersonal | None = None,
) -> Curated:
    """Hold the rows against rules; those of the last time no longer hold.

    Args:
        store: Holds the dataset.
        reference: As in `judge`.
        rules: The rules.
        find_personal: Finds personal data; needed where the rules ask for that.

    Raises:
        InputError: A bound makes no sense, or personal data cannot be looked for.
    """
    for name, value in (("--max-chars", rules.max_chars), ("--min-chars", rules.min_chars)):
        if value is not None and value < 0:
            raise InputError(name, f"{value} is no number of characters.")
    if rules.min_score is not None and not 0 <= rules.min_score <= 1:
        raise InputError("--min-score", f"{rules.min_score:g} is no score; scores are from 0 to 1.")
    if rules.pii != "keep" and find_personal is None:
        raise InputError("--pii", "personal data cannot be looked for here.")
    version = await open_to_curate(store, reference)
    known = len(await store.decision_log(version.dataset))
    version = await set_curation(store, version, FILTER, rules.as_json(), decisions=known)
    details = {"stage": FILTER, "rules": rules.as_json()}
    return await derive_ends(store, version, find_personal=find_personal, details=details, known_decisions=known)


def wants_personal(version: Version) -> bool:
    """Whether the filter of a version looks for personal data."""
    settings = (version.manifest.get(CURATION) or {}).get(FILTER) or {}
    return bool(settings.get("pii", "keep") != "keep")


async def _score_all(
    store: DatasetStore,
    version: Version,
    model: str,
    teachers: Teachers,
    task: str | None,
    criteria: str | None,
    tell: Tell,
) -> list[str]:
    """Score row by row and write what was said into the rows, some hundreds at a time."""
    total = 0
    authors: list[dict[str, Json]] = []
    async for row in store.rows(version):
        if _is_asked_about(row):
            total += 1
            metadata = row.content.get("metadata") or {}
            authors.append({"metadata": {name: metadata.get(name) for name in _AUTHORS}})
    warning = family_warning(authors, model)
    finished = 0
    waiting: list[Row] = []

    async def score(rows: list[Row]) -> None:
        nonlocal finished
        begun = finished
        contents = [row.content for row in rows]
        scores = await judge_rows(
            contents, model, teachers, task=task, criteria=criteria, done=lambda done: tell(begun + done, total)
        )
        finished += len(rows)
        written = [_with_score(row, scores[row.row_id], model) for row in rows]
        changed = [new for new, old in zip(written, rows, strict=True) if new.content != old.content]
        await store.replace_rows(version, changed)

    tell(0, total)
    async for row in store.rows(version):
        if _is_asked_about(row):
            waiting.append(row)
        if len(waiting) == BATCH:
            await score(waiting)
            waiting = []
    await score(waiting)
    return [] if warning is None else [warning]


def _is_asked_about(row: Row) -> bool:
    """Whether the judge looks at a row: one that may be learned from, and that a person did not write."""
    if not is_judged_at_all(row.end) or uncover(row.end).state is RowState.REVIEW:
        return False
    if row.part is Part.UNSTRUCTURED or is_edited(row.content):
        return False
    # Which duplicate stays hangs on the scores of all of them.
    is_duplicate = row.end.stage == FILTER and row.end.reason in _DUPLICATES
    if row.end.stage in (FILTER, REVIEW) and row.end.state is not RowState.KEPT and not is_duplicate:
        return False
    try:
        example_of(row.content)
    except RowFormError:
        return False
    return True


def _with_score(row: Row, score: RowScore, model: str) -> Row:
    metadata = {
        **(row.content.get("metadata") or {}),
        "judge_score": score.judge_score,
        "judge_scores": dict(score.scores) or None,
        "judge_reason": score.reason,
        "judge_model": model,
        "judge_call": None if score.call is None else score.call.hex(),
        "judge_problem": None if score.judging is Judging.VERDICT else str(score.judging),
    }
    return replace(row, content={**row.content, "metadata": metadata})


async def _judge_counts(store: DatasetStore, version: Version) -> dict[str, int]:
    counts: Counter[str] = Counter()
    async for row in store.rows(version):
        if is_judged_at_all(row.end) and row.part is not Part.UNSTRUCTURED:
            said = judged(row.content.get("metadata") or {})
            counts["scored" if said.score is not None else "no_verdict" if said.has_no_verdict else "not_judged"] += 1
    return {name: counts[name] for name in ("scored", "no_verdict", "not_judged")}
