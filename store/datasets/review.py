"""Review: what people decide about rows, applied to the open version and carried onto later ones.

Decisions are added and never changed; taking one back is a decision too. What each does to a row, and why it follows
the row from version to version, `store.datasets.decided_row` tells.

Which rows are worth a person's time is chosen elsewhere, where the likeness of texts can be told; the choice stands in
the version's manifest, under `review`, so that everybody is shown the same rows.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from store.datasets.covering import REVIEW, uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import APPLIED, after_undo, carried, decided
from store.datasets.decided_row import decision_hash as decision_hash
from store.datasets.decision import Decision, DecisionKind, standing
from store.datasets.row import Row, RowState
from store.datasets.version import Birth, Version, read_reference
from store.errors import DatasetError

Json = Any
MAX_QUEUE: Final = 100
_BATCH: Final = 500


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


def known_of(row: Row) -> dict[str, Json]:
    """Give what is known of a row that helps to decide: its metadata, and what its birth said in its end."""
    metadata = row.content.get("metadata") or {}
    return {**uncover(row.end).detail, **{name: value for name, value in metadata.items() if value is not None}}


class Wanted(NamedTuple):
    """What somebody wants decided about a row.

    Attributes:
        row_id: The row.
        kind: Accept, edit, reject or skip.
        note: Why, in the person's words.
        messages: Of an edit: all messages of the row, with other answers.
    """

    row_id: str
    kind: DecisionKind
    note: str | None = None
    messages: Sequence[Json] | None = None


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
    """Note a decision about a row of the active version, and apply it; see `decide_all`."""
    (row,) = await decide_all(store, version, [Wanted(row_id, kind, note, messages)], who=who)
    return row


async def decide_all(store: DatasetStore, version: Version, wanted: Sequence[Wanted], *, who: str) -> list[Row]:
    """Note decisions about rows of the active version, and apply them; all of it or, whatever happens, nothing.

    Args:
        store: Holds the version.
        version: The active one.
        wanted: About different rows.
        who: Who decides.

    Returns:
        The rows as they are decided, in the order of the decisions.

    Raises:
        DatasetError: There is no such row, the version is frozen, or an edit cannot be one.
    """
    if not who.strip():
        raise DatasetError("a decision needs to say who made it.")
    rows = [await _row(store, version, one.row_id) for one in wanted]
    decisions = [_decision(version, row, one, who.strip()) for row, one in zip(rows, wanted, strict=True)]
    applied = [decided(row, decision) for row, decision in zip(rows, decisions, strict=True)]
    changed = [new for new, row in zip(applied, rows, strict=True) if new != row]
    await store.apply_decisions(version, decisions, changed)
    return applied


def _decision(version: Version, row: Row, wanted: Wanted, who: str) -> Decision:
    if (wanted.kind is DecisionKind.EDIT) != (wanted.messages is not None):
        raise DatasetError("messages belong to an edit, and an edit needs them.")
    return Decision(
        version.dataset,
        decision_hash(row.content),
        wanted.kind,
        who,
        row_id=wanted.row_id,
        note=wanted.note,
        messages=None if wanted.messages is None else list(wanted.messages),
        at=_now(),
    )


async def undo(store: DatasetStore, version: Version, row_id: str, *, who: str) -> Row:
    """Take back the last decision about a row that still stands; what was decided before it holds again.

    Raises:
        DatasetError: There is no such row, the version is frozen, or nothing was decided about the row.
    """
    row = await _row(store, version, row_id)
    name = decision_hash(row.content)
    log = await store.decision_log(version.dataset)
    if name not in standing(log):
        raise DatasetError(f"nothing was decided about row {row_id} of {version.label} that could be taken back.")
    taken_back = Decision(version.dataset, name, DecisionKind.UNDO, who, row_id=row_id, at=_now())
    applied = after_undo(row, standing([*log, taken_back]).get(name))
    await store.apply_decisions(version, [taken_back], [applied])
    return applied


async def carry_decisions(
    store: DatasetStore, version: Version, decisions: Mapping[str, Decision] | None = None
) -> int:
    """Bring the rows of the active version in line with what people decided; tell how many changed.

    Args:
        store: Holds the version.
        version: The active one.
        decisions: By learned hash; None for those that stand now.
    """
    if decisions is None:
        decisions = await store.decisions(version.dataset)
    changed = [(row, found) async for row in store.rows(version) if (found := carried(row, decisions)) is not row]
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
    log = await store.decision_log(named.dataset)
    manifest = {**kept, "parent": version.label, "parent_hash": version.hash}
    # How many there were, so that a rebuild can apply the same.
    manifest |= {"decisions": len(log)} if log else {}
    opened = await store.open_version(named.dataset, birth=Birth.CURATE, manifest=manifest)
    await carry_decisions(store, opened, standing(log))
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
    return Precision(drawn.count(DecisionKind.ACCEPT), sum(kind in APPLIED for kind in drawn), len(drawn))


async def _row(store: DatasetStore, version: Version, row_id: str) -> Row:
    # Before anything is noted: a decision cannot be taken out again.
    await store.version(version.label, wants="active")
    row = await store.row(version, row_id)
    if row is None:
        raise DatasetError(f"{version.label} has no row {row_id!r}.")
    return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
