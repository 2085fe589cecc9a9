"""Clusters: groups of traces whose users want the same, as they stood when they were last built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

Json = Any
UNCLUSTERED = -1
"""Stands for the id of a cluster where traces are meant that are in none."""
UNCLUSTERED_NAME = "unclustered"


class Apart(StrEnum):
    """Why a trace is in no cluster. A closed list."""

    NOT_CHAT = "not_chat"
    """The call was no conversation: another endpoint, or a request that could not be read."""
    NO_TEXT = "no_text"
    """The user said nothing in words, or retention has taken what was said."""
    NO_VECTOR = "no_vector"
    """The embedding model refused the text."""
    FAR = "far"
    """It is no closer to its group than unrelated groups are to each other."""
    SMALL = "small"
    """Its group has fewer traces than a cluster needs."""


class Term(NamedTuple):
    """A word, or two in a row, that tells a cluster from the others.

    Attributes:
        text: As most members write it.
        members: Traces of the cluster that have it.
        is_named: Whether it is part of the cluster's name.
    """

    text: str
    members: int
    is_named: bool = False


class Share(NamedTuple):
    """How many traces of a cluster have something, by name."""

    name: str
    traces: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted of a cluster's traces when it was built.

    Attributes:
        traces: How many there were.
        share: Of all traces that were looked at, in [0, 1].
        texts: Different texts that users began with.
        duplicates: Traces whose request has the same messages as another one's of the cluster, each group less one.
        errors: Traces that did not complete.
        applications: Different beginnings of system prompts, those of less than a twentieth of the traces left out.
        models: Traces by the model that served them, the most frequent first.
        cost_usd: Sum of the known costs; None when none is known.
        without_cost: Traces whose cost is unknown.
        agreement: Mean agreement of committees on rows made of these traces; None when no finished run tells.
        agreement_rows: Rows that tell.
        first_at: When the first call was made; UTC, RFC 3339.
        last_at: The same of the last.
    """

    traces: int
    share: float
    texts: int
    duplicates: int
    errors: int
    applications: int = 0
    models: Sequence[Share] = ()
    cost_usd: float | None = None
    without_cost: int = 0
    agreement: float | None = None
    agreement_rows: int = 0
    first_at: str | None = None
    last_at: str | None = None

    @property
    def error_rate(self) -> float:
        """Share of the traces that did not complete."""
        return self.errors / self.traces if self.traces else 0.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster.

    Attributes:
        id: Given once, never again.
        first_build: Number of the build that found it first.
        last_build: Number of the last build that found it.
        terms: What tells it from others, the most telling first; those that erased traces alone may have had are gone.
        model_name: As a model calls it; None when none was asked.
        description: A sentence of that model.
        facts: Counted by the last build that found it.
        erased: Traces that were erased since.
        is_retired: A later build did not find it any more.
        named_from: Traces that the model was shown; not given back when it is read.
    """

    id: int
    first_build: int
    last_build: int
    terms: Sequence[Term]
    facts: Facts
    model_name: str | None = None
    description: str | None = None
    erased: int = 0
    is_retired: bool = False
    named_from: frozenset[UUID] = frozenset()

    @property
    def name_by_terms(self) -> str:
        """Its name made of its own words."""
        return ", ".join(term.text for term in self.terms if term.is_named) or f"cluster {self.id}"

    @property
    def name(self) -> str:
        """What it is called: by the model where one was asked, by its terms otherwise."""
        return self.model_name or self.name_by_terms


class Member(NamedTuple):
    """Where a trace stands.

    Attributes:
        cluster: Id of its cluster; None when it is in none.
        reason: Why it is in none.
        similarity: To the middle of its cluster, in [-1, 1]; 0 without one.
    """

    trace_id: UUID
    cluster: int | None
    reason: Apart | None = None
    similarity: float = 0.0


@dataclass(frozen=True, slots=True)
class Build:
    """One time that traces were grouped.

    Attributes:
        number: From 1.
        built_at: UTC, RFC 3339.
        settings: What decides the outcome.
        counts: `traces`, `clustered`, and `unclustered` by reason.
    """

    number: int
    built_at: str
    settings: Mapping[str, Json]
    counts: Mapping[str, Json] = field(default_factory=dict)
