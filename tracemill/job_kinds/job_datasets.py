"""The datasets as a job sees them: what it makes bears its id, so that one that was killed does not make it twice.

Making a version and noting that the job is done are two steps. A process that dies between them finds its version when
it is started again: by its id in the manifest, or in the job's folder where rows were added to a version of others.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from store.data_files import WORK_FILE
from store.datasets.birth import DatasetBirth
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.version import Birth, Version, read_reference
from store.errors import DatasetError
from tracemill.job_kinds.attempt import Attempt

_JOB = "job"


class JobDatasets(EvaluationStore):
    """Datasets, each version that is made here with the id of the job.

    Attributes:
        run_id: Of the job.
        made: Where it is noted which version the job has made.
    """

    run_id = ""
    made = Path()

    async def version_made(self, name: str) -> Version | None:
        """Give the version that an earlier attempt at this job made of a dataset; None where none did."""
        if self.made.exists():
            return await self.version(json.loads(self.made.read_bytes())["version"])
        with suppress(DatasetError):
            for version in await self.versions(read_reference(name).dataset):
                if version.manifest.get(_JOB) == self.run_id:
                    return version
        return None

    async def to_curate(self, reference: str) -> str:
        """Give the reference to work on: the version that an earlier attempt opened on top of the one that is named."""
        opened = await self.version_made(reference)
        return reference if opened is None or opened.is_frozen else opened.label

    async def open_version(
        self, name: str, *, birth: Birth, manifest: Mapping[str, Any], note: str | None = None, add: bool = False
    ) -> Version:
        """Open a version; see `DatasetStore.open_version`."""
        return await super().open_version(name, birth=birth, manifest=self._marked(manifest), note=note, add=add)

    @asynccontextmanager
    async def birth(
        self,
        name: str,
        *,
        birth: Birth,
        manifest: Mapping[str, Any],
        note: str | None = None,
        add: bool = False,
        freeze: bool = False,
    ) -> AsyncIterator[DatasetBirth]:
        """Make a version; see `DatasetStore.birth`."""
        making = super().birth(name, birth=birth, manifest=manifest, note=note, add=add, freeze=freeze)
        async with making as born:
            yield born
            born.manifest = self._marked(born.manifest)
        if born.version is not None:
            self.made.write_text(json.dumps({"version": born.version.label}))

    def _marked(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {**manifest, _JOB: self.run_id}


@asynccontextmanager
async def open_datasets(attempt: Attempt) -> AsyncIterator[JobDatasets]:
    """Open the datasets for one attempt at a job."""
    async with await JobDatasets.open(attempt.data_dir / WORK_FILE) as store:
        store.run_id, store.made = attempt.run_id, attempt.made
        yield store
