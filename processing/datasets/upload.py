"""Datasets born from files: every record ends as a kept row, a dropped one or a failed one, and the counts add up.

Records are read piece by piece and rows stored in batches, so memory does not grow with the file but for a hash of each
row, by which exact duplicates are known. The version appears whole or not at all.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from processing.datasets.beginning import beginning_of, begun, note_addition
from processing.datasets.data_set import DataSet, Format, find_data
from processing.datasets.mapped_row import MappedRow, mapped_row, part_of
from processing.datasets.mapping import SAMPLE_RECORDS, FieldMapping, guess_mapping
from processing.datasets.record import Record
from processing.datasets.row_form import RowFault, RowFormError, example_of
from processing.datasets.row_split import DEFAULT_SEED, split_rows
from processing.datasets.storing import ROWS_AT_ONCE, stored
from processing.datasets.upload_report import UploadReason, UploadReport
from processing.dedup import content_key
from processing.errors import InputError, SplitError
from store import json_text
from store.datasets.birth import DatasetBirth
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from store.recorded.message import Json

STAGE: Final = "upload"


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How a file is to be read, and where its rows go.

    Attributes:
        told: Target to column, from `mapping.read_map`; what is not told is guessed.
        format: What the file is; `auto` to tell by its name.
        subset: See `find_data`.
        has_header: See `find_data`.
        part: Put all rows there, whatever the files say.
        strict: A record that cannot be a row is an error, and nothing is written.
        test_fraction: Share of the groups of near duplicates that go to test; None to leave the parts as they are.
        seed: Of that split.
    """

    told: Mapping[str, str] = field(default_factory=dict)
    format: Format = Format.AUTO
    subset: str | None = None
    has_header: bool | None = None
    part: Part | None = None
    strict: bool = False
    test_fraction: float | None = None
    seed: int | None = DEFAULT_SEED

    def check(self) -> None:
        """Refuse a share that makes no sense.

        Raises:
            SplitError: It leaves a part empty.
        """
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            problem = "leaves a part empty; expected a share between 0 and 1."
            raise SplitError(f"--test-fraction {self.test_fraction:g} {problem}")


async def upload(
    path: Path,
    name: str,
    store: DatasetStore,
    settings: UploadSettings = UploadSettings(),
    *,
    add: bool = False,
    note: str | None = None,
    mapped: Callable[[FieldMapping, str], None] = lambda _mapping, _source: None,
    done: Callable[[int], None] = lambda _: None,
) -> UploadReport:
    """Make a version of the rows of a file or folder.

    Args:
        path: A file, or a folder as a hub has it or `save_to_disk` writes it.
        name: Of the dataset; `NAME-v1` insists that the version will be its first.
        store: Where it goes.
        settings: How it is read.
        add: Add to the active version, or begin with the rows of the newest frozen one.
        note: A few words that lists show.
        mapped: Told the mapping and the name of the source before anything is written.
        done: Told how many records are through.

    Raises:
        SplitError: The share leaves a part empty; nothing was written.
        InputError: The file cannot be read, its columns are not clear, no record is a row, or `strict` and one is not.
        DatasetError: The version cannot be made.
    """
    settings.check()
    data = find_data(path, settings.format, subset=settings.subset, has_header=settings.has_header)
    mapping = _mapping(data, settings.told)
    report = UploadReport(str(path), data.format, mapping, warnings=_doubts(data, settings.part))
    mapped(mapping, data.name)
    source = _Source(data, mapping, settings, data.digests())
    beginning = await beginning_of(name, store) if add else None
    manifest = {**begun({}, beginning), **source.manifest()}
    async with store.birth(name, birth=Birth.UPLOAD, manifest=manifest, note=note, add=add) as born:
        await _fill(born, source, report, await _known(beginning, store), done)
        born.manifest = {**manifest, "upload": report.counts()}
    report.version = await note_addition(born, beginning, store)
    if settings.test_fraction is not None:
        label = report.version.label
        report.split = await split_rows(store, label, test_fraction=settings.test_fraction, seed=settings.seed)
        report.version = report.split.version
    report.warn()
    return report


class _Source(NamedTuple):
    """What is read, and how."""

    data: DataSet
    mapping: FieldMapping
    settings: UploadSettings
    files: list[dict[str, Json]]

    def manifest(self) -> dict[str, Json]:
        """What decides the rows, so that they can be derived again."""
        name, format_, settings = self.data.name, str(self.data.format), self.settings
        return {
            "source": {"name": name, "format": format_, "files": self.files},
            "mapping": self.mapping.as_json(),
            "read_as": {"part": settings.part, "subset": settings.subset, "has_header": settings.has_header},
        }


def _doubts(data: DataSet, part: Part | None) -> list[str]:
    """What to look at before anything is read."""
    doubts: list[str] = []
    splits = {file.split for file in data.files if part_of(file.split) is Part.TEST}
    if len(splits) > 1 and part is None:
        doubts.append(f"The splits {', '.join(sorted(map(str, splits)))} stand together in test.")
    if data.left_out:
        doubts.append(f"Left out, since their names tell no split: {', '.join(data.left_out)}.")
    return doubts


async def _known(beginning: Version | None, store: DatasetStore) -> dict[bytes, str]:
    """What the rows teach that the version begins with, each with the id of the first that does."""
    known: dict[bytes, str] = {}
    if beginning is not None:
        async for row in store.rows(beginning, state=RowState.KEPT):
            known.setdefault(taught_key(row.content), row.row_id)
    return known


async def _fill(
    born: DatasetBirth, source: _Source, report: UploadReport, known: dict[bytes, str], done: Callable[[int], None]
) -> None:
    """Read all records into the version, and count them."""
    name, settings = source.data.name, source.settings
    digests = {str(file["name"]): str(file["sha256"]) for file in source.files}
    intake = _Intake(source.mapping, settings.part, digests, known)
    for batch in _batches(intake.ends(source.data)):
        if settings.strict:
            _require_rows_only(batch, name)
        rows = await stored([ended.row for ended in batch], born.add_rows)
        for row, ended in zip(rows, batch, strict=True):
            report.take(row, ended.record, trailing=ended.trailing)
        done(report.entered)
    _require_rows(report, name)


class _Ended(NamedTuple):
    """A record with its end, and how many messages were left out behind its last answer."""

    row: Row
    record: Record
    trailing: int = 0


class _Intake:
    """Gives every record its end."""

    def __init__(
        self, mapping: FieldMapping, part: Part | None, digests: Mapping[str, str], known: dict[bytes, str]
    ) -> None:
        self._mapping = mapping
        self._part = part
        self._digests = digests
        self._seen = known

    def ends(self, data: DataSet) -> Iterator[_Ended]:
        """Read everything."""
        for record in data.records():
            if record.value is None:
                yield self._failed(record, str(record.fault), record.detail or "")
                continue
            try:
                found = mapped_row(record.value, self._mapping, record)
                key = taught_key(found.content)
            except RowFormError as exc:
                yield self._failed(record, str(exc.reason), exc.detail)
            except json_text.JsonTextError:
                yield self._failed(record, str(RowFault.NOT_JSON), "a number is too large, or is none")
            else:
                yield self._once(found, key, record)

    def _once(self, found: MappedRow, key: bytes, record: Record) -> _Ended:
        part = self._part or found.part
        detail: dict[str, Json] = {"place": record.place}
        if record.repeated_key is not None:
            detail["repeated_key"] = record.repeated_key
        first = self._seen.get(key)
        if first is not None:
            content = {**found.content, "row_id": f"{found.content['row_id']}-{self._place_hash(record)}"}
            end = RowEnd(RowState.DROPPED, STAGE, UploadReason.EXACT_DUPLICATE, {**detail, "duplicate_of": first})
            return _Ended(Row(content, part, end), record)
        self._seen[key] = found.content["row_id"]
        if found.trailing:
            detail["trailing_messages"] = found.trailing
        end = RowEnd(RowState.KEPT, STAGE, UploadReason.UPLOADED, detail)
        return _Ended(Row(found.content, part, end), record, found.trailing)

    def _failed(self, record: Record, reason: str, problem: str) -> _Ended:
        end = RowEnd(RowState.FAILED, STAGE, reason, {"place": record.place, "problem": problem})
        return _Ended(Row(_nothing(f"failed-{self._place_hash(record)}"), None, end), record)

    def _place_hash(self, record: Record) -> str:
        """Names a record by its file's content, so that the same file gives the same ids again."""
        place = f"{self._digests.get(record.file)}:{record.place}"
        return blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def taught_key(content: Mapping[str, Json]) -> bytes:
    """Hash what a row teaches, so that rows which say the same are equal: ids and white space aside.

    Raises:
        RowFormError: It is no row.
    """
    example = example_of(content)
    return blake2b(content_key(example) + repr(example.targets).encode(), digest_size=16).digest()


def _mapping(data: DataSet, told: Mapping[str, str]) -> FieldMapping:
    sample = list(islice(data.records(), SAMPLE_RECORDS))
    readable = [record.value for record in sample if record.value is not None]
    if sample and not readable:
        first = sample[0]
        problem = f"{first.detail} ({first.fault}). None of the first {len(sample):,} records can be read"
        raise InputError(first.place, f"{problem}: is the format right? --format tells another one.")
    return guess_mapping(readable, told, data.name)


def _batches(ends: Iterator[_Ended]) -> Iterator[list[_Ended]]:
    while batch := list(islice(ends, ROWS_AT_ONCE)):
        yield batch


def _nothing(row_id: str) -> dict[str, Json]:
    """The content of a record that is no row: where it stands is enough to mend it."""
    return {"row_id": row_id, "messages": [], "metadata": {}}


def _require_rows_only(batch: Sequence[_Ended], name: str) -> None:
    for ended in batch:
        if ended.row.end.state is RowState.FAILED:
            problem = ended.row.end.detail.get("problem")
            raise InputError(
                ended.record.place,
                f"{problem} ({ended.row.end.reason}). Mend it, or leave out --strict to count it and go on. "
                f"Nothing of {name} was written.",
            )


def _require_rows(report: UploadReport, name: str) -> None:
    if report.count(RowState.KEPT) or report.count(RowState.DROPPED):
        return
    reasons = report.reasons.get(RowState.FAILED, Counter[str]())
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "it holds no records"
    first = f" The first: {report.problems[0].place}: {report.problems[0].detail}." if report.problems else ""
    read_as = "; ".join(report.mapping.lines())
    raise InputError(name, f"gave no row: {counted}.{first} It was read as: {read_as}. Another --map may help.")
