"""Clusters, as the admin side gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Given, Id, JsonObject, Time
from store.clusters.cluster import Apart


class ClusterTerm(Given):
    """A word, or two in a row, that tells a cluster from the others."""

    text: str
    members: Annotated[int, Field(ge=0, description="Traces of the cluster that have it.")]
    is_named: Annotated[bool, Field(description="Whether it is part of the cluster's name.")]


class ModelShare(Given):
    """How many traces of a cluster a model served."""

    name: str
    traces: int


class ClusterFacts(Given):
    """What was counted of a cluster's traces when it was built."""

    traces: int
    share: Annotated[float, Field(description="Of all traces that were looked at.")]
    texts: Annotated[int, Field(description="Different texts that users began with.")]
    duplicates: int
    errors: Annotated[int, Field(description="Traces that did not complete.")]
    models: Annotated[list[ModelShare], Field(description="The most frequent first.")]
    cost_usd: Annotated[float | None, Field(description="Sum of the known costs; null when none is known.")]
    without_cost: int
    agreement: Annotated[float | None, Field(description="Mean agreement of committees on rows made of these traces.")]
    agreement_rows: int
    first_at: str | None
    last_at: str | None


class Cluster(Given):
    """A group of traces whose users want the same."""

    id: Annotated[int, Field(description="Given once, never again.")]
    name: Annotated[str, Field(description="As a model calls it where one was asked, else made of its own words.")]
    description: str | None
    terms: list[ClusterTerm]
    facts: ClusterFacts
    erased: Annotated[int, Field(ge=0, description="Traces that were erased since.")]
    is_retired: Annotated[bool, Field(description="A later build did not find it any more.")]
    first_build: int
    last_build: int


class ClusterMember(Given):
    """A trace of a cluster."""

    trace_id: Id
    similarity: Annotated[float, Field(description="To the middle of the cluster.")]


class WholeCluster(Cluster):
    """A cluster with traces of it."""

    members: Annotated[list[ClusterMember], Field(description="Those nearest its middle first, at most `limit`.")]


class ClusterBuild(Given):
    """One time that traces were grouped."""

    number: int
    built_at: Time
    settings: JsonObject
    counts: Annotated[
        JsonObject, Field(description=f"Traces, clustered ones, and those in none by reason: {', '.join(Apart)}.")
    ]


class ClusterList(Given):
    """The clusters of the last build, the largest first."""

    data: list[Cluster]
    build: Annotated[ClusterBuild | None, Field(description="Null before the first.")]
