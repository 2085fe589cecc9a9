"""Which rows are worth a person's time.

A tenth of the rows is drawn at random among the kept ones: their share of good ones estimates that of all kept rows.
The others are those where a decision is likeliest to change something: rows that wait for a person, then by what speaks
for a mistake: a committee that hardly agreed, a judge's score near the threshold, a label that the committee changed, a
judge without a verdict. Of rows that ask nearly the same one is enough. Ties are broken by a hash of the seed and the
row, so the same version and seed give the same rows in the same order.

The choice is written into the version's manifest, where whoever shows the rows finds it, and stands until all of it is
decided or another limit or seed is asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from processing.datasets.judging import DEFAULT_THRESHOLD
from processing.datasets.row_facts import judged
from processing.datasets.row_filter import CurationReason
from processing.datasets.row_form import RowFormError, example_of
from processing.datasets.step import CURATION
from processing.dedup import prompt_document
from processing.disjoint_sets import DisjointSets
from processing.errors import InputError
from processing.near_text import TextDocument, near_pairs
from store.datasets.covering import JUDGE, REVIEW
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import decision_hash
from store.datasets.decision import Decision
from store.datasets.review import Queued, Why, known_of, open_to_curate, queue
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Version

Json = Any
DEFAULT_LIMIT: Final = 100
DEFAULT_SEED: Final = 123
_RANDOM_SHARE: Final = 0.1
_NEAR: Final = 0.15
"""Scores that close to the threshold are borderline: a step of one side's score moves the judge's score by up to
0.19."""
_AGREED: Final = 0.8
"""From this agreement on a committee is taken to be of one mind."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What of a row decides whether a person should look at it.

    Attributes:
        row_id: The row.
        is_kept: Whether it is kept as things stand.
        risk: How much speaks for a mistake; 0 for nothing.
        why: What that is.
    """

    row_id: str
    is_kept: bool
    risk: float
    why: tuple[Why, ...]


def candidate(row: Row, threshold: float) -> Candidate | None:
    """Judge how much a look at a row would be worth; None for one that nobody has to look at."""
    by_score = row.end.stage == JUDGE and row.end.reason == CurationReason.LOW_SCORE
    if row.part is Part.UNSTRUCTURED or row.end.stage == REVIEW:
        return None
    if row.end.state not in (RowState.KEPT, RowState.REVIEW) and not by_score:
        return None
    known = known_of(row)
    said = judged(known)
    parts: dict[Why, float] = {}
    if row.end.state is RowState.REVIEW:
        parts[Why.WAITS] = 3.0
    agreement = known.get("agreement")
    if isinstance(agreement, int | float) and agreement < _AGREED:
        parts[Why.LOW_AGREEMENT] = 1.0 - agreement
    if said.score is not None and abs(said.score - threshold) <= _NEAR:
        parts[Why.NEAR_THRESHOLD] = 1.0 - abs(said.score - threshold) / (2 * _NEAR)
    if by_score and Why.NEAR_THRESHOLD not in parts:
        return None
    if known.get("is_changed") is True:
        parts[Why.CHANGED] = 0.5
    if said.has_no_verdict:
        parts[Why.NO_VERDICT] = 1.0
    return Candidate(row.row_id, row.end.state is RowState.KEPT, round(sum(parts.values()), 6), tuple(parts))


def choose(
    candidates: Sequence[Candidate], group_of: Mapping[str, str], *, limit: int, seed: int
) -> list[tuple[str, tuple[Why, ...]]]:
    """Choose rows, the most doubtful first and the random ones spread among them.

    Args:
        candidates: One per row.
        group_of: Row to the name of its group of near duplicates; a row without one is alone.
        limit: Most rows; a tenth of it, at least one, is drawn at random.
        seed: For the draw and for ties.
    """
    order = {one.row_id: _place(seed, one.row_id) for one in candidates}
    kept = sorted((one for one in candidates if one.is_kept), key=lambda one: order[one.row_id])
    drawn = {one.row_id for one in kept[: max(1, round(limit * _RANDOM_SHARE))]}
    chosen: list[tuple[str, tuple[Why, ...]]] = []
    seen: set[str] = set()
    for one in sorted(candidates, key=lambda one: (-one.risk, order[one.row_id])):
        group = group_of.get(one.row_id, one.row_id)
        if one.risk == 0 or one.row_id in drawn or group in seen or len(chosen) >= limit - len(drawn):
            continue
        seen.add(group)
        chosen.append((one.row_id, one.why))
    reasons = {one.row_id: one.why for one in candidates}
    for name in sorted(drawn, key=lambda name: order[name]):
        # Spread among the others: all of them at the end would be looked at when one is tired.
        chosen.insert(_number(seed, f"place {name}") % (len(chosen) + 1), (name, (*reasons[name], Why.RANDOM)))
    return chosen


async def select_for_review(
    store: DatasetStore, reference: str, *, limit: int | None = None, seed: int | None = None
) -> tuple[Version, list[Queued]]:
    """Give the rows of the active version that a person should look at, with what was decided about them already.

    Args:
        store: Holds the dataset.
        reference: The active version, or a frozen one on top of which the next is opened.
        limit: Most rows; None for as many as were chosen last, at first 100.
        seed: None for that of the last choice, at first 123.

    Raises:
        InputError: The limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InputError("--limit", f"{limit} leaves nothing to review; expected a number from 1.")
    version = await open_to_curate(store, reference)
    last: Mapping[str, Json] = version.manifest.get(REVIEW) or {}
    wanted = {
        "limit": last.get("limit", DEFAULT_LIMIT) if limit is None else limit,
        "seed": last.get("seed", DEFAULT_SEED) if seed is None else seed,
    }
    if last.get("rows") and all(last.get(name) == value for name, value in wanted.items()):
        queued = await queue(store, version)
        if any(one.decision is None for one in queued):
            return version, queued
    rows = await _choose_rows(store, version, wanted["limit"], wanted["seed"])
    if not rows and last.get("rows"):
        return version, await queue(store, version)
    chosen = [{"row_id": name, "why": [str(one) for one in why]} for name, why in rows]
    version = await store.version(version.label)
    manifest = {**version.manifest, REVIEW: {**wanted, "rows": chosen}}
    await store.set_manifest(version, manifest)
    version = replace(version, manifest=manifest)
    return version, await queue(store, version)


async def _choose_rows(
    store: DatasetStore, version: Version, limit: int, seed: int
) -> list[tuple[str, tuple[Why, ...]]]:
    settings = (version.manifest.get(CURATION) or {}).get(JUDGE) or {}
    threshold = settings.get("threshold", DEFAULT_THRESHOLD)
    decisions: Mapping[str, Decision] = await store.decisions(version.dataset)
    candidates: list[Candidate] = []
    documents: dict[str, TextDocument] = {}
    async for row in store.rows(version):
        found = candidate(row, threshold)
        if found is None or (decisions and decision_hash(row.content) in decisions):
            continue
        candidates.append(found)
        if found.risk and (document := _document(row)) is not None:
            documents[row.row_id] = document
    return choose(candidates, _groups(documents.values()), limit=limit, seed=seed)


def _document(row: Row) -> TextDocument | None:
    try:
        example = example_of(row.content)
    except RowFormError:
        return None
    return prompt_document(row.row_id, example.messages[: example.targets[0]], example.tools)


def _groups(documents: Iterable[TextDocument]) -> dict[str, str]:
    union: DisjointSets[str] = DisjointSets()
    names: set[str] = set()
    for first, second in near_pairs(documents):
        union.join(first, second)
        names |= {first, second}
    return {name: union.find(name) for name in names}


def _place(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\nreview\n{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _number(seed: int, name: str) -> int:
    return int.from_bytes(_place(seed, name), "big")
