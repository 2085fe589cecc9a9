"""Makes rows of members of clusters: their calls, with the answers as they were recorded.

A row is one call: what was asked, all that went before included, and its answer as the one thing to learn. What cannot
be learned from ends with its reason, by the same rules as in a run. Every call that opens with the same words has the
same `group`, so a split never parts a conversation, nor two askings of one question.
"""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Final
from uuid import UUID

from processing.clusters.intent import intent_of, read_message
from processing.convert import skip_reason
from processing.datasets.row_form import RowFormError, row_of
from processing.datasets.upload import taught_key
from processing.example import Conversation
from processing.stored_call import read_trace
from store import json_text
from store.clusters.cluster import Member
from store.clusters.opening import openings
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Version
from store.filter import parse_filter
from store.recorded.call import RecordedCall
from store.recorded.errors import LineError
from store.recorded.message import Json
from store.recorded.message_form import to_openai
from store.trace import Trace
from store.traces import TraceReader

STAGE: Final = "promote"


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


class MemberRows:
    """Makes rows of members.

    Args:
        most: At most so many kept rows; None for all.

    Attributes:
        taken: The traces that were looked at with their clusters, in their order.
        missing: Members that are no longer in the store.
    """

    def __init__(self, most: int | None) -> None:
        self.taken: list[tuple[str, int]] = []
        self.missing: list[UUID] = []
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
                    self.missing.append(member.trace_id)
                continue
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
