"""What a version that rows are added to begins with, and the note that they were."""

from collections.abc import Mapping
from typing import Final

from processing.datasets.step import ADD, STEPS, with_step
from store.datasets.birth import DatasetBirth
from store.datasets.dataset_store import DatasetStore
from store.datasets.version import Version, read_reference
from store.recorded.message import Json

ADDED: Final = "added"
"""Where the manifest of a version that was there before holds what made the rows that were added to it."""
BEGINS_WITH: Final = "begins_with"
"""Where the manifest tells which frozen version's rows a birth that adds began with."""


async def beginning_of(name: str, store: DatasetStore) -> Version | None:
    """Give the version whose rows a birth that adds begins with: the active one, or the newest frozen one."""
    dataset = read_reference(name).dataset
    if dataset not in [summary.name for summary in await store.datasets()]:
        return None
    versions = await store.versions(dataset)
    active = [version for version in versions if not version.is_frozen]
    return (active or versions)[-1] if versions else None


def begun(manifest: Mapping[str, Json], beginning: Version | None) -> dict[str, Json]:
    """Give the manifest of a birth with the frozen version whose rows it begins with, where there is one."""
    if beginning is None or not beginning.is_frozen:
        return dict(manifest)
    return {**manifest, BEGINS_WITH: {"version": beginning.label, "hash": beginning.hash}}


async def note_addition(born: DatasetBirth, beginning: Version | None, store: DatasetStore) -> Version:
    """Write into the manifest of a version that was active before what made the rows that were added to it."""
    version = born.version
    assert version is not None, "a birth that ended has a version"  # noqa: S101
    if beginning is None or beginning.id != version.id:
        return version
    added = [*version.manifest.get(ADDED, ()), dict(born.manifest)]
    steps = with_step(version.manifest, ADD, decisions=born.decisions)
    await store.set_manifest(version, {**version.manifest, ADDED: added, STEPS: steps})
    return await store.version(version.label)
