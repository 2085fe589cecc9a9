"""Builds clusters: from the traces of a selection to groups with names, facts and ids that stay.

`build_clusters` tells it in order. What comes out depends on the traces, the settings and the build before alone: texts
are sorted by their hashes first, so the order in which traces came in, or are read, changes nothing.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from processing.clusters.agreement_of_runs import agreements_of
from processing.clusters.gathering import Agreement, Gathered, Taken, facts_of, gather, in_order
from processing.clusters.naming import CENTRAL, EDGE, OUTSIDE, Named, Shown, Unnamed, name_clusters
from processing.clusters.terms import TermText, terms_of
from processing.errors import InputError
from processing.progress import Progress, StageProgress, silent
from processing.teachers import Teachers
from store.clusters.cluster import Apart, Build, Cluster, Member
from store.clusters.cluster_store import ClusterStore
from store.filter import parse_filter
from store.forgotten import known_forgotten
from store.recorded.message import Json
from store.traces import TraceReader

if TYPE_CHECKING:
    from processing.clusters.grouping import Grouping, Numbers
    from processing.clusters.matching import Matched
    from processing.clusters.offline_vectors import Vectors

OFFLINE = "offline"
LEAST_TRACES = 10
_IDS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What decides the outcome.

    Attributes:
        where: Filter expression of the traces to group; None for all.
        embedder: `offline`, or the name of a model in the configuration.
        clusters: How many to make; None to find out.
        name_model: Who names them; None for names by terms alone.
        least_traces: A group with fewer is no cluster.
        seed: Of everything that is drawn by chance.
    """

    where: str | None = None
    embedder: str = OFFLINE
    clusters: int | None = None
    name_model: str | None = None
    least_traces: int = LEAST_TRACES
    seed: int = 0


class Built(NamedTuple):
    """What came of it.

    Attributes:
        build: The build, with its counts.
        clusters: Its clusters, the largest first.
        new: Ids given now.
        retired: Ids that no cluster has any more.
        moved: Traces of both builds that are in another cluster now.
        unnamed: Clusters for which the model gave no name.
    """

    build: Build
    clusters: list[Cluster]
    new: tuple[int, ...]
    retired: tuple[int, ...]
    moved: int
    unnamed: int


class _Places(NamedTuple):
    """Where each text belongs: its cluster from 0, the largest first, or why it is in none."""

    clusters: list[int | None]
    apart: list[Apart | None]
    similarity: list[float]
    total: int


async def build_clusters(
    store: ClusterStore,
    reader: TraceReader,
    settings: BuildSettings,
    teachers: Teachers | None = None,
    *,
    progress: Progress = silent,
) -> Built:
    """Group the traces of a selection, and put the clusters in the place of those before.

    Args:
        store: Takes the clusters.
        reader: Of the traces.
        settings: See there.
        teachers: Asked for vectors and names; None where the settings name no model.
        progress: Told how far it is.

    Raises:
        InputError: The package for it is not installed, or the settings cannot be followed.
        FilterError: `where` cannot be understood.
        TeacherError: A model cannot be used.
        BudgetError: Nothing more may be bought; what was bought is kept.
        ClusterError: Somebody else built them meanwhile.
    """
    _check(settings, teachers)
    where = None if settings.where is None else parse_filter(settings.where)
    gathered = await gather(reader, where, lambda done: progress(StageProgress("reading traces", done, done)))
    vectors, has_vector, dimensions = await _vectors(gathered, store, settings, teachers, progress)
    progress(StageProgress("grouping", 0, 1))
    grouping, places = await asyncio.to_thread(_group, gathered, vectors, has_vector, settings)
    before = {member.trace_id: member.cluster for member in await store.members()}
    number, next_id = await store.next_ids()
    matched = await asyncio.to_thread(_match, gathered, places, before, next_id)
    agreements = await agreements_of(store)
    clusters = await asyncio.to_thread(_clusters, gathered, places, matched, number, agreements)
    clusters, unnamed = await _named(clusters, gathered, places, vectors, settings, teachers, progress)
    members = _members(gathered, places, matched.ids)
    built_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    build = Build(
        number,
        built_at,
        {
            **_shown(settings),
            "dimensions": dimensions,
            "near": round(grouping.near, 6),
            "groups": grouping.small_groups,
        },
        _counts(members),
    )
    await store.save_build(build, clusters, members)
    erased = await _erased(reader, gathered)
    if erased:
        await store.forget(erased)
    return Built(build, await store.clusters(), matched.new, matched.retired, matched.moved, unnamed)


async def _erased(reader: TraceReader, gathered: Gathered) -> set[UUID]:
    """Which of the traces were erased while they were grouped; whoever is erased from now on is found in the store."""
    found: set[UUID] = set()
    for start in range(0, len(gathered.traces), _IDS_AT_ONCE):
        ids = [trace.trace_id for trace in gathered.traces[start : start + _IDS_AT_ONCE]]
        found |= await reader.look(partial(known_forgotten, ids=ids))
    return found


def _check(settings: BuildSettings, teachers: Teachers | None) -> None:
    try:
        import sklearn  # noqa: F401 - the extra
    except ImportError as exc:
        raise InputError(
            "clusters", "need scikit-learn, which is not installed: pip install 'tracemill[cluster]'."
        ) from exc
    models = [model for model in (settings.embedder, settings.name_model) if model not in (None, OFFLINE)]
    if models and teachers is None:
        raise InputError("clusters", f"{models[0]} is to be asked, and no models are configured.")
    if teachers is not None:
        teachers.check([model for model in models if model is not None])


async def _vectors(
    gathered: Gathered, store: ClusterStore, settings: BuildSettings, teachers: Teachers | None, progress: Progress
) -> "tuple[Vectors, list[bool], int]":
    """A vector for each text, by its number."""
    from processing.clusters.bought_vectors import BoughtVectors, Said
    from processing.clusters.offline_vectors import offline_vectors

    texts = gathered.texts
    order = in_order(texts)
    if settings.embedder == OFFLINE or teachers is None:
        progress(StageProgress("making vectors", 0, len(texts)))
        found = await asyncio.to_thread(offline_vectors, [texts[number] for number in order], seed=settings.seed)
        has_vector = [True] * len(texts)
    else:
        traces: defaultdict[int, list[UUID]] = defaultdict(list)
        for trace in gathered.traces:
            if trace.text is not None:
                traces[trace.text].append(trace.trace_id)
        said = [Said(texts[number], traces[number]) for number in order]
        bought = BoughtVectors(teachers, store, settings.embedder)

        def tell(done: int) -> None:
            counts = teachers.counts
            calls = (counts.in_flight, counts.paid, counts.cached, counts.failed)
            progress(StageProgress("buying vectors", done, len(texts), *calls))

        found, has_vector = await bought.vectors(said, tell)
    return found, has_vector, found.shape[1]


def _group(
    gathered: Gathered, vectors: "Vectors", has_vector: Sequence[bool], settings: BuildSettings
) -> "tuple[Grouping, _Places]":
    """Group the texts; vectors stand in the order of `in_order`."""
    import numpy as np

    from processing.clusters.grouping import group

    order = in_order(gathered.texts)
    traces = Counter(trace.text for trace in gathered.traces)
    usable = np.flatnonzero(has_vector)
    counts = np.array([traces[order[at]] for at in usable], dtype=np.float32)
    # What is said again and again counts more than once, and does not outweigh all else.
    grouping = group(vectors[usable], np.sqrt(counts), clusters=settings.clusters, seed=settings.seed)
    sizes: Counter[int] = Counter()
    for at, number in zip(usable, grouping.groups, strict=True):
        sizes[int(number)] += traces[order[at]]
    del sizes[-1]
    large = [number for number, size in sizes.items() if size >= settings.least_traces]
    # Groups are numbered by their first text in the order of hashes: that decides between equals.
    ranks = {number: rank for rank, number in enumerate(sorted(large, key=lambda number: (-sizes[number], number)))}
    places = _Places([None] * len(order), [Apart.NO_VECTOR] * len(order), [0.0] * len(order), len(ranks))
    for at, number, similarity in zip(usable, grouping.groups, grouping.similarity, strict=True):
        text = order[at]
        places.clusters[text] = ranks.get(int(number))
        places.apart[text] = None if number in ranks else Apart.FAR if number < 0 else Apart.SMALL
        places.similarity[text] = round(float(similarity), 4) if number in ranks else 0.0
    return grouping, places


def _match(gathered: Gathered, places: _Places, before: Mapping[UUID, int | None], next_id: int) -> "Matched":
    from processing.clusters.matching import match

    now = {trace.trace_id: None if trace.text is None else places.clusters[trace.text] for trace in gathered.traces}
    return match(before, now, places.total, next_id)


def _clusters(
    gathered: Gathered, places: _Places, matched: "Matched", number: int, agreements: Mapping[UUID, Agreement]
) -> list[Cluster]:
    texts = gathered.texts
    traces: list[list[Taken]] = [[] for _ in range(places.total)]
    counts: Counter[int] = Counter()
    for trace in gathered.traces:
        if trace.text is not None and (cluster := places.clusters[trace.text]) is not None:
            traces[cluster].append(trace)
            counts[trace.text] += 1
    said: list[list[TermText]] = [[] for _ in range(places.total)]
    for text in in_order(texts):
        if (cluster := places.clusters[text]) is not None:
            said[cluster].append(TermText(texts[text], counts[text]))
    terms = terms_of(said)
    return [
        Cluster(
            id=matched.ids[at],
            # Of one that was there before, the store keeps the build that found it first.
            first_build=number,
            last_build=number,
            terms=terms[at],
            facts=facts_of(traces[at], len(gathered.traces), agreements),
        )
        for at in range(places.total)
    ]


async def _named(
    clusters: Sequence[Cluster],
    gathered: Gathered,
    places: _Places,
    vectors: "Vectors",
    settings: BuildSettings,
    teachers: Teachers | None,
    progress: Progress,
) -> tuple[list[Cluster], int]:
    """Have the clusters named by a model, when one is to."""
    if settings.name_model is None or teachers is None:
        return list(clusters), 0
    progress(StageProgress("naming", 0, len(clusters)))
    shown = await asyncio.to_thread(_shown_texts, clusters, gathered, places, vectors)
    names: list[Named] = await name_clusters(shown, teachers, settings.name_model)
    named = [
        replace(cluster, model_name=name.name, description=name.description, named_from=texts.trace_ids)
        for cluster, name, texts in zip(clusters, names, shown, strict=True)
    ]
    return named, sum(name.name is None for name in names)


def _shown_texts(clusters: Sequence[Cluster], gathered: Gathered, places: _Places, vectors: "Vectors") -> list[Unnamed]:
    """Choose the texts that tell a cluster: its middle, its edge, and what lies just outside."""
    import numpy as np

    texts, order = gathered.texts, in_order(gathered.texts)
    firsts: dict[int, UUID] = {}
    for trace in gathered.traces:
        if trace.text is not None:
            firsts[trace.text] = min(trace.trace_id, firsts.get(trace.text, trace.trace_id))
    places_in_order = np.array([-1 if places.clusters[text] is None else places.clusters[text] for text in order])
    similarity = np.array([places.similarity[text] for text in order])
    found = []
    for at, cluster in enumerate(clusters):
        inside = np.flatnonzero(places_in_order == at)
        inside = inside[np.argsort(-similarity[inside], kind="stable")]
        middle = vectors[inside].mean(axis=0)
        nearness = np.where(places_in_order == at, -np.inf, vectors @ middle)
        outside = np.argsort(-nearness, kind="stable")[:OUTSIDE]
        outside = outside[np.isfinite(nearness[outside])]

        def shown(numbers: "Numbers") -> list[Shown]:
            return [Shown(texts[order[number]], firsts[order[number]]) for number in numbers.tolist()]

        found.append(
            Unnamed(
                [term.text for term in cluster.terms],
                shown(inside[:CENTRAL]),
                shown(inside[CENTRAL:][-EDGE:]),
                shown(outside),
            )
        )
    return found


def _members(gathered: Gathered, places: _Places, ids: Sequence[int]) -> list[Member]:
    members = []
    for trace in gathered.traces:
        if trace.text is None:
            members.append(Member(trace.trace_id, None, trace.apart))
            continue
        cluster = places.clusters[trace.text]
        id_ = None if cluster is None else ids[cluster]
        members.append(Member(trace.trace_id, id_, places.apart[trace.text], places.similarity[trace.text]))
    return members


def _counts(members: Sequence[Member]) -> dict[str, Json]:
    apart = Counter(str(member.reason) for member in members if member.cluster is None)
    return {
        "traces": len(members),
        "clustered": len(members) - sum(apart.values()),
        "unclustered": dict(sorted(apart.items())),
    }


def _shown(settings: BuildSettings) -> dict[str, Json]:
    return {
        "where": settings.where,
        "embedder": settings.embedder,
        "k": "auto" if settings.clusters is None else settings.clusters,
        "name_model": settings.name_model,
        "least_traces": settings.least_traces,
        "seed": settings.seed,
    }
