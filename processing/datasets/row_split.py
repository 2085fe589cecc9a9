"""Sharing out the rows of the active version between train and test.

What stays together: rows of one conversation, and rows whose prompts are near duplicates. Three ways to say how much:

- *A share*: a group's side depends on the hash of the seed and the group's name alone (`processing.split`), so it never
  moves when rows are added, and another version with the same rows is split alike.
- *A number*: test takes whole groups in the order of the same hash until it has so many conversations with kept rows.
  Groups that stand in test already stay there, so a test set of fixed size does not change when rows are added; which
  groups these are depends on what was there when it was drawn.
- *Nothing*, where rows have parts already: only rows without a part get one, that of their group, else train. So rows
  that a person accepted join the version without moving any other, and never stand in train beside their test twins.

Parts are given to all rows that teach something, also to those that are dropped now: one that comes back is on the side
where it was. Leakage is measured on the kept rows of the finished parts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from processing.datasets.curation import BATCH, set_curation, settle_decisions
from processing.datasets.row_form import RowFormError, example_of
from processing.datasets.step import CURATION
from processing.dedup import group_conversations
from processing.disjoint_sets import DisjointSets
from processing.errors import SplitError
from processing.example import Conversation, Example
from processing.split import Leakage, measure_leakage, position_of, split
from processing.split import Part as Side
from store.datasets.dataset_store import DatasetStore
from store.datasets.review import open_to_curate
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Version

Json = Any
SPLIT: Final = "split"
DEFAULT_SEED: Final = 123
_ALL: Final = 10**9
"""More conversations than any dataset has: the share is exact to nine digits, and nothing is left over."""


@dataclass(frozen=True, slots=True)
class SplitRows:
    """What a split came to.

    Attributes:
        version: The active version, with its new counts.
        rows: Kept rows by part.
        conversations: Conversations with kept rows by part.
        groups: Groups of kept rows by part.
        moved: Kept rows that had a part and have another now.
        leakage: Measured on the kept rows.
        without_part: Kept rows that stay as they are: left over by an earlier split, or not readable.
    """

    version: Version
    rows: Mapping[str, int]
    conversations: Mapping[str, int]
    groups: Mapping[str, int]
    moved: int
    leakage: Leakage
    without_part: int

    def as_json(self) -> dict[str, Json]:
        """For `--json` and reports of jobs."""
        return {
            "version": self.version.label,
            "rows": dict(self.rows),
            "conversations": dict(self.conversations),
            "groups": dict(self.groups),
            "moved": self.moved,
            "leakage": asdict(self.leakage),
            "without_part": self.without_part,
        }


async def split_rows(
    store: DatasetStore,
    reference: str,
    *,
    test_fraction: float | None = None,
    test: int | None = None,
    seed: int | None = DEFAULT_SEED,
) -> SplitRows:
    """Share out the rows of the active version; see the module for what a share and a number mean.

    Args:
        store: Holds the dataset.
        reference: The active version, or a frozen one on top of which the next is opened.
        test_fraction: Share of the groups that go to test, in (0, 1).
        test: Conversations for test, in place of the share; neither leaves rows that have a part where they are.
        seed: Part of every hash.

    Raises:
        SplitError: Both are given, or one that leaves a part empty; or neither, and no row has a part.
    """
    wanted = _Wanted(test_fraction, test, seed)
    if wanted.is_nothing:
        counts = (await store.version(reference)).counts
        if not counts.train + counts.test:
            raise SplitError("no row has a part yet. Say how much goes to test: --test-fraction or --test.")
    version = await open_to_curate(store, reference)
    known = len(await store.decision_log(version.dataset))
    examples, places = await _read(store, version)
    parts = _share_out(examples, places, wanted)
    await _write(store, version, {name: part for name, part in parts.items() if places[name].part is not part}, places)
    await settle_decisions(store, version, known)
    kept = [one for one in examples if places[one.id].state is RowState.KEPT]
    leakage = measure_leakage(*([one for one in kept if parts[one.id] is part] for part in (Part.TRAIN, Part.TEST)))
    settings = {**wanted.settings(version), "leakage": asdict(leakage)}
    version = await set_curation(store, version, SPLIT, settings, decisions=known, is_continued=wanted.is_nothing)
    version = await store.version(version.label)
    return SplitRows(
        version=version,
        rows=_counted(parts[one.id] for one in kept),
        conversations=_counted(parts[name] for name in {one.conversation_id: one.id for one in kept}.values()),
        groups=_counted(part for _, part in {(one.group, parts[one.id]) for one in kept}),
        moved=sum(places[one.id].part not in (None, parts[one.id]) for one in kept),
        leakage=leakage,
        without_part=version.counts.kept - len(kept),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How much goes to test: a share, a number, or nothing where rows have parts."""

    share: float | None
    number: int | None
    seed: int | None

    def __post_init__(self) -> None:
        share, number = self.share, self.number
        if share is not None and number is not None:
            raise SplitError("give one of --test-fraction and --test: how much goes to test.")
        if share is not None and not 0 < share < 1:
            raise SplitError(f"--test-fraction {share:g} leaves a part empty; expected a share between 0 and 1.")
        if number is not None and number < 1:
            raise SplitError(f"--test {number} leaves test empty; expected a number of conversations from 1.")

    @property
    def is_nothing(self) -> bool:
        return self.share is None and self.number is None

    def settings(self, version: Version) -> dict[str, Json]:
        """What the manifest keeps: of a split that only fills up, the settings of the one that it continues."""
        if self.is_nothing:
            return dict((version.manifest.get(CURATION) or {}).get(SPLIT) or {})
        return {"seed": self.seed, "test_fraction": self.share, "test": self.number}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row stands, and whether its metadata say so too."""

    state: RowState
    part: Part | None
    is_named: bool


async def _read(store: DatasetStore, version: Version) -> tuple[list[Example], dict[str, _Place]]:
    """Read the rows that may be shared out, each in its group."""
    examples: list[Example] = []
    places: dict[str, _Place] = {}
    named: dict[str, str] = {}
    async for row in store.rows(version):
        if row.part is Part.UNSTRUCTURED or (example := _example(row)) is None:
            continue
        examples.append(example)
        metadata = row.content.get("metadata") or {}
        places[row.row_id] = _Place(row.end.state, row.part, "split" in metadata)
        # What a run grouped stays together, whatever became of the texts since.
        named[row.row_id] = str(metadata.get("group") or "")
    groups = _groups(examples, named)
    return [replace(one, group=groups[one.id]) for one in examples], places


def _example(row: Row) -> Example | None:
    try:
        return example_of(row.content)
    except RowFormError:
        return None


def _groups(examples: Sequence[Example], named: Mapping[str, str]) -> dict[str, str]:
    """Join conversations, near duplicates and groups of earlier; a group is named after its smallest opening."""
    found = group_conversations(
        Conversation(one.id, one.messages, one.conversation_id, one.source, one.tools, one.response_format)
        for one in examples
    )
    union: DisjointSets[str] = DisjointSets()
    for row_id, group in found.items():
        union.join(f"row:{row_id}", f"found:{group}")
        if named[row_id]:
            union.join(f"row:{row_id}", f"named:{named[row_id]}")
    names: dict[str, str] = {}
    for row_id, group in found.items():
        root = union.find(f"row:{row_id}")
        names[root] = min(names.get(root, group), group)
    return {row_id: names[union.find(f"row:{row_id}")] for row_id in found}


def _share_out(examples: Sequence[Example], places: Mapping[str, _Place], wanted: _Wanted) -> dict[str, Part]:
    """Give each row the part of its group, or leave it where it is when nothing is wanted."""
    if wanted.share is not None:
        sides = _by_share(examples, wanted.share, wanted.seed)
    elif wanted.number is not None:
        sides = _by_number(examples, places, wanted.number, wanted.seed)
    else:
        sides = _by_parts(examples, places)
        return {one.id: places[one.id].part or sides[one.group] for one in examples}
    return {one.id: sides[one.group] for one in examples}


def _by_share(examples: Sequence[Example], share: float, seed: int | None) -> dict[str, Part]:
    wanted = min(max(round(share * _ALL), 1), _ALL - 1)
    found = split(examples, train=_ALL - wanted, test=wanted, seed=seed)
    sides = {Side.TRAIN: found.train, Side.TEST: found.test}
    return {one.group: Part(side) for side, members in sides.items() for one in members}


def _by_number(
    examples: Sequence[Example], places: Mapping[str, _Place], wanted: int, seed: int | None
) -> dict[str, Part]:
    kept = [one for one in examples if places[one.id].state is RowState.KEPT]
    conversations: dict[str, set[str]] = defaultdict(set)
    for one in kept:
        conversations[one.group].add(one.conversation_id)
    in_test = {one.group for one in kept if places[one.id].part is Part.TEST}
    order = sorted(conversations, key=lambda group: (group not in in_test, position_of(group, seed), group))
    chosen: set[str] = set()
    taken = 0
    for group in order:
        if taken >= wanted or len(chosen) == len(order) - 1:
            break
        chosen.add(group)
        taken += len(conversations[group])
    return {one.group: Part.TEST if one.group in chosen else Part.TRAIN for one in examples}


def _by_parts(examples: Sequence[Example], places: Mapping[str, _Place]) -> dict[str, Part]:
    in_test = {one.group for one in examples if places[one.id].part is Part.TEST}
    return {one.group: Part.TEST if one.group in in_test else Part.TRAIN for one in examples}


async def _write(
    store: DatasetStore, version: Version, parts: Mapping[str, Part], places: Mapping[str, _Place]
) -> None:
    """Set parts; a row whose metadata name its part is written anew, so that they say the same."""
    plain = sorted(name for name in parts if not places[name].is_named)
    for start in range(0, len(plain), BATCH):
        await store.set_parts(version, {name: parts[name] for name in plain[start : start + BATCH]})
    rewritten: list[Row] = []
    for name in sorted(name for name in parts if places[name].is_named):
        row = await store.row(version, name)
        if row is not None:
            metadata = {**row.content["metadata"], "split": str(parts[name])}
            rewritten.append(replace(row, content={**row.content, "metadata": metadata}, part=parts[name]))
        if len(rewritten) == BATCH:
            await store.replace_rows(version, rewritten)
            rewritten = []
    await store.replace_rows(version, rewritten)


def _counted(parts: Iterable[Part]) -> dict[str, int]:
    counts = Counter(str(part) for part in parts)
    return {str(part): counts[str(part)] for part in (Part.TRAIN, Part.TEST)}
