"""Makes a dataset of clusters: the calls of their members as rows, with the answers as they were recorded.

`processing.clusters.member_rows` tells what a row is. Which traces were taken is kept, in their order, so that
the version can be derived again when the clusters have changed.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from uuid import UUID

from processing.clusters.member_rows import STAGE, MemberRows
from processing.clusters.member_rows import PromoteReason as PromoteReason
from processing.datasets.beginning import beginning_of, begun, note_addition
from processing.datasets.kept_source import keep_members
from processing.errors import InputError
from processing.progress import Progress, StageProgress, silent
from store.clusters.cluster import Cluster, Member
from store.clusters.cluster_store import ClusterStore
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from store.errors import DatasetError
from store.filter import parse_filter
from store.recorded.message import Json
from store.traces import TraceReader

_TRACES_AT_ONCE = 200
_Add = Callable[[Sequence[Row]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class PromoteSettings:
    """What is made into which dataset.

    Attributes:
        clusters: Their ids.
        name: Of the dataset; `NAME-v1` insists that this will be its version 1.
        where: Filter expression that members have to fulfil as well; None for all.
        rows: At most so many kept rows, of those nearest the middle; None for all.
        pick: Ids of members to take, in place of all.
        exclude: Ids of members to leave out.
        add: Add to the active version, or to the rows of the newest frozen one.
        note: A few words that lists show.
    """

    clusters: tuple[int, ...]
    name: str
    where: str | None = None
    rows: int | None = None
    pick: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    add: bool = False
    note: str | None = None


@dataclass(slots=True)
class Promoted:
    """What became of it.

    Attributes:
        version: The version that was made.
        clusters: Those it was made of.
        traces: Members that were looked at.
        ends: Rows by state and reason; a trace with several replies has several.
        missing: Members that are no longer in the store.
        warnings: What speaks against it.
    """

    clusters: Sequence[Cluster] = ()
    version: Version | None = None
    traces: int = 0
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    missing: list[UUID] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def gone(self) -> int:
        """Members that are no longer in the store."""
        return len(self.missing)

    @property
    def kept(self) -> int:
        """Rows that may be learned from."""
        return sum(count for (state, _), count in self.ends.items() if state == RowState.KEPT)

    def as_json(self) -> dict[str, Json]:
        """What the manifest and `--json` hold."""
        states = Counter[str]()
        for (state, _), count in self.ends.items():
            states[state] += count
        reasons = {f"{state}:{reason}": count for (state, reason), count in sorted(self.ends.items())}
        return {"traces": self.traces, "gone": self.gone, **states, "reasons": reasons}


async def promote_clusters(
    datasets: DatasetStore,
    store: ClusterStore,
    reader: TraceReader,
    settings: PromoteSettings,
    *,
    progress: Progress = silent,
) -> Promoted:
    """Make an active version of clusters.

    Args:
        datasets: Takes the version.
        store: Has the clusters.
        reader: Has their traces.
        settings: See there.
        progress: Told how far it is.

    Raises:
        ClusterError: There is no such cluster.
        InputError: It is retired, an id that was picked is none of its members, or nothing would be kept.
        FilterError: `where` cannot be understood.
        DatasetError: The version cannot be made.
    """
    clusters = [await store.cluster(id_) for id_ in dict.fromkeys(settings.clusters)]
    members = await _wanted(clusters, store, settings)
    build = await store.last_build()
    manifest: dict[str, Json] = {
        # Not their names: these are words of calls, an erasure takes them, and a frozen manifest never changes.
        "clusters": [{"id": cluster.id} for cluster in clusters],
        "build": None if build is None else {"number": build.number, **build.settings},
        "selection": {
            "where": settings.where,
            "rows": settings.rows,
            "pick": list(settings.pick),
            "exclude": list(settings.exclude),
        },
    }
    promoted = await promote_members(datasets, reader, settings, members, manifest, progress=progress)
    promoted.clusters = clusters
    promoted.warnings = [*_warnings(clusters), *promoted.warnings]
    return promoted


async def promote_members(
    datasets: DatasetStore,
    reader: TraceReader,
    settings: PromoteSettings,
    members: Sequence[Member],
    manifest: Mapping[str, Json],
    *,
    progress: Progress = silent,
) -> Promoted:
    """Make an active version of members of clusters, in their order.

    Args:
        datasets: Takes the version.
        reader: Has the traces.
        settings: `clusters`, `pick` and `exclude` are not looked at any more.
        members: Those that are wanted.
        manifest: What made the version, what became of the members apart.
        progress: Told how far it is.

    Raises:
        InputError: Nothing would be kept.
        DatasetError: The version cannot be made.
    """
    promoted = Promoted()
    taking = MemberRows(settings.rows)
    beginning = await beginning_of(settings.name, datasets) if settings.add else None
    if beginning is not None:
        await taking.know(beginning, datasets)
    manifest = begun(manifest, beginning)
    async with datasets.birth(
        settings.name, birth=Birth.CLUSTERS, manifest=manifest, note=settings.note, add=settings.add
    ) as born:
        for start in range(0, len(members), _TRACES_AT_ONCE):
            batch = members[start : start + _TRACES_AT_ONCE]
            rows = [row async for row in taking.rows(batch, reader, settings.where)]
            await _store(rows, born.add_rows, promoted)
            promoted.traces, promoted.missing = len(taking.taken), taking.missing
            progress(StageProgress(STAGE, min(start + _TRACES_AT_ONCE, len(members)), len(members)))
            if taking.is_full:
                break
        if not promoted.kept:
            raise InputError(settings.name, f"would have no row: {_told(promoted)}. Nothing was written.")
        kept = keep_members(taking.taken, datasets.folder)
        born.manifest = {**manifest, "members": kept, "promotion": promoted.as_json()}
    promoted.version = await note_addition(born, beginning, datasets)
    promoted.warnings = await datasets.warnings(promoted.version)
    return promoted


async def _wanted(clusters: Sequence[Cluster], store: ClusterStore, settings: PromoteSettings) -> list[Member]:
    """The members to look at, those nearest the middle of their cluster first."""
    for cluster in clusters:
        if cluster.is_retired:
            raise InputError(
                f"cluster {cluster.id}", "is no more: the last build did not find it. See `clusters list`."
            )
    found = [member for cluster in clusters for member in await store.members(cluster.id)]
    ids = {str(member.trace_id) for member in found}
    named = [*settings.pick, *settings.exclude]
    unknown = next((text for text in named if str(_uuid(text)) not in ids), None)
    if unknown is not None:
        raise InputError(
            f"trace {unknown}", "is in none of these clusters. `tracemill clusters show ID` lists members."
        )
    picked, excluded = {_uuid(text) for text in settings.pick}, {_uuid(text) for text in settings.exclude}
    if settings.where is not None:
        parse_filter(settings.where)
    wanted = [
        member for member in found if (not picked or member.trace_id in picked) and member.trace_id not in excluded
    ]
    return sorted(wanted, key=lambda member: (-member.similarity, member.trace_id))


async def _store(rows: Sequence[Row], add: _Add, promoted: Promoted) -> None:
    """Store a batch; what the store does not take fails alone."""
    try:
        await add(rows)
    except DatasetError:
        for row in rows:
            promoted.ends[await _store_one(row, add)] += 1
    else:
        promoted.ends.update((str(row.end.state), str(row.end.reason)) for row in rows)


async def _store_one(row: Row, add: _Add) -> tuple[str, str]:
    try:
        await add([row])
    except DatasetError as exc:
        end = RowEnd(RowState.FAILED, STAGE, PromoteReason.NOT_STORED, {"problem": str(exc)})
        content = {
            "row_id": f"failed-{blake2b(row.row_id.encode(), digest_size=8).hexdigest()}",
            "messages": [],
            "metadata": {},
        }
        await add([Row(content, None, end)])
        return str(end.state), str(end.reason)
    return str(row.end.state), str(row.end.reason)


def _warnings(clusters: Sequence[Cluster]) -> list[str]:
    return [
        f"cluster {cluster.id} holds calls of {cluster.facts.applications} applications, as their system prompts tell: "
        "asked alike, they may have to answer differently. --where takes a part of them."
        for cluster in clusters
        if cluster.facts.applications > 1
    ]


def _told(promoted: Promoted) -> str:
    counted = ", ".join(f"{count} {reason}" for (_, reason), count in promoted.ends.most_common())
    gone = f"{promoted.gone} traces are gone" if promoted.gone else ""
    return "; ".join(part for part in (counted, gone) if part) or "no trace was selected"


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
