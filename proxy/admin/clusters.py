"""Clusters: the groups that the last build found; docs/clusters.md tells the whole. Building is a job."""

from dataclasses import asdict

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import LIMIT, flag
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.clusters.cluster import Build, Cluster
from store.clusters.cluster_store import ClusterStore
from store.data_files import WORK_FILE
from store.errors import ClusterError, DatabaseMissingError
from store.json_text import JsonValue

_WITH_RETIRED = flag("with_retired", "`true`: those that a later build did not find any more, too.")


async def _list(context: Context, asked: Asked) -> Response:
    try:
        async with await ClusterStore.open_to_read(context.data_dir / WORK_FILE) as store:
            build, found = await store.last_build(), await store.clusters(with_retired=asked[_WITH_RETIRED])
    except DatabaseMissingError:
        build, found = None, []
    data = [_cluster_json(cluster) for cluster in found]
    return json_answer(json_text.dumps({"data": data, "build": None if build is None else _build_json(build)}))


async def _get(context: Context, asked: Asked) -> Response:
    given = asked.path("id")
    try:
        if not (given.isascii() and given.isdigit() and len(given) < 18):
            raise ClusterError(f"{given[:40]!r} is no id of a cluster.")
        async with await ClusterStore.open_to_read(context.data_dir / WORK_FILE) as store:
            found = await store.cluster(int(given))
            members = await store.members(found.id, limit=asked[LIMIT])
    except (ClusterError, DatabaseMissingError) as exc:
        raise AdminRefusal(Code.NOT_FOUND, f"There is no cluster {given[:40]!r}.") from exc
    shown = [{"trace_id": str(member.trace_id), "similarity": member.similarity} for member in members]
    return json_answer(json_text.dumps({**_cluster_json(found), "members": shown}))


def _cluster_json(cluster: Cluster) -> dict[str, JsonValue]:
    facts = {**asdict(cluster.facts), "models": [one._asdict() for one in cluster.facts.models]}
    return {
        "id": cluster.id,
        "name": cluster.name,
        "description": cluster.description,
        "terms": [term._asdict() for term in cluster.terms],
        "facts": facts,
        "erased": cluster.erased,
        "is_retired": cluster.is_retired,
        "first_build": cluster.first_build,
        "last_build": cluster.last_build,
    }


def _build_json(build: Build) -> dict[str, JsonValue]:
    return {
        "number": build.number,
        "built_at": build.built_at,
        "settings": dict(build.settings),
        "counts": dict(build.counts),
    }


OPERATIONS = (
    Operation(
        name="list_clusters",
        method="GET",
        path="/admin/api/clusters",
        summary="Lists the [clusters](clusters.md) of the last build, the largest first.",
        handler=_list,
        good=Good("The clusters.", "cluster.ClusterList"),
        parameters=(_WITH_RETIRED,),
        tag="clusters",
    ),
    Operation(
        name="get_cluster",
        method="GET",
        path="/admin/api/clusters/{id}",
        summary="Gives one cluster with the traces nearest its middle.",
        handler=_get,
        good=Good("The cluster.", "cluster.WholeCluster"),
        parameters=(LIMIT,),
        path_parts=(("id", "The cluster's id."),),
        errors=(Code.NOT_FOUND,),
        tag="clusters",
    ),
)
