"""Writing a version of a dataset to files: the one function that the command line and jobs call."""

from collections.abc import AsyncIterator
from pathlib import Path

from processing.errors import InputError
from processing.exports.described import Described, described
from processing.exports.destination import Destination
from processing.exports.files import ExportFiles
from processing.exports.format import Container, Format
from processing.exports.formats import FORMATS
from processing.exports.manifest import counted, manifest_of, notes_of
from processing.exports.preflight import Preflight, Tally
from processing.exports.reason import CannotHoldError, LeftOut
from processing.exports.wanted import Exported, Wanted
from processing.exports.writing import require_container
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Version


def find_format(name: str) -> Format:
    """Find a format by its name.

    Raises:
        InputError: There is none; tells which there are.
    """
    if name not in FORMATS:
        raise InputError("--format", f'"{name[:40]}" is none. There are {", ".join(FORMATS)}.')
    return FORMATS[name]


async def export_version(store: DatasetStore, reference: str, wanted: Wanted) -> Exported:
    """Write a version to a file or a folder, after a preflight that converts every row once.

    Rows are read one batch at a time, in the order of their ids, so that equal versions give equal bytes.

    Args:
        store: Where the version is.
        reference: `NAME-v3`, or `NAME` for the newest frozen version, and the active one where none is frozen.
        wanted: See there.

    Raises:
        DatasetError: There is no such version.
        InputError: The format, the place or the version does not do; nothing was written.
        OSError: The place cannot be written; nothing is left there.
    """
    target = find_format(wanted.format)
    version = await _find(store, reference)
    container, is_folder = _container(target, wanted.out)
    require_container(container)
    place = None if wanted.out is None else Destination(wanted.out, is_folder=is_folder, force=wanted.force)
    preflight = Preflight(target, container)
    tally = await _check(store, version, preflight, wanted)
    known = Described()
    if target.traces is not None and not wanted.check:
        known = await described(store, version, job=wanted.job_description, config=wanted.config)
    manifest = manifest_of(target, version, tally, await store.warnings(version), wanted)
    notes = notes_of(version, tally)
    _require_holdable(version, tally, wanted)
    if place is None or wanted.check:
        return Exported(manifest, None, None, notes)
    _require_writable(version, tally, wanted, is_folder=is_folder)
    with place:
        export = ExportFiles(target, container, place, tally, preflight, is_folder=is_folder)
        await export.write_rows(_rows(store, version, wanted.part))
        files = export.finish(manifest, version, known)
        place.publish()
    left_out = place.left_out if place.left_out.exists() else None
    return Exported({**manifest, "files": files}, place.out, left_out, notes)


async def _find(store: DatasetStore, reference: str) -> Version:
    version = await store.version(reference)
    if not version.is_frozen and reference != version.label:
        for summary in await store.datasets():
            if summary.name == version.dataset and summary.newest_frozen is not None:
                return summary.newest_frozen
    return version


def _container(target: Format, out: Path | None) -> tuple[Container, bool]:
    """What the lines are kept in, and whether in a folder: a name that ends like a container's is a single file."""
    if out is not None and out.suffix in {str(each) for each in Container}:
        container = Container(out.suffix)
        if container not in target.files:
            fitting = " or ".join(f"name{each}" for each in target.files)
            raise InputError(
                str(out),
                f"is not what {target.name} is kept in. Name a folder{f', or {fitting}' if fitting else ''}.",
            )
        return container, False
    if target.folder is None:
        raise InputError(str(out), f"{target.name} is a single file. Name one that ends in {target.files[0]}.")
    return target.folder, True


async def _rows(store: DatasetStore, version: Version, part: Part | None) -> AsyncIterator[Row]:
    """The kept rows of a part in their order."""
    async for row in store.rows(version, state=RowState.KEPT):
        if part is None or (row.part or Part.TRAIN) is part:
            yield row


async def _check(store: DatasetStore, version: Version, preflight: Preflight, wanted: Wanted) -> Tally:
    tally = Tally()
    read = 0
    async for row in _rows(store, version, wanted.part):
        read += 1
        try:
            converted = preflight.convert(row)
        except CannotHoldError as exc:
            tally.left_out[exc.reason] += 1
        else:
            tally.count(row, converted, preflight.part_of(row))
            tally.formulas += preflight.formulas(converted)
    erased = _kept(version, wanted.part) - read
    if version.is_frozen and erased > 0:
        tally.left_out[LeftOut.ERASED] = erased
    return tally


def _kept(version: Version, part: Part | None) -> int:
    counts = version.counts
    by_part = {
        Part.TRAIN: counts.train + counts.unsplit,
        Part.TEST: counts.test,
        Part.UNSTRUCTURED: counts.unstructured,
    }
    return counts.kept if part is None else by_part[part]


def _require_holdable(version: Version, tally: Tally, wanted: Wanted) -> None:
    reasons = counted(tally)
    if wanted.strict and reasons:
        raise InputError(version.label, f"{wanted.format} cannot hold all rows ({reasons}), and --strict is given.")


def _require_writable(version: Version, tally: Tally, wanted: Wanted, *, is_folder: bool) -> None:
    """Refuse what would not be what it seems."""
    if tally.left_out[LeftOut.ERASED] and not wanted.without_erased:
        raise InputError(
            version.label,
            f"{tally.left_out[LeftOut.ERASED]} of its rows were erased with the traces they came from, so the files "
            "would not hold what its hash names. --without-erased writes the others.",
        )
    reasons = counted(tally)
    if not tally.parts:
        raise InputError(
            version.label, f"no row can be written as {wanted.format}{f' ({reasons})' if reasons else ''}."
        )
    if not is_folder and len(tally.parts) > 1:
        parts = ", ".join(tally.parts)
        raise InputError(
            str(wanted.out), f"is one file, and {version.label} has {parts}. Name one of them with --part, or a folder."
        )
