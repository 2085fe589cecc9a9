"""Names of clusters by a model that is shown some of their texts, and some that nearly belong to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from processing.foreign_text import visible
from processing.parallel import each
from processing.prompt import ask
from processing.provenance import about
from processing.teachers import Teachers
from store.recorded.message import Json

PURPOSE: Final = "name_cluster"
PROMPT: Final = "name_cluster"
CENTRAL, EDGE, OUTSIDE = 8, 4, 4
"""How many texts are shown: the nearest to the middle, the farthest, and the nearest of other clusters."""
_SHOWN_CHARS = 300
_NAME_CHARS = 60
_DESCRIPTION_CHARS = 300
_SCHEMA: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
    },
    "required": ["reason", "name", "description"],
    "additionalProperties": False,
}


class Shown(NamedTuple):
    """A text that the model is shown, and a trace that says so."""

    text: str
    trace_id: UUID


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A cluster that wants a name.

    Attributes:
        terms: Its terms.
        members: Texts nearest its middle.
        edge: Texts farthest from it.
        others: Texts of other clusters that are nearest to it.
    """

    terms: Sequence[str]
    members: Sequence[Shown]
    edge: Sequence[Shown]
    others: Sequence[Shown]

    @property
    def trace_ids(self) -> frozenset[UUID]:
        """All traces that are shown."""
        return frozenset(shown.trace_id for shown in (*self.members, *self.edge, *self.others))


class Named(NamedTuple):
    """What the model said; None for both where its answer holds no name."""

    name: str | None
    description: str | None


async def name_clusters(clusters: Sequence[Unnamed], teachers: Teachers, model: str) -> list[Named]:
    """Ask for a name for each cluster; clusters that would be called alike get a term added.

    Raises:
        TeacherError: The model cannot be used.
        BudgetError: Nothing more may be bought.
    """

    async def name(cluster: Unnamed) -> Named:
        with about(sorted(cluster.trace_ids)):
            data = {
                "terms": list(cluster.terms),
                "members": _shown(cluster.members),
                "edge": _shown(cluster.edge),
                "others": _shown(cluster.others),
            }
            verdict = await teachers.ask_json(model, PURPOSE, ask(PROMPT, data), _SCHEMA, "tracemill_cluster_name")
        return _named(verdict.value)

    found = await each(clusters, name, parallel=teachers.config.lanes)
    taken: set[str] = set()
    unique: list[Named] = []
    for cluster, named in zip(clusters, found, strict=True):
        called = _unique(named.name, cluster.terms, taken)
        unique.append(named._replace(name=called))
        taken.add((called or "").lower())
    return unique


def _shown(texts: Sequence[Shown]) -> list[str]:
    return [shown.text[:_SHOWN_CHARS] for shown in texts]


def _named(value: Json) -> Named:
    if value is None:
        return Named(None, None)
    name = _line(value["name"], _NAME_CHARS).strip("\"'“”„ .")
    return Named(name or None, _line(value["description"], _DESCRIPTION_CHARS) or None)


def _line(text: str, characters: int) -> str:
    return " ".join(visible(text).split())[:characters].strip()


def _unique(name: str | None, terms: Sequence[str], taken: set[str]) -> str | None:
    if name is None or name.lower() not in taken:
        return name
    for term in terms:
        if f"{name}: {term}".lower() not in taken:
            return f"{name}: {term}"
    return None
