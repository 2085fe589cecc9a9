"""Review: what people decide about rows, applied to the open version and carried onto later ones.

A decision is about what a row teaches, not about its place in a version: it is kept under the hash of what was learned
when the row was shown, and holds wherever a row teaches the same. Decisions are added and never changed; taking one
back is a decision too. An accepted row is kept whatever judge and rules said of it, a rejected one is dropped, an
edited one is kept with the person's answers, and a skipped one stays as it was.

Which rows are worth a person's time is chosen elsewhere, where the likeness of texts can be told; the choice stands in
the version's manifest, under `review`, so that everybody is shown the same rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from store.datasets.covering import REVIEW, cover, uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.edit import edited, learned_positions, unedited
from store.datasets.row import Row, RowState, learned_hash
from store.datasets.version import Birth, Version, read_reference
from store.errors import DatasetError

Json = Any
MAX_QUEUE: Final = 100
_BATCH: Final = 500
_APPLIED: Final = frozenset({DecisionKind.ACCEPT, DecisionKind.EDIT, DecisionKind.REJECT})


class ReviewReason(StrEnum):
    """What a person decided about a row. A closed list."""

    ACCEPTED = "accepted"
    """A person accepted it as it is."""
    EDITED = "edited"
    """A person wrote other answers, which are learned now."""
    REJECTED = "rejected_in_review"
    """A person rejected it."""


class Why(StrEnum):
    """Why a row is worth a person's time. A closed list."""

    WAITS = "waits"
    """An earlier step could not decide and left it to a person."""
    LOW_AGREEMENT = "low_agreement"
    """The committee hardly agreed."""
    NEAR_THRESHOLD = "near_threshold"
    """The judge's score is close to the threshold, on either side."""
    CHANGED = "changed"
    """The committee changed what was recorded."""
    NO_VERDICT = "no_verdict"
    """The judge gave no verdict."""
    RANDOM = "random"
    """Drawn among all kept rows, to estimate how many of them are good."""


class Queued(NamedTuple):
    """A row that a person is to look at.

    Attributes:
        row: The row as it stands.
        why: What makes it worth the time.
        decision: What was decided already; None while it waits.
    """

    row: Row
    why: tuple[str, ...]
    decision: Decision | None


class Precision(NamedTuple):
    """How many of the kept rows are good, by those drawn at random.

    Attributes:
        good: Accepted as they were.
        decided: Accepted, edited or rejected.
        drawn: All that were drawn.
    """

    good: int
    decided: int
    drawn: int


def decision_hash(content: Mapping[str, Json]) -> str:
    """The hash under which decisions about a row are kept: of what it taught before any edit."""
    return learned_hash(unedited(content))


def decided(row: Row, decision: Decision) -> Row:
    """Apply a decision to a row, in place of the one that was applied before.

    Raises:
        DatasetError: The row has no answer to be kept, or the edit cannot be one.
    """
    row = undecided(row)
    detail = {"who": decision.who, "at": decision.at}
    if decision.kind is DecisionKind.REJECT:
        return replace(row, end=cover(row.end, RowState.DROPPED, REVIEW, ReviewReason.REJECTED, detail))
    if decision.kind not in _APPLIED:
        return row
    if not learned_positions(row.content["messages"]):
        raise DatasetError(f"row {row.row_id} has no answer to learn from, so it can only be rejected or skipped.")
    if decision.kind is DecisionKind.ACCEPT:
        return replace(row, end=cover(row.end, RowState.KEPT, REVIEW, ReviewReason.ACCEPTED, detail))
    if decision.messages is None:
        raise DatasetError(f"the edit of row {row.row_id} has no messages.")
    content = edited(row.content, decision.messages, decision.who)
    return replace(row, content=content, end=cover(row.end, RowState.KEPT, REVIEW, ReviewReason.EDITED, detail))


def undecided(row: Row) -> Row:
    """Give a row as it is without any decision."""
    return replace(row, content=unedited(row.content), end=uncover(row.end, {REVIEW}))


async def decide(
    store: DatasetStore,
    version: Version,
    row_id: str,
    kind: DecisionKind,
    *,
    who: str,
    note: str | None = None,
    messages: Sequence[Json] | None = None,
) -> Row:
    """Note a decision about a row of the active version, and apply it.

    Args:
        store: Holds the version.
        version: The active one.
        row_id: The row.
        kind: Accept, edit, reject or skip; `undo` takes one back.
        who: Who decides.
        note: Why, in the person's words.
        messages: Of an edit: all messages of the row, with other answers.

    Raises:
        DatasetError: There is no such row, the version is frozen, or the edit cannot be one.
    """
    row = await _row(store, version, row_id)
    if not who.strip():
        raise DatasetError("a decision needs to say who made it.")
    if (kind is DecisionKind.EDIT) != (messages is not None):
        raise DatasetError("messages belong to an edit, and an edit needs them.")
    decision = Decision(
        version.dataset,
        decision_hash(row.content),
        kind,
        who.strip(),
        row_id=row_id,
        note=note,
        messages=None if messages is None else list(messages),
        at=_now(),
    )
    applied = decided(row, decision)
    await store.note_decision(decision)
    if applied != row:
        await store.replace_rows(version, [applied])
    return applied


async def undo(store: DatasetStore, version: Version, row_id: str, *, who: str) -> Row:
    """Take back the last decision about a row that still stands; what was decided before it holds again.

    Raises:
        DatasetError: There is no such row, the version is frozen, or nothing was decided about the row.
    """
    row = await _row(store, version, row_id)
    name = decision_hash(row.content)
    if name not in await store.decisions(version.dataset):
        raise DatasetError(f"nothing was decided about row {row_id} of {version.label} that could be taken back.")
    await store.note_decision(Decision(version.dataset, name, DecisionKind.UNDO, who, row_id=row_id, at=_now()))
    earlier = (await store.decisions(version.dataset)).get(name)
    applied = undecided(row) if earlier is None or earlier.is_erased else decided(row, earlier)
    await store.replace_rows(version, [applied])
    return applied


def carried(row: Row, standing: Mapping[str, Decision]) -> Row:
    """Give a row as what people decided before about the same content leaves it.

    An edit that no longer fits the row, and one whose text was erased, is passed over.

    Args:
        row: Of a version in the making, or of the active one.
        standing: From `DatasetStore.decisions`.
    """
    if not standing:
        return row
    decision = standing.get(decision_hash(row.content))
    if decision is None or decision.kind not in _APPLIED or decision.is_erased or _is_applied(row, decision):
        return row
    try:
        return decided(row, decision)
    except DatasetError:
        return row


async def carry_decisions(store: DatasetStore, version: Version) -> int:
    """Apply what people decided before to the rows of the active version that teach the same; tell how many changed."""
    standing = await store.decisions(version.dataset)
    if not standing:
        return 0
    changed = [(row, found) async for row in store.rows(version) if (found := carried(row, standing)) is not row]
    for start in range(0, len(changed), _BATCH):
        await store.replace_rows(version, [found for _, found in changed[start : start + _BATCH]])
    return len(changed)


async def open_to_curate(store: DatasetStore, reference: str) -> Version:
    """Find the active version that a reference is about, or open the next one on top of the frozen one it names.

    A version that is opened begins with all rows of its parent, with what people decided since, and with what the
    parent's manifest says of its curation.

    Raises:
        DatasetError: There is no such version; an older one is named, or a frozen one while the next is active.
    """
    named = read_reference(reference)
    versions = await store.versions(named.dataset)
    version = await store.version(reference)
    active = versions[-1] if not versions[-1].is_frozen else None
    if version == active or (named.number is None and active is not None):
        return versions[-1]
    if active is not None:
        raise DatasetError(
            f"{version.label} is frozen, and {active.label} is open on top of it. Name {active.label}, or freeze or "
            f"discard it first (`tracemill datasets freeze {named.dataset}`)."
        )
    if version != versions[-1]:
        raise DatasetError(
            f"{version.label} is not the newest version; curating goes on from {versions[-1].label}. Name that one."
        )
    kept = {name: version.manifest[name] for name in ("curation",) if name in version.manifest}
    opened = await store.open_version(
        named.dataset, birth=Birth.CURATE, manifest={**kept, "parent": version.label, "parent_hash": version.hash}
    )
    await carry_decisions(store, opened)
    return opened


async def queue(store: DatasetStore, version: Version) -> list[Queued]:
    """Give the rows that were chosen for review, in their order, with what was decided already.

    Where none were chosen: those that wait for review, at most 100.
    """
    chosen = (version.manifest.get(REVIEW) or {}).get("rows")
    decisions = await store.decisions(version.dataset)
    if chosen is None:
        return [
            Queued(row, (Why.WAITS,), decisions.get(decision_hash(row.content)))
            async for row in store.rows(version, state=RowState.REVIEW, limit=MAX_QUEUE)
        ]
    found: list[Queued] = []
    for one in chosen:
        known = await store.row(version, one["row_id"])
        if known is not None:
            found.append(Queued(known, tuple(one["why"]), decisions.get(decision_hash(known.content))))
    return found


def precision(queued: Sequence[Queued]) -> Precision:
    """Count what became of the rows that were drawn at random among the kept ones."""
    drawn = [one.decision.kind if one.decision else None for one in queued if Why.RANDOM in one.why]
    return Precision(drawn.count(DecisionKind.ACCEPT), sum(kind in _APPLIED for kind in drawn), len(drawn))


def _is_applied(row: Row, decision: Decision) -> bool:
    return row.end.stage == REVIEW and row.end.detail.get("at") == decision.at


async def _row(store: DatasetStore, version: Version, row_id: str) -> Row:
    # Before anything is noted: a decision cannot be taken out again.
    await store.version(version.label, wants="active")
    row = await store.row(version, row_id)
    if row is None:
        raise DatasetError(f"{version.label} has no row {row_id!r}.")
    return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
