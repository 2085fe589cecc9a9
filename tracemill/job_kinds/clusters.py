"""Jobs of the kinds `clusters` and `promote`: traces are grouped, and groups become versions."""

import asyncio
from collections.abc import Mapping

from processing.clusters.build import OFFLINE, BuildSettings, build_clusters
from processing.clusters.promotion import PromoteSettings, promote_clusters
from store.call import Call, insertion
from store.clusters.cluster_store import ClusterStore, vector_insertion
from store.data_files import TRACES_FILE, WORK_FILE
from store.filed_job import bought
from store.traces import TraceReader
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about
from tracemill.job_kinds.job_datasets import open_datasets


class CountedClusters(ClusterStore):
    """Clusters whose vectors are bought by a job, which counts them."""

    run_id = ""

    async def add_vectors(self, vectors: Mapping[bytes, bytes], call: Call) -> None:
        """Commit what a call gave, and count the call in the same transaction."""
        await self._commit_together(insertion(call), vector_insertion(vectors), bought(self.run_id, call))


def _settings(asked: Asked) -> BuildSettings:
    request = asked.request
    names = ("where", "clusters", "name_model", "least_traces")
    given = {name: request[name] for name in names if request.get(name) is not None}
    return BuildSettings(embedder=request["embedder"], seed=request["seed"], **given)


def _models(settings: BuildSettings) -> list[str]:
    named = [] if settings.embedder == OFFLINE else [settings.embedder]
    return named if settings.name_model is None else [*named, settings.name_model]


def _check_build(asked: Asked) -> None:
    asked.check_models(_models(_settings(asked)))


async def _run_build(attempt: Attempt) -> Done:
    settings = _settings(attempt)
    async with (
        await CountedClusters.open(attempt.data_dir / WORK_FILE) as store,
        await TraceReader.open(attempt.data_dir / TRACES_FILE) as reader,
        attempt.teachers() as (teachers, progress),
    ):
        store.run_id = attempt.run_id
        asked = teachers if _models(settings) else None
        built = await build_clusters(store, reader, settings, asked, progress=progress)
    result = {
        "build": built.build.number,
        **built.build.counts,
        "clusters": len(built.clusters),
        "new": list(built.new),
        "retired": list(built.retired),
        "moved": built.moved,
        "unnamed": built.unnamed,
    }
    return Done(result)


def _check_promote(asked: Asked) -> None:
    with about("clusters"):
        asyncio.run(_find_clusters(asked))
    asked.check_birth(add=asked.request["add"])


async def _find_clusters(asked: Asked) -> None:
    async with await ClusterStore.open_to_read(asked.data_dir / WORK_FILE) as store:
        for id_ in asked.request["clusters"]:
            await store.cluster(id_)


async def _run_promote(attempt: Attempt) -> Done:
    request = attempt.request
    settings = PromoteSettings(
        clusters=tuple(request["clusters"]),
        name=request["dataset"],
        where=request.get("where"),
        rows=request.get("rows"),
        pick=tuple(request["pick"]),
        exclude=tuple(request["exclude"]),
        add=request["add"],
        note=request.get("note"),
    )
    async with open_datasets(attempt) as datasets:
        made = await datasets.version_made(settings.name)
        if made is not None:
            return Done({"version": made.label})
        async with (
            await ClusterStore.open(attempt.data_dir / WORK_FILE) as store,
            await TraceReader.open(attempt.data_dir / TRACES_FILE) as reader,
        ):
            promoted = await promote_clusters(datasets, store, reader, settings, progress=attempt.progress)
    assert promoted.version is not None, "a promotion that ended has made a version"  # noqa: S101
    return Done({"version": promoted.version.label, **promoted.as_json()}, promoted.warnings)


CLUSTERS = KindOfWork(_check_build, _run_build)
PROMOTE = KindOfWork(_check_promote, _run_promote)
