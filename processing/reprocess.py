"""Processing the traces of a run again: what changes in the settings, and which rows come, go or change.

Only `trace_processing` counts of what is given; keys that are left out keep the value they had in the run.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from processing import config_file
from processing.config import Config
from processing.errors import InputError
from processing.output import MANIFEST
from processing.plain_value import read_json, read_yaml
from store.recorded.message import Json

SECTION = "trace_processing"
ROW_FILES = (
    "train.jsonl",
    "test.jsonl",
    "unstructured.jsonl",
    "dropped.jsonl",
    "failed.jsonl",
    "review.jsonl",
    "rejected.jsonl",
)
"""The files of a dataset whose rows are compared."""
_SHOWN = 20
"""Row ids that are named for each file; the counts are of all."""


class Setting(NamedTuple):
    """One setting that differs.

    Attributes:
        name: Dotted.
        before: Its value in the run; null where it was not known.
        after: Its value now.
    """

    name: str
    before: Json
    after: Json


@dataclass(frozen=True, slots=True)
class Change:
    """A configuration for the traces of an earlier run.

    Attributes:
        config: The effective one.
        settings: What differs.
        notes: What was given and does not count.
    """

    config: Config
    settings: tuple[Setting, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileDifference:
    """What happens to the rows of one file, by their ids.

    Attributes:
        added: Rows that were not there.
        removed: Rows that are there no longer.
        changed: Rows that say something else now.
        same: How many rows stay byte for byte.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    same: int

    @property
    def is_none(self) -> bool:
        """Whether the file stays as it is, the order of its rows aside."""
        return not (self.added or self.removed or self.changed)

    def as_json(self) -> dict[str, Json]:
        """Counts, and the first ids of each."""
        named = {"added": self.added, "removed": self.removed, "changed": self.changed}
        counts: dict[str, Json] = {name: len(ids) for name, ids in named.items()}
        return {**counts, "same": self.same, "ids": {name: list(ids[:_SHOWN]) for name, ids in named.items()}}


def change_of(before: Config, path: Path, *, is_section: bool) -> Change:
    """Lay the `trace_processing` of a file over the configuration of a run.

    Args:
        before: What the run was made with.
        path: YAML or JSON, by its suffix.
        is_section: The file holds the section's keys, by themselves or under its name; else it is a whole
            configuration, of which the other sections do not count.

    Raises:
        InputError: The file cannot be read, holds an unknown key or a wrong value, or lacks the section.
    """
    raw = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(raw, Mapping):
        raise InputError(path.name, f"is empty or not a mapping; it needs keys of {SECTION}.")
    if is_section:
        raw = raw if set(raw) == {SECTION} else {SECTION: raw}
    given = raw.get(SECTION)
    if not isinstance(given, Mapping):
        raise InputError(path.name, f"has no section {SECTION}, which is all that counts here.")
    known = before.model_dump(mode="json", exclude_unset=True, exclude={"not_used"})
    # Checked whole, so that a misspelt section is told and not passed over.
    whole = config_file.parse({"base": known["base"], **raw}, source=path.name)
    kept = {**known.get(SECTION, {}), **whole.trace_processing.model_dump(mode="json", exclude_unset=True)}
    merged = config_file.parse({**known, SECTION: kept}, source=path.name)
    merged = merged.model_copy(update={"not_used": before.not_used})
    return Change(merged, tuple(_settings(before, merged)), tuple(_ignored(known, whole, raw)))


def row_difference(folder: Path, files: Mapping[str, bytes]) -> dict[str, FileDifference]:
    """Compare the rows of a run's folder with those that would take their place.

    Args:
        folder: Of the earlier run; a file that is not there counts as empty.
        files: Name to content of the new ones.
    """
    found = {}
    for name in ROW_FILES:
        before = _rows_of(folder / name)
        after = _rows(files.get(name, b"").split(b"\n"))
        found[name] = FileDifference(
            added=tuple(row for row in after if row not in before),
            removed=tuple(row for row in before if row not in after),
            changed=tuple(row for row in after if row in before and before[row] != after[row]),
            same=sum(before.get(row) == digest for row, digest in after.items()),
        )
    return found


def next_folder(folder: Path) -> Path:
    """Name the folder for a run that comes from another one: `bank-2` after `bank`, the first that holds no dataset."""
    stem, _, number = folder.name.rpartition("-")
    stem, count = (stem, int(number)) if stem and number.isdecimal() else (folder.name, 1)
    while True:
        count += 1
        found = folder.with_name(f"{stem}-{count}")
        if not (found / MANIFEST).exists():
            return found


def _settings(before: Config, after: Config) -> Iterable[Setting]:
    old = before.trace_processing.model_dump(mode="json")
    new = after.trace_processing.model_dump(mode="json")
    return (Setting(f"{SECTION}.{name}", old[name], new[name]) for name in new if old[name] != new[name])


def _ignored(known: Mapping[str, Json], whole: Config, raw: Mapping[str, Json]) -> Iterable[str]:
    """Name the other sections that say something else than the run's configuration."""
    given = whole.model_dump(mode="json", exclude_unset=True)
    for section in raw:
        if section != SECTION and section in given and given[section] != known.get(section):
            yield f"{section} differs from the run's and does not count: reprocessing changes {SECTION} alone."


def _rows_of(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as lines:
            return _rows(lines)
    except FileNotFoundError:
        return {}


def _rows(lines: Iterable[bytes]) -> dict[str, bytes]:
    """Row id to a hash of the row; rows without an id are named by their hash."""
    found: dict[str, bytes] = {}
    for line in lines:
        if line.strip():
            digest = hashlib.blake2b(line.rstrip(b"\n"), digest_size=16)
            found[_name(line) or digest.hexdigest()] = digest.digest()
    return found


def _name(line: bytes) -> str | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    if isinstance(row.get("row_id"), str):
        return str(row["row_id"])
    if isinstance(row.get("kind"), str) and isinstance(row.get("id"), str):
        return f"{row['kind']} {row['id']}"
    return None
