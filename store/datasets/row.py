"""A row of a dataset: what it holds, where it stands, and the hashes that name it.

The canonical form of a row is compact JSON in UTF-8. Fields stand in alphabetical order at every depth but within
`messages`, `tools` and `response_format`, whose order is kept: models see it. So a row has one hash, whoever wrote its
metadata in which order, and whoever reads a row gets the same bytes everywhere (docs/datasets.md, with test vectors).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from store import json_text
from store.errors import DatasetError

Json = Any
HASH_BYTES: Final = 20
MAX_ROW_ID_CHARS: Final = 200
_ROW_KEY = b"tracemill-row-1"
_LEARNED_KEY = b"tracemill-learned-1"
_LEARNED = ("messages", "tools", "response_format")
_ORDER = ("row_id", *_LEARNED, "prompt", "response", "metadata")


class Part(StrEnum):
    """The part of a version that a row belongs to."""

    TRAIN = "train"
    TEST = "test"
    UNSTRUCTURED = "unstructured"
    """Left over by the split: text without a label, in `unstructured.jsonl`."""


class RowState(StrEnum):
    """What became of a row; each has exactly one."""

    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class RowEnd:
    """How a row ended.

    Attributes:
        state: Kept, dropped, failed or review.
        stage: The step that decided.
        reason: Stable code of why, from the closed list of that step.
        detail: More for a person: scores, votes, bounds.
    """

    state: RowState
    stage: str
    reason: str
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row with its place in a version.

    Attributes:
        content: `row_id`, `messages`, `metadata` and whatever else the row holds.
        part: None when it is not split yet.
        end: What became of it.
        sources: Ids of traces it was made from, beyond those that its metadata names; not given back when it is read.
    """

    content: Mapping[str, Json]
    part: Part | None
    end: RowEnd
    sources: tuple[str, ...] = ()

    @property
    def row_id(self) -> str:
        """Its name, one of its own in each version. Raises DatasetError when it has none that can be one."""
        return row_id_of(self.content)

    @cached_property
    def text(self) -> bytes:
        """The canonical form. Raises DatasetError when it holds what JSON cannot."""
        return canonical(self.content)

    @cached_property
    def row_hash(self) -> str:
        """Names all that the row holds; hexadecimal."""
        return row_hash(self.text)

    @cached_property
    def learned_hash(self) -> str:
        """Names what is learned from it; rows that differ in metadata alone share it. Hexadecimal."""
        return learned_hash(self.content)

    @property
    def trace_ids(self) -> frozenset[str]:
        """The traces it was made from, as far as it says."""
        return frozenset(self.sources) | frozenset(_named(self.content.get("metadata")))


def row_id_of(content: Mapping[str, Json]) -> str:
    """Give the id of a row.

    Raises:
        DatasetError: It has none, or one that cannot be stored.
    """
    found = content.get("row_id")
    if not isinstance(found, str) or not 0 < len(found) <= MAX_ROW_ID_CHARS or not found.isprintable():
        raise DatasetError(
            f"a row has the row_id {str(found)[:60]!r}; expected 1 to {MAX_ROW_ID_CHARS} printable characters."
        )
    return found


def canonical(content: Mapping[str, Json]) -> bytes:
    """Write a row in the one form that is hashed and stored.

    Raises:
        DatasetError: It holds a value that JSON cannot hold.
    """
    ordered = {name: content[name] if name in _LEARNED else _sorted(content[name]) for name in sorted(content)}
    return _dumps(ordered, content)


def read_canonical(text: bytes) -> dict[str, Json]:
    """Read the canonical form; fields come in the order in which rows are shown and exported."""
    found = json_text.loads(text)
    first = {name: found[name] for name in _ORDER if name in found}
    return first | {name: value for name, value in found.items() if name not in first}


def row_hash(text: bytes) -> str:
    """Hash the canonical form of a row."""
    return blake2b(text, digest_size=HASH_BYTES, key=_ROW_KEY).hexdigest()


def learned_hash(content: Mapping[str, Json]) -> str:
    """Hash what is learned from a row: messages with their weights, tools and response format."""
    text = _dumps([content.get(name) for name in _LEARNED], content)
    return blake2b(text, digest_size=HASH_BYTES, key=_LEARNED_KEY).hexdigest()


def _dumps(value: Json, content: Mapping[str, Json]) -> bytes:
    try:
        return json_text.dumps(value)
    except (json_text.JsonTextError, TypeError) as exc:
        raise DatasetError(f"row {str(content.get('row_id'))[:60]!r} holds what JSON cannot hold: {exc}") from exc


def _sorted(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def _named(metadata: Json) -> Iterator[str]:
    if not isinstance(metadata, Mapping):
        return
    listed = metadata.get("source_trace_ids")
    for found in (metadata.get("source_trace_id"), *(listed if isinstance(listed, list | tuple) else ())):
        # What no column can hold names no trace.
        if isinstance(found, str) and found and found.isprintable():
            yield found
