"""The files of an export while they are written: those of the rows, and those beside them."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from processing.errors import InputError
from processing.exports import card
from processing.exports.converted import Converted
from processing.exports.described import Described
from processing.exports.destination import MANIFEST, Destination
from processing.exports.format import Companion, Container, Format
from processing.exports.preflight import Preflight, Tally, columns_of
from processing.exports.reason import CannotHoldError
from processing.exports.writing import LineFile, Written, open_lines
from processing.exports.writing import described as describe_file
from processing.output import pretty
from store.datasets.row import Part, Row
from store.datasets.version import Version
from store.recorded.message import Json

README: Final = "README.md"
TRACES: Final = "traces.jsonl"


class ExportFiles:
    """The files of an export while they are written."""

    def __init__(
        self,
        target: Format,
        container: Container,
        place: Destination,
        tally: Tally,
        preflight: Preflight,
        *,
        is_folder: bool,
    ) -> None:
        self._target = target
        self._place = place
        self._tally = tally
        self._preflight = preflight
        self._is_folder = is_folder
        self._container = container
        self._columns = columns_of(target, tally)
        self._paths = {part: self._path(part) for part in tally.parts}
        self._images: set[str] = set()

    async def write_rows(self, rows: AsyncIterator[Row]) -> None:
        """Write every row, and list those that the target cannot hold."""
        with ExitStack() as stack:
            files = {part: self._open(path, stack) for part, path in self._paths.items()}
            traces = self._open(TRACES, stack, Container.LINES) if self._has_traces else None
            left_out = self._open(self._place.left_out.name, stack, Container.LINES) if self._tally.left_out else None
            written: Counter[Part] = Counter()
            async for row in rows:
                part = self._preflight.part_of(row)
                if traces is not None and part is Part.TRAIN:
                    _write_trace(traces, self._target, row)
                try:
                    converted = self._preflight.convert(row)
                except CannotHoldError as exc:
                    if left_out is not None:
                        left_out.write(_left_out(row, part, exc))
                    continue
                for line in converted.lines:
                    self._require_unchanged(part in files)
                    files[part].write(self._completed(line))
                    written[part] += 1
                self._write_images(converted)
        self._require_unchanged(written == +self._tally.lines)

    def _require_unchanged(self, is_so: bool) -> None:
        """Make sure that the preflight spoke of the rows that are written; an active version may change meanwhile."""
        if not is_so:
            raise InputError(str(self._place.out), "was not written: the version changed meanwhile. Run it again.")

    def finish(self, manifest: Mapping[str, Any], version: Version, known: Described) -> dict[str, Json]:
        """Write what stands beside the rows; give the files by name."""
        work, tally = self._place.work, self._tally
        counted = {path: tally.lines[part] for part, path in self._paths.items()}
        if self._is_folder:
            parts = {str(part): path for part, path in self._paths.items()}
            beside = Companion(
                version.dataset,
                version.label,
                parts,
                tally.has_images,
                known.job_description,
                known.config,
                tally.has_tools,
            )
            splits = {part: path for part, path in parts.items() if self._is_split(Part(part))}
            columns = self._columns
            written = {**self._target.companions(beside), README: card.card(self._target, manifest, splits, columns)}
            for name, content in written.items():
                _write(work / name, content)
        names = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
        files = {
            name: _as_json(describe_file(work / name, counted.get(name)))
            for name in names
            if name != self._place.left_out.name
        }
        name = MANIFEST if self._is_folder else f"{self._place.out.name}.{MANIFEST}"
        _write(work / name, pretty({**manifest, "files": files}))
        return files

    @property
    def _has_traces(self) -> bool:
        return self._target.traces is not None and bool(self._tally.lines[Part.TRAIN])

    def _is_split(self, part: Part) -> bool:
        """Whether a part has the columns of the others; unstructured rows of most targets have not."""
        return part is not Part.UNSTRUCTURED or self._target.unstructured is self._target.convert

    def _path(self, part: Part) -> str:
        if not self._is_folder:
            return self._place.out.name
        return (
            f"data/{part}-00000-of-00001.parquet"
            if self._container is Container.PARQUET
            else f"{part}{self._container}"
        )

    def _open(self, name: str, stack: ExitStack, container: Container | None = None) -> LineFile:
        path = self._place.work / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = open_lines(path, container or self._container, self._columns)
        stack.callback(file.close)
        return file

    def _completed(self, line: Mapping[str, Json]) -> Mapping[str, Json]:
        """Where one line has images, all have the field: readers take the first for the pattern of all."""
        return {**line, "images": line.get("images", [])} if self._tally.has_images else line

    def _write_images(self, converted: Converted) -> None:
        for name, image in converted.images.items():
            if name not in self._images:
                self._images.add(name)
                path = self._place.work / name
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _write(path, image.content)


def _left_out(row: Row, part: Part, why: CannotHoldError) -> dict[str, Json]:
    return {"row_id": row.row_id, "part": str(part), "reason": str(why.reason), "detail": why.detail or None}


def _write_trace(traces: LineFile, target: Format, row: Row) -> None:
    if target.traces is None:
        return
    try:
        lines = target.traces(row.content).lines
    except CannotHoldError:
        # Not a chat: the row itself is counted where it is converted.
        return
    for line in lines:
        traces.write(line)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)


def _as_json(written: Written) -> dict[str, Json]:
    return {name: value for name, value in written._asdict().items() if value is not None}
