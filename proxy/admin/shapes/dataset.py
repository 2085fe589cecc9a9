"""Datasets, their versions and rows, as the admin side takes and gives them."""

from typing import Annotated

from pydantic import Field

from proxy.admin.shapes.shape import Cursor, Given, JsonObject, Taken, Time, one_of
from store.datasets.row import Part, RowState
from store.datasets.version import Birth, VersionState

_Count = Annotated[int, Field(ge=0)]


class RowCounts(Given):
    """Rows of a version: `entered` = `kept` + `dropped` + `failed` + `review`."""

    entered: _Count
    rows: Annotated[int, Field(ge=0, description="Kept, the unstructured ones left out.")]
    kept: _Count
    dropped: _Count
    failed: _Count
    review: _Count
    train: Annotated[int, Field(ge=0, description="This and the rest: kept rows by part.")]
    test: _Count
    unstructured: _Count
    unsplit: _Count


class Version(Given):
    """A version of a dataset; a frozen one never changes."""

    label: Annotated[str, Field(description="What it is called: `invoices-v3`.")]
    dataset: str
    number: Annotated[int, Field(ge=1)]
    state: Annotated[str, one_of(VersionState)]
    birth: Annotated[str, one_of(Birth), Field(description="How it came to be.")]
    parent: Annotated[int | None, Field(description="Number of the version that it follows; null for a first one.")]
    note: str | None
    hash: Annotated[str | None, Field(description="Over the kept rows; null while it is active.")]
    test_hash: Annotated[
        str | None, Field(description="Over what the kept test rows teach; equal ones can be compared.")
    ]
    counts: RowCounts
    erased: Annotated[int, Field(ge=0, description="Rows whose content was erased since, with a trace.")]
    created_at: Time
    frozen_at: Time | None


class VersionProgress(Given):
    """What became of an active version since the one that it follows."""

    carried: Annotated[int, Field(ge=0, description="Rows kept in both.")]
    reviewed: Annotated[int, Field(ge=0, description="Kept only now, and a person accepted or edited them.")]
    added: Annotated[int, Field(ge=0, description="The other rows that are kept only now.")]


class WholeVersion(Version):
    """A version with what made it."""

    manifest: JsonObject
    warnings: Annotated[list[str], Field(description="What speaks against learning from it.")]
    progress: Annotated[VersionProgress | None, Field(description="Of an active version that follows another one.")]


class Dataset(Given):
    """A dataset: a name and its versions."""

    dataset: str
    versions: Annotated[int, Field(ge=1, description="How many it has.")]
    newest: Version
    newest_frozen: Annotated[str | None, Field(description="Label; null before one was frozen.")]
    active: Annotated[str | None, Field(description="Label of the one that is open; null when none is.")]


class DatasetList(Given):
    """All datasets by name."""

    data: list[Dataset]


class VersionList(Given):
    """The versions of a dataset by number."""

    data: list[Version]


class RowEnd(Given):
    """What became of a row."""

    state: Annotated[str, one_of(RowState)]
    stage: Annotated[str, Field(description="The step that decided.")]
    reason: Annotated[str, Field(description="Stable code of why; see [drop-reasons.md](drop-reasons.md).")]
    detail: JsonObject


class Row(Given):
    """A row of a version."""

    row: Annotated[JsonObject, Field(description="`row_id`, `messages`, `prompt`, `response`, `metadata` and more.")]
    part: Annotated[str | None, one_of(Part), Field(description="Null when it is not split yet.")]
    end: RowEnd
    row_hash: Annotated[str, Field(description="Names all that the row holds.")]
    learned_hash: Annotated[str, Field(description="Names what is learned from it.")]


class RowPage(Given):
    """Some rows, in the order of their ids."""

    data: list[Row]
    next_cursor: Cursor


class RowDecision(Given):
    """What somebody decided about a row; the last one that was not undone counts."""

    row_id: str | None
    learned_hash: Annotated[str, Field(description="Of the row as it was shown: rows that teach the same share it.")]
    kind: str
    who: str
    at: Time
    note: str | None
    messages: Annotated[list[JsonObject] | None, Field(description="Of an edit: all messages as they are to be.")]
    is_erased: Annotated[bool, Field(description="What was written with it was erased with a trace.")]


class DecisionList(Given):
    """Decisions in the order they were made."""

    data: list[RowDecision]


class WholeRow(Row):
    """A row with where it came from and what people decided about it."""

    trace_ids: Annotated[list[str], Field(description="The traces that it was made from.")]
    decisions: list[RowDecision]


class VersionDiff(Given):
    """How the kept rows of one version differ from those of another; ids of rows, in their order, at most `limit`."""

    first: str
    second: str
    counts: Annotated[dict[str, int], Field(description="How many there are in all of each of the lists.")]
    added: Annotated[list[str], Field(description="Kept only in the second.")]
    removed: Annotated[list[str], Field(description="Kept only in the first.")]
    changed: Annotated[list[str], Field(description="Kept in both, and they hold something else.")]
    moved: Annotated[list[str], Field(description="Kept in both, in another part.")]


class FreezeTaken(Taken):
    """How a version is frozen."""

    note: Annotated[
        str | None,
        Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="A few words that lists show."),
    ] = None
