"""Clusters of traces."""

from proxy.admin.shapes.cluster import Cluster, ClusterList, WholeCluster
from tracemill.client.call import API, Asked, Call, as_shape


def clusters(*, with_retired: bool = False) -> Call[list[Cluster]]:
    """Give the clusters of the last build, the largest first.

    Args:
        with_retired: Whether those are given, too, that a later build did not find any more.
    """
    read = as_shape(ClusterList)
    asked = Asked("list_clusters", "GET", f"{API}/clusters", {"with_retired": with_retired})
    return Call(asked, lambda body: read(body).data)


def cluster(id: int, *, limit: int | None = None) -> Call[WholeCluster]:  # noqa: A002
    """Give one cluster with the traces nearest its middle.

    Args:
        id: The cluster's id.
        limit: Most traces, up to 500; None for 50.
    """
    return Call(Asked("get_cluster", "GET", f"{API}/clusters/{id}", {"limit": limit}), as_shape(WholeCluster))
