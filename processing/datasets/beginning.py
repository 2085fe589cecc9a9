"""What a version that rows are added to begins with, and the note that they were."""

from collections.abc import Mapping
from typing import Final

from store.datasets.dataset_store import DatasetStore
from store.datasets.version import Version, read_reference
from store.recorded.message import Json

ADDED: Final = "added"
"""Where the manifest of a version that was there before holds what made the rows that were added to it."""


async def beginning_of(name: str, store: DatasetStore) -> Version | None:
    """Give the version whose rows a birth that adds begins with: the active one, or the newest frozen one."""
    dataset = read_reference(name).dataset
    if dataset not in [summary.name for summary in await store.datasets()]:
        return None
    versions = await store.versions(dataset)
    active = [version for version in versions if not version.is_frozen]
    return (active or versions)[-1] if versions else None


async def note_addition(
    version: Version, beginning: Version | None, manifest: Mapping[str, Json], store: DatasetStore
) -> Version:
    """Write into the manifest of a version that was active before what made the rows that were added to it."""
    if beginning is None or beginning.id != version.id:
        return version
    added = [*version.manifest.get(ADDED, ()), dict(manifest)]
    await store.set_manifest(version, {**version.manifest, ADDED: added})
    return await store.version(version.label)
