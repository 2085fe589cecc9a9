"""What is asked of every contender: the rows of one part of a frozen version, as the version knows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processing.errors import InputError
from processing.evaluation.item import Item, items_of
from processing.job_description import JobDescription
from processing.job_description import parse as parse_description
from store.datasets.dataset_store import DatasetStore
from store.datasets.freezing import learned_set_hash
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Version

TEST, TRAIN, ALL = "test", "train", "all"
_PARTS: dict[str, set[Part | None]] = {
    TEST: {Part.TEST},
    TRAIN: {Part.TRAIN, None},
    ALL: {Part.TEST, Part.TRAIN, None},
}
"""A row that is not split counts as train."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of an evaluation.

    Attributes:
        version: Frozen.
        items: In the order of the rows, and of the answers in each.
        test_hash: Over what the rows teach: those with equal ones ask the same.
        task: `base.task` of the run that made the version; None where no run did.
        description: The job description of that run.
        warnings: What speaks against measuring by these rows.
    """

    version: Version
    items: tuple[Item, ...]
    test_hash: str
    task: str | None
    description: JobDescription | None
    warnings: tuple[str, ...]


async def read_asked(store: DatasetStore, reference: str, part: str, *, expands: bool) -> Asked:
    """Read what is asked.

    Raises:
        DatasetError: There is no such version, or it is active; the message tells how to freeze it.
        InputError: There is no such part, or it has no rows.
    """
    if part not in _PARTS:
        raise InputError("--part", f'is "{part}"; expected {TEST}, {TRAIN} or {ALL}.')
    version = await store.version(reference, wants="frozen")
    rows = [row async for row in store.rows(version, state=RowState.KEPT) if row.part in _PARTS[part]]
    if not rows:
        raise InputError(version.label, _no_rows(version, part))
    manifest = await _made_by(store, version)
    config = manifest.get("config")
    base = config.get("base") if isinstance(config, Mapping) else None
    task = base.get("task") if isinstance(base, Mapping) else None
    return Asked(
        version=version,
        items=tuple(item for row in rows for item in items_of(row, expands=expands)),
        test_hash=_test_hash(version, rows, part),
        task=task if isinstance(task, str) else None,
        description=_description(manifest, version.label),
        warnings=tuple(_warnings(version, part)),
    )


def _no_rows(version: Version, part: str) -> str:
    if version.erased and part == TEST and version.test_hash is not None:
        return "has no test rows any more: all were erased with the traces they were made from."
    there = version.counts.as_json()
    return (
        f"has no rows to ask in part {part} ({there['test']} test, {there['train']} train, {there['unsplit']} not "
        "split). Split it before it is frozen, or take --part all."
    )


def _test_hash(version: Version, rows: list[Row], part: str) -> str:
    """The version's own for its test part, which stays the same when rows are erased; else in the same way."""
    if part == TEST and version.test_hash is not None:
        return version.test_hash
    return (learned_set_hash(sorted(bytes.fromhex(row.learned_hash) for row in rows)) or b"").hex()


async def _made_by(store: DatasetStore, version: Version) -> Mapping[str, Any]:
    """The manifest of the run that made the version, or of the one that made those that it follows; empty for none."""
    before = {one.number: one for one in await store.versions(version.dataset)}
    found: Version | None = version
    while found is not None:
        if isinstance(found.manifest.get("config"), Mapping):
            return found.manifest
        found = None if found.parent is None else before.get(found.parent)
    return {}


def _description(manifest: Mapping[str, Any], label: str) -> JobDescription | None:
    found = manifest.get("job_description")
    if not isinstance(found, Mapping):
        return None
    return parse_description(dict(found), task="", source=f"the job description of {label}")


def _warnings(version: Version, part: str) -> list[str]:
    told = []
    if part != TEST:
        told.append("Rows of train are among those asked: a model that learned from them is not measured by them.")
    if version.erased:
        told.append(f"{version.erased} rows of {version.label} were erased since it was frozen, and are not asked.")
    return told
