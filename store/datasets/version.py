"""Versions of a dataset: what they are called, what is known of them, and how they differ."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from store import json_text
from store.errors import DatasetError

Json = Any
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_LABEL = re.compile(r"(.+)-v([0-9]+)")
_MAX_NUMBER = 10**9


class VersionState(StrEnum):
    """Whether a version may still change."""

    ACTIVE = "active"
    FROZEN = "frozen"


class Birth(StrEnum):
    """How a version came to be."""

    CLUSTERS = "clusters"
    UPLOAD = "upload"
    GENERATE = "generate"
    PROCESS = "process"
    CURATE = "curate"
    REBUILD = "rebuild"


class Reference(NamedTuple):
    """What somebody wrote for a version.

    Attributes:
        dataset: Name of the dataset.
        number: Of the version; None for the one that the command is about.
    """

    dataset: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a version, by state; those that are kept, by part, too."""

    kept: int = 0
    dropped: int = 0
    failed: int = 0
    review: int = 0
    train: int = 0
    test: int = 0
    unstructured: int = 0
    unsplit: int = 0

    @property
    def entered(self) -> int:
        """All rows: each ended as kept, dropped, failed or review."""
        return self.kept + self.dropped + self.failed + self.review

    @property
    def rows(self) -> int:
        """The kept rows that something is learned or measured from: all but the unstructured ones."""
        return self.kept - self.unstructured

    def as_json(self) -> dict[str, int]:
        """Give the counts by name, `entered` and `rows` first."""
        counted = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"entered": self.entered, "rows": self.rows, **counted}


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a dataset as it stood when it was looked at.

    Attributes:
        id: Its number in `work.db`, among the versions of all datasets.
        dataset: Name of the dataset.
        number: From 1 in each dataset.
        state: Active or frozen.
        birth: How it came to be.
        parent: Number of the version that it follows; None for a first one.
        note: A few words that lists show.
        manifest: What made it.
        hash: Over the kept rows, hexadecimal; None while it is active.
        test_hash: Over what the kept test rows teach; None without such rows, and while it is active.
        counts: Rows by state and part.
        created_at: UTC, RFC 3339; so is `frozen_at`.
        frozen_at: None while it is active.
        erased: Rows, whatever became of them, whose content was erased since with a trace.
    """

    id: int
    dataset: str
    number: int
    state: VersionState
    birth: Birth
    parent: int | None
    note: str | None
    manifest: Mapping[str, Json]
    hash: str | None
    test_hash: str | None
    counts: Counts
    created_at: str
    frozen_at: str | None
    erased: int = 0

    @property
    def label(self) -> str:
        """What it is called: `invoices-v3`."""
        return label(self.dataset, self.number)

    @property
    def is_frozen(self) -> bool:
        """Whether it never changes any more."""
        return self.state is VersionState.FROZEN


class DatasetSummary(NamedTuple):
    """A dataset in a list.

    Attributes:
        name: Its name.
        versions: How many it has.
        newest: The one with the highest number.
        newest_frozen: None before one was frozen.
        active: None when none is open.
    """

    name: str
    versions: int
    newest: Version
    newest_frozen: Version | None
    active: Version | None


class Progress(NamedTuple):
    """What became of an active version since the one that it follows.

    Attributes:
        carried: Rows kept in both.
        reviewed: Rows kept only now, which a person accepted or edited since this version was opened.
        added: The other rows that are kept only now.
    """

    carried: int
    reviewed: int
    added: int


class Place(NamedTuple):
    """Where a row stands in a version.

    Attributes:
        part: None when it is not split.
        state: Kept, dropped, failed or review.
        row_hash: What it holds; hexadecimal.
    """

    part: str | None
    state: str
    row_hash: str


class Diff(NamedTuple):
    """How the kept rows of one version differ from those of another; ids of rows in their order.

    Attributes:
        added: Kept only in the second.
        removed: Kept only in the first.
        changed: Kept in both, and they hold something else.
        moved: Kept in both, in another part; one that also changed stands in both lists.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    moved: list[str]


def label(dataset: str, number: int) -> str:
    """Write what a version is called."""
    return f"{dataset}-v{number}"


def read_reference(text: str) -> Reference:
    """Read `NAME` or `NAME-v3`.

    Raises:
        DatasetError: No dataset can be called so.
    """
    numbered = _LABEL.fullmatch(text)
    name, number = (numbered[1], int(numbered[2][:12])) if numbered else (text, None)
    if number is not None and (not 0 < number < _MAX_NUMBER or not text.endswith(f"-v{number}")):
        raise DatasetError(f"{text[:120]!r} names no version: they are numbered from 1.")
    if not _NAME.fullmatch(name) or _LABEL.fullmatch(name):
        raise DatasetError(
            f"{text[:120]!r} names no dataset. A name has 1 to 100 of the characters a-z, 0-9, '.', '_' and '-', "
            "begins with a letter or digit, and does not end like a version; 'name-v3' stands for its version 3."
        )
    return Reference(name, number)


def counts_of(text: str) -> Counts:
    """Read the counts that were stored when a version was frozen."""
    found = json_text.loads(text.encode())
    return Counts(**{field.name: int(found[field.name]) for field in fields(Counts)})
