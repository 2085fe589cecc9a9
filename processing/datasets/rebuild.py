"""Deriving a version again from what is kept, without asking anybody: to see that it is what its inputs make.

A version of a run is derived from the inputs that the run keeps in its folder and from the call table, one without
erased rows from the version that it follows, and all others by `processing.datasets.derivation`. Nothing is bought:
where an answer is no longer there, as after an erasure, the rebuild says so. Of an uploaded file only the hash is kept;
whoever still has the file can have it read again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processing.budget import Budget
from processing.config import Config
from processing.datasets.derivation import Sources, derive
from processing.datasets.row_filter import FindPersonal
from processing.datasets.run_version import rows_of_files
from processing.errors import BudgetError, InputError
from processing.kept_inputs import KeptInputs, load_inputs, read_kept
from processing.run import make_dataset
from processing.sources import from_store
from store.data_files import TRACES_FILE
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import carried
from store.datasets.decision import standing
from store.datasets.freezing import version_hash
from store.datasets.row import Row
from store.datasets.version import Birth, Place, Version
from store.recorded.message import Json
from store.traces import TraceReader

_OFFLINE: Final = "nobody-is-asked"
_SHOWN: Final = 50
_UNKNOWN: Final = (
    "needs an answer of a model that is not in the call table any more, or never was in this one. It goes when a trace "
    "is erased that the question was about; `--as-new` makes the next version without erased rows."
)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A version held against what its inputs make now.

    Attributes:
        version: The version as it is stored.
        hash: Of what was derived; hexadecimal.
        added: Ids of rows that are kept only in what was derived.
        removed: Ids of rows that are kept only in the version, those that were erased apart.
        changed: Ids of rows that are kept in both, and hold something else or stand in another part.
        erased: Rows of the version that were erased and that are not derived any more.
        notes: What stands no more where it was.
    """

    version: Version
    hash: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    erased: int
    notes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the same version came out, bit for bit."""
        return self.hash == self.version.hash

    @property
    def is_equal_but_for_erased(self) -> bool:
        """Whether nothing differs but rows that were erased."""
        return not (self.added or self.removed or self.changed)

    def as_json(self) -> dict[str, Json]:
        """Give it with counts, and the first ids of each kind."""
        named = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return {
            "version": self.version.label,
            "hash": self.version.hash,
            "rebuilt_hash": self.hash,
            "is_equal": self.is_equal,
            "is_equal_but_for_erased": self.is_equal_but_for_erased,
            **{name: len(ids) for name, ids in named.items()},
            "erased": self.erased,
            "ids": {name: list(ids[:_SHOWN]) for name, ids in named.items()},
            "notes": list(self.notes),
        }


async def rebuild(
    store: DatasetStore,
    version: Version,
    *,
    data_dir: Path,
    environ: Mapping[str, str],
    folder: Path | None = None,
    files: Sequence[Path] = (),
    find_personal: FindPersonal | None = None,
) -> Rebuilt:
    """Derive a version again and compare.

    Args:
        store: Holds the version and the call table.
        version: A frozen one.
        data_dir: Where the captured traces are.
        environ: Where TRACEMILL_TEACHER_BASE_URL stands.
        folder: Of the run, where it has moved.
        files: Of uploads, or their folders, and prompts of which no copy is kept.
        find_personal: Finds personal data, where the filter asked for that.

    Raises:
        InputError: What the version was made of is not kept, or not as it was.
    """
    if version.birth is Birth.PROCESS:
        return await _of_run(store, version, data_dir, environ, folder)
    if version.birth is Birth.REBUILD:
        return await compare(store, version, await _without_erased(store, version))
    made = await derive(version, Sources(store, data_dir, files, find_personal))
    found = await compare(store, version, made.places, made.notes)
    if made.missing and not found.is_equal:
        purpose, model = made.missing[0]
        told = f"{len(made.missing)} answers are missing, the first of {model} for {purpose}."
        raise InputError(version.label, f"{_UNKNOWN} {told}")
    return found


async def _of_run(
    store: DatasetStore, version: Version, data_dir: Path, environ: Mapping[str, str], folder: Path | None
) -> Rebuilt:
    """Run the processor again over the inputs that the run keeps."""
    kept = _kept(version, await _folder(store, version, folder))
    stored = None
    if kept.trace_ids is not None:
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            stored = await from_store(reader, trace_ids=kept.trace_ids)
    inputs, notes = read_kept(kept, kept.config, stored=stored)
    try:
        made = await make_dataset(inputs, store, _offline(kept, environ), Budget(max_calls=0))
    except BudgetError as exc:
        raise InputError(version.label, _UNKNOWN) from exc
    # What people had decided by then holds for the rows that came in; what they decided since does not.
    log = await store.decision_log(version.dataset)
    decisions = standing(log[: version.manifest.get("decisions", 0)])
    return await compare(store, version, _places(carried(row, decisions) for row in rows_of_files(made.files)), notes)


async def _without_erased(store: DatasetStore, version: Version) -> dict[str, Place]:
    """Give the rows of the version that it follows, without those that had been erased by then."""
    parent = await store.version(f"{version.dataset}-v{version.parent}")
    gone = await store.erased_rows(parent, until=version.created_at)
    return {name: place for name, place in (await store.places(parent)).items() if name not in gone}


async def compare(
    store: DatasetStore, version: Version, derived: Mapping[str, Place], notes: Iterable[str] = ()
) -> Rebuilt:
    """Hold derived rows against those of a version."""
    new = {name: place for name, place in derived.items() if place.state == "kept"}
    there = {name: place for name, place in (await store.places(version)).items() if place.state == "kept"}
    gone = await store.erased_rows(version)
    removed = [name for name in sorted(there) if name not in new]
    triples = sorted((place.part or "", name, place.row_hash) for name, place in new.items())
    return Rebuilt(
        version,
        version_hash((part or None, name, bytes.fromhex(hash_)) for part, name, hash_ in triples).hex(),
        added=tuple(name for name in sorted(new) if name not in there),
        removed=tuple(name for name in removed if name not in gone),
        changed=tuple(name for name in sorted(new) if name in there and new[name] != there[name]),
        erased=sum(name in gone for name in removed),
        notes=tuple(notes),
    )


def _places(rows: Iterable[Row]) -> dict[str, Place]:
    return {row.row_id: Place(row.part, row.end.state, row.row_hash) for row in rows}


async def _folder(store: DatasetStore, version: Version, folder: Path | None) -> Path:
    if folder is not None:
        return folder
    run: Mapping[str, Json] = version.manifest.get("run") or {}
    job = await store.job(str(run.get("run_id")))
    return _there(Path(job.out_dir if job is not None else str(run.get("out_dir"))), version)


def _there(folder: Path, version: Version) -> Path:
    if not folder.is_dir():
        raise InputError(
            str(folder), f"is gone, and with it the inputs of {version.label}. Where it has moved, name it by --run."
        )
    return folder


def _kept(version: Version, folder: Path) -> KeptInputs:
    kept = load_inputs(folder)
    wanted: Mapping[str, Json] = version.manifest.get("inputs") or {}
    hashes = {name: file.sha256 for name, file in kept.files.items()}
    if kept.config.as_manifest() != version.manifest.get("config") or hashes != wanted:
        raise InputError(
            str(folder),
            f"keeps the inputs of another run by now, with other settings or files than {version.label} was made of.",
        )
    return kept


def _offline(kept: KeptInputs, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which each model has a key, since none is used."""
    keys = {name for name in _key_names(kept.config) if not environ.get(name)}
    return {**kept.environ(environ), **dict.fromkeys(keys, _OFFLINE)}


def _key_names(config: Config) -> Iterable[str]:
    return (model.api_key_env for model in config.models.values() if model.api_key_env)
