"""Takes in the traces of a selection, each as the little that grouping and counting need."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from processing.clusters.intent import application_of, intent_of, read_message
from store.clusters.cluster import Apart, Facts, Share
from store.clusters.opening import Opening, openings
from store.filter import Filter
from store.price import PICODOLLARS
from store.traces import TraceReader

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MODELS = 5
_LEAST_APPLICATION = 0.05


class Taken(NamedTuple):
    """A trace.

    Attributes:
        text: Number of its text; None when it has none.
        apart: Why it has none.
        application: Number of its application.
        request: Shared by traces with the same messages.
        cost: In 10^-12 dollars; None when it is not known.
        created_at: Microseconds since 1970 UTC.
    """

    trace_id: UUID
    text: int | None
    apart: Apart | None
    application: int
    request: int | None
    model: str | None
    is_error: bool
    cost: int | None
    created_at: int


@dataclass(slots=True)
class Gathered:
    """The traces of a selection and the different texts they open with, each once."""

    traces: list[Taken] = field(default_factory=list)
    _texts: dict[str, int] = field(default_factory=dict)
    _applications: dict[str, int] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The texts by their number."""
        return list(self._texts)

    def take(self, opening: Opening) -> None:
        """Take one trace in."""
        apart, text = None, intent_of(opening.turns)
        if not text:
            apart = Apart.NO_TEXT if opening.is_chat else Apart.NOT_CHAT
        application = application_of(opening.instructions)
        self.traces.append(
            Taken(
                opening.trace_id,
                self._texts.setdefault(text, len(self._texts)) if text else None,
                apart,
                self._applications.setdefault(application, len(self._applications)),
                opening.request,
                opening.model,
                opening.is_error,
                opening.cost,
                opening.created_at,
            )
        )


async def gather(reader: TraceReader, where: Filter | None, done: Callable[[int], None]) -> Gathered:
    """Take in the traces of a selection.

    Args:
        reader: An open reader.
        where: The selection; None for all.
        done: Told how many there are so far.
    """
    gathered = Gathered()
    async for batch in openings(reader, where, read_message):
        for opening in batch:
            gathered.take(opening)
        done(len(gathered.traces))
    return gathered


def in_order(texts: Sequence[str]) -> list[int]:
    """Give the numbers of texts in an order of their content that has nothing to do with what they say."""
    hashes = [blake2b(text.encode(), digest_size=16).digest() for text in texts]
    return sorted(range(len(texts)), key=hashes.__getitem__)


class Agreement(NamedTuple):
    """How far committees agreed on rows made of some traces: the sum, and how many rows tell."""

    total: float = 0.0
    rows: int = 0


def facts_of(traces: Sequence[Taken], total: int, agreements: Mapping[UUID, Agreement]) -> Facts:
    """Count what is shown of a cluster.

    Args:
        traces: Of the cluster; at least one.
        total: How many traces were looked at.
        agreements: What finished runs know, by trace.
    """
    costs = [trace.cost for trace in traces if trace.cost is not None]
    models = Counter(trace.model or "unknown" for trace in traces)
    applications = Counter(trace.application for trace in traces)
    agreed = [agreements[trace.trace_id] for trace in traces if trace.trace_id in agreements]
    rows = sum(each.rows for each in agreed)
    return Facts(
        traces=len(traces),
        share=len(traces) / total,
        texts=len({trace.text for trace in traces}),
        duplicates=len(traces) - len({trace.request for trace in traces}),
        errors=sum(trace.is_error for trace in traces),
        applications=sum(count >= _LEAST_APPLICATION * len(traces) for count in applications.values()),
        models=tuple(
            Share(name, count) for name, count in sorted(models.items(), key=lambda item: (-item[1], item[0]))[:_MODELS]
        ),
        cost_usd=sum(costs) / PICODOLLARS if costs else None,
        without_cost=len(traces) - len(costs),
        agreement=sum(each.total for each in sorted(agreed)) / rows if rows else None,
        agreement_rows=rows,
        first_at=_time(min(trace.created_at for trace in traces)),
        last_at=_time(max(trace.created_at for trace in traces)),
    )


def _time(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
