"""Makes a dataset of clusters: the calls of their members as rows, with the answers as they were recorded.

A row is one call: what was asked, all that went before included, and its answer as the one thing to learn. What cannot
be learned from ends with its reason, by the same rules as in a run. Every call that opens with the same words has the
same `group`, so a split never parts a conversation, nor two askings of one question.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final
from uuid import UUID

from processing.clusters.intent import intent_of, read_message
from processing.convert import skip_reason
from processing.datasets.beginning import beginning_of, begun, note_addition
from processing.datasets.kept_source import keep_members
from processing.datasets.row_form import RowFormError, row_of
from processing.datasets.upload import taught_key
from processing.errors import InputError
from processing.example import Conversation
from processing.progress import Progress, StageProgress, silent
from processing.stored_call import read_trace
from store import json_text
from store.clusters.cluster import Cluster, Member
from store.clusters.cluster_store import ClusterStore
from store.clusters.opening import openings
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from store.errors import DatasetError
from store.filter import parse_filter
from store.recorded.call import RecordedCall
from store.recorded.errors import LineError
from store.recorded.message import Json
from store.recorded.message_form import to_openai
from store.trace import Trace
from store.traces import TraceReader

STAGE: Final = "promote"
_TRACES_AT_ONCE = 200
_Add = Callable[[Sequence[Row]], Awaitable[int]]


class PromoteReason(StrEnum):
    """How the call of a cluster ends, beside the reasons of rows that are none. A closed list."""

    PROMOTED = "promoted"
    """Kept: a row."""
    EXACT_DUPLICATE = "exact_duplicate"
    """It says the same as a row that is nearer the middle of the cluster, or that the version began with."""
    REFUSAL = "refusal"
    """The model refused."""
    INVALID_TOOL_ARGUMENTS = "invalid_tool_arguments"
    """The arguments of a tool call are not one JSON object."""
    NO_ASSISTANT_TURN = "no_assistant_turn"
    """The call has no reply: it failed, or was cut off before one began."""
    NOT_STORED = "not_stored"
    """The store does not take it, as one that was erased."""


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
        "clusters": [{"id": cluster.id, "name": cluster.name} for cluster in clusters],
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
    taking = _Taking(promoted, settings.rows)
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


class _Taking:
    """Makes rows of members."""

    def __init__(self, promoted: Promoted, most: int | None) -> None:
        self.taken: list[tuple[str, int]] = []
        self._promoted = promoted
        self._most = most
        self._kept = 0
        self._seen: dict[bytes, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether no more rows are wanted."""
        return self._most is not None and self._kept >= self._most

    async def know(self, version: Version, datasets: DatasetStore) -> None:
        """Know the rows that the version begins with."""
        async for row in datasets.rows(version, state=RowState.KEPT):
            self._seen.setdefault(taught_key(row.content), row.row_id)

    async def rows(self, members: Sequence[Member], reader: TraceReader, where: str | None) -> AsyncIterator[Row]:
        """Give the rows of a batch, in its order."""
        listed = f"id in ({', '.join(str(member.trace_id) for member in members)})"
        wanted = parse_filter(listed if where is None else f"{listed} and ({where})")
        traces = {trace.id: trace async for trace in reader.traces(wanted)}
        there = traces if where is None else {trace.id async for trace in reader.traces(parse_filter(listed))}
        groups = await _groups(reader, listed)
        for member in members:
            if self.is_full:
                return
            trace = traces.get(member.trace_id)
            if trace is None:
                if member.trace_id not in there:
                    self._promoted.missing.append(member.trace_id)
                continue
            self._promoted.traces += 1
            self.taken.append((str(trace.id), member.cluster or 0))
            for row in self._rows(trace, member, groups.get(trace.id)):
                yield row

    def _rows(self, trace: Trace, member: Member, group: str | None) -> list[Row]:
        cluster = member.cluster or 0
        try:
            calls = list(read_trace(trace))
        except LineError as exc:
            end = RowEnd(RowState.FAILED, STAGE, str(exc.reason), {"problem": exc.detail})
            return [Row(_nothing(trace, 0, cluster), None, end)]
        return [self._row(call, number, trace, cluster, group) for number, call in enumerate(calls)]

    def _row(self, call: RecordedCall, number: int, trace: Trace, cluster: int, group: str | None) -> Row:
        messages = [to_openai(message) for message in call.messages]
        metadata = _metadata(call, trace, cluster, group)
        fault = _fault(call)
        if fault is not None:
            content = {**_nothing(trace, number, cluster), "messages": messages, "metadata": metadata}
            return Row(content, None, RowEnd(RowState.DROPPED, STAGE, *fault))
        try:
            content = row_of(
                messages,
                tools=call.tools,
                response_format=call.response_format,
                metadata=metadata,
                targets=[len(messages) - 1],
            )
            key = taught_key(content)
        except RowFormError as exc:
            end = RowEnd(RowState.FAILED, STAGE, str(exc.reason), {"problem": exc.detail})
            return Row(_nothing(trace, number, cluster), None, end)
        first = self._seen.get(key)
        if first is not None:
            content["row_id"] = f"{content['row_id']}-{trace.id}-{number}"
            detail = {"duplicate_of": first}
            return Row(content, None, RowEnd(RowState.DROPPED, STAGE, PromoteReason.EXACT_DUPLICATE, detail))
        self._seen[key] = content["row_id"]
        self._kept += 1
        return Row(content, None, RowEnd(RowState.KEPT, STAGE, PromoteReason.PROMOTED))


async def _groups(reader: TraceReader, listed: str) -> dict[UUID, str]:
    found: dict[UUID, str] = {}
    async for batch in openings(reader, parse_filter(listed), read_message):
        for opening in batch:
            text = intent_of(opening.turns)
            found[opening.trace_id] = blake2b(text.encode(), digest_size=16).hexdigest()
    return found


def _fault(call: RecordedCall) -> tuple[str, dict[str, Json]] | None:
    """Why nothing is to be learned from a call: the reasons of a run's rules."""
    last = len(call.messages) - 1
    reply = call.messages[last]
    if reply.role != "assistant":
        return PromoteReason.NO_ASSISTANT_TURN, {"outcome": call.turn.outcome}
    conversation = Conversation(
        id="",
        messages=call.messages,
        tree="",
        source=call.source,
        turns={last: call.turn},
    )
    reason = skip_reason(conversation, last)
    if reason is not None:
        return str(reason), {"outcome": call.turn.outcome, "finish_reason": call.turn.finish_reason}
    if reply.refusal:
        return PromoteReason.REFUSAL, {}
    if not all(_is_object(tool_call.arguments) for tool_call in reply.tool_calls):
        return PromoteReason.INVALID_TOOL_ARGUMENTS, {}
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json_text.loads(text.encode("utf-8", "surrogatepass")), dict)
    except ValueError:
        return False


def _metadata(call: RecordedCall, trace: Trace, cluster: int, group: str | None) -> dict[str, Json]:
    model = trace.served_model or trace.requested_model
    return {
        "source_trace_id": str(trace.id),
        "source_trace_ids": [str(trace.id)],
        # Whoever wrote the recorded answer is who teaches it.
        "teacher_model": model,
        "original_model": model,
        "judge_score": None,
        "cluster_id": cluster,
        "tags": [name if not value else f"{name}={value}" for name, value in sorted(trace.tags.items())],
        "group": group,
        "finish_reason": call.turn.finish_reason,
    }


def _nothing(trace: Trace, number: int, cluster: int) -> dict[str, Json]:
    """The content of a call that is no row."""
    metadata = {"source_trace_id": str(trace.id), "source_trace_ids": [str(trace.id)], "cluster_id": cluster}
    return {"row_id": f"trace-{trace.id}-{number}", "messages": [], "metadata": metadata}


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
