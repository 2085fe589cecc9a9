"""The job description and the configuration that a version was made with, for targets that hand them on."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from processing import config_file, job_description
from processing.errors import InputError
from store.datasets.dataset_store import DatasetStore
from store.datasets.version import Version, label
from store.recorded.message import Json

_TASK_OF_NONE = "question-answering"


class Described(NamedTuple):
    """What a version was made with; None where nothing is known of it."""

    job_description: Mapping[str, Json] | None = None
    config: Mapping[str, Json] | None = None


async def described(
    store: DatasetStore, version: Version, *, job: Path | None = None, config: Path | None = None
) -> Described:
    """Find what a version was made with: as given, else in its manifest or in those of the versions it follows.

    Raises:
        ProcessingError: A given file cannot be read, or no job description is known.
    """
    found = await _of_manifests(store, version)
    if config is not None:
        found = found._replace(config=config_file.load(config).as_manifest())
    if job is not None:
        task = (found.config or {}).get("base", {}).get("task", _TASK_OF_NONE)
        found = found._replace(job_description=job_description.load(job, task=task).model_dump(mode="json"))
    if found.job_description is None:
        raise InputError(
            version.label,
            "was made without a job description, which this format needs. Name one: --job-description FILE",
        )
    return found


async def _of_manifests(store: DatasetStore, version: Version) -> Described:
    found = Described()
    at: Version | None = version
    while at is not None and found.job_description is None:
        job, config = at.manifest.get("job_description"), at.manifest.get("config")
        if isinstance(job, Mapping) and isinstance(job.get("task_description"), str):
            found = Described(job, config if isinstance(config, Mapping) else None)
        parent = at.parent
        at = None if parent is None else await store.version(label(at.dataset, parent))
    return found
