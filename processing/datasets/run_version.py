"""A run of the processor as a frozen version of a dataset."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from processing.datasets.run_rows import Lines, rows_of_run
from processing.errors import ConservationError, InputError
from processing.lineage import parse_lineage, read_lineage
from processing.output import MANIFEST
from processing.plain_value import read_json
from store.datasets.dataset_reader import BATCH_ROWS
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Row
from store.datasets.version import Birth, Version, read_reference
from store.errors import DatasetError
from store.job import Job, JobStatus
from store.recorded.message import Json

_AGAIN = "Run `tracemill process` into its folder once more: what was paid for is kept."
_REPORTED = ("intake", "funnel", "totals", "split", "calls", "calls_by_model")
_NOT_KEPT = ("conversations", "files")
"""Fields of a run's manifest that a version's leaves out: lists as long as the run, and what the run's folder holds."""


class Made(NamedTuple):
    """A version of a run.

    Attributes:
        version: The version.
        is_new: False when the newest frozen version holds just those rows, so that no further one was made.
    """

    version: Version
    is_new: bool


class _SameRowsError(Exception):
    """The rows are those of a version that is there."""


async def version_of_run(store: DatasetStore, job: Job, name: str, *, note: str | None = None) -> Made:
    """Freeze what a run made as the next version of a dataset; it is whole or not there at all.

    Args:
        store: Where it goes.
        job: The run, done.
        name: Of the dataset; `NAME-v3` insists that the version has that number.
        note: A few words that lists show.

    Raises:
        InputError: The run is not done, or its folder is not whole.
        DatasetError: A version of the dataset is active, or another process is making one; traces of the run were
            erased since.
    """
    folder = Path(job.out_dir)
    if job.status is not JobStatus.SUCCESS:
        raise InputError(f"run {job.name}", f"is {job.status}. Run `tracemill process` into its folder to the end.")
    erased = await store.erased(job.run_id)
    if erased is not None:
        raise DatasetError(
            f"{erased.traces} of the traces of run {job.name} were erased by {erased.erased_at}, and its files still "
            "hold them. Run `tracemill process` into its folder once more: what was paid for is kept."
        )
    entries = list(read_lineage(folder))
    found, report = _object(folder / MANIFEST), _object(folder / "report.json")
    manifest = manifest_of(found, report, job)
    earlier = await _newest_frozen(store, name)
    try:
        async with store.birth(name, birth=Birth.PROCESS, manifest=manifest, note=note, freeze=True) as born:
            rows = rows_of_run(_from_folder(folder, found.get("files", {})), entries)
            for batch in in_batches(checked(rows, report)):
                await born.add_rows(batch)
            if earlier is not None and await born.derived_hash() == earlier.hash:
                raise _SameRowsError
    except _SameRowsError:
        assert earlier is not None, "rows are compared with those of a version"  # noqa: S101
        return Made(earlier, is_new=False)
    assert born.version is not None, "a birth that ended has made a version"  # noqa: S101
    return Made(born.version, is_new=True)


def rows_of_files(files: Mapping[str, bytes]) -> Iterator[Row]:
    """Give the rows of a run that was not written: `make_dataset` has its files in memory."""
    entries = list(parse_lineage(files["lineage.jsonl"].splitlines()))
    return rows_of_run(lambda name: files[name].split(b"\n")[:-1], entries)


def manifest_of(found: Mapping[str, Json], report: Mapping[str, Json], job: Job | None) -> dict[str, Json]:
    """Write what made the version: the run's manifest, and of its report what was counted."""
    config = found.get("config", {})
    calls = report.get("calls_by_model", [])
    costs = [call["cost"] for call in calls if call["cost"] is not None]
    return {
        **{name: value for name, value in found.items() if name not in _NOT_KEPT},
        "seed": config.get("base", {}).get("random_seed"),
        "models": sorted({call["model"] for call in calls}),
        "cost": round(sum(costs), 9) if costs else None,
        **{name: report[name] for name in _REPORTED if name in report},
        "run_warnings": report.get("warnings", []),
        "run": None if job is None else {"run_id": job.run_id, "name": job.name, "out_dir": job.out_dir},
    }


def checked(rows: Iterable[Row], report: Mapping[str, Json]) -> Iterator[Row]:
    """Pass rows on, and hold their number by end against what the run counted.

    Raises:
        ConservationError: It is another.
    """
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row.end.state)] = counts.get(str(row.end.state), 0) + 1
        yield row
    examples, files = report["totals"]["examples"], report["rows"]
    expected = {state: examples[state] for state in ("dropped", "failed", "review")}
    expected["kept"] = sum(files[f"{part}.jsonl"] for part in ("train", "test", "unstructured"))
    if {state: counts.get(state, 0) for state in expected} != expected:
        raise ConservationError(f"the run counted {expected} rows, and its files hold {counts}.")


def in_batches(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows into batches that are stored together."""
    left = iter(rows)
    while batch := list(islice(left, BATCH_ROWS)):
        yield batch


async def _newest_frozen(store: DatasetStore, name: str) -> Version | None:
    with suppress(DatasetError):
        return await store.version(read_reference(name).dataset, wants="frozen")
    return None


def _from_folder(folder: Path, described: Mapping[str, Json]) -> Lines:
    def lines(name: str) -> Iterator[bytes]:
        path = folder / name
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != described.get(name, {}).get("sha256"):
                    raise InputError(str(path), f"is not what the run wrote. {_AGAIN}")
                file.seek(0)
                yield from file
        except OSError as exc:
            raise InputError(str(path), f"cannot be read ({exc.strerror}). {_AGAIN}") from exc

    return lines


def _object(path: Path) -> dict[str, Json]:
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict):
        raise InputError(str(path), f"is missing or no object: the folder holds no whole dataset. {_AGAIN}")
    return found
