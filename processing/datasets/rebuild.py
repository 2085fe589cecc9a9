"""Deriving a version again from what is kept, without asking anybody: to see that it is what its inputs make.

A version of a run is derived from the inputs that the run keeps in its folder and from the call table. Nothing is
bought: where an answer is no longer there, as after an erasure, the rebuild says so. Of an uploaded file only the hash
is kept; whoever still has the file can have it read again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from processing.budget import Budget
from processing.config import Config
from processing.datasets.data_set import Format, find_data
from processing.datasets.row_split import split_rows
from processing.datasets.run_version import rows_of_files
from processing.datasets.upload import upload
from processing.errors import BudgetError, InputError
from processing.kept_inputs import KeptInputs, load_inputs, read_kept
from processing.pipeline import make_dataset
from processing.sources import from_store
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import carried
from store.datasets.decision import standing
from store.datasets.freezing import version_hash
from store.datasets.row import Part, Row
from store.datasets.version import Birth, Place, Version
from store.recorded.message import Json
from store.traces import TraceReader

_OFFLINE: Final = "nobody-is-asked"
_SHOWN: Final = 50


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
    file: Path | None = None,
) -> Rebuilt:
    """Derive a version again and compare.

    Args:
        store: Holds the version and the call table.
        version: A frozen one.
        data_dir: Where the captured traces are.
        environ: Where TRACEMILL_TEACHER_BASE_URL stands.
        folder: Of the run, where it has moved.
        file: Of an upload, or its folder.

    Raises:
        InputError: What the version was made of is not kept, or not as it was.
    """
    if version.birth is Birth.UPLOAD and file is not None:
        return await compare(store, version, await _uploaded(version, file))
    kept = _kept(version, await _folder(store, version, folder))
    stored = None
    if kept.trace_ids is not None:
        async with await TraceReader.open(data_dir / "traces.db") as reader:
            stored = await from_store(reader, trace_ids=kept.trace_ids)
    inputs, notes = read_kept(kept, kept.config, stored=stored)
    try:
        made = await make_dataset(inputs, store, _offline(kept, environ), Budget(max_calls=0))
    except BudgetError as exc:
        raise InputError(
            version.label,
            "needs an answer of a model that is not in the call table any more, or never was in this one. It goes when "
            "a trace is erased that the question was about; `--as-new` makes the next version without erased rows.",
        ) from exc
    # What people had decided by then holds for the rows that came in; what they decided since does not.
    log = await store.decision_log(version.dataset)
    decisions = standing(log[: version.manifest.get("decisions", 0)])
    return await compare(store, version, _places(carried(row, decisions) for row in rows_of_files(made.files)), notes)


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


async def _uploaded(version: Version, file: Path) -> dict[str, Place]:
    """Read an uploaded file again, into a store that is gone afterwards."""
    manifest = version.manifest
    stages = manifest.get("curation") or {}
    if manifest.get("decisions") or manifest.get("added") or set(stages) - {"split"}:
        raise InputError(
            version.label, "was curated or added to after the upload, and cannot be derived again from the file alone."
        )
    source, read_as = manifest["source"], manifest.get("read_as") or {}
    found = {one["sha256"] for one in find_data(file, Format(source["format"]), subset=read_as.get("subset")).digests()}
    if found != {one["sha256"] for one in source["files"]}:
        raise InputError(str(file), f"is not what {version.label} was made of: its SHA-256 is another.")
    mapping = manifest["mapping"]
    told = {} if mapping["is_guessed"] else {name: "+".join(columns) for name, columns in mapping["columns"].items()}
    told |= (
        {} if mapping["is_guessed"] else {f"metadata.{name}": column for name, column in mapping["metadata"].items()}
    )
    with TemporaryDirectory(prefix="tracemill-") as folder:
        async with await DatasetStore.open(Path(folder) / "work.db") as scratch:
            report = await upload(
                file,
                version.dataset,
                scratch,
                told=told,
                wanted=Format(source["format"]),
                subset=read_as.get("subset"),
                has_header=read_as.get("has_header"),
                part=None if read_as.get("part") is None else Part(read_as["part"]),
            )
            made = report.version
            assert made is not None, "an upload that ended has a version"  # noqa: S101
            if "split" in stages:
                wanted = {name: stages["split"].get(name) for name in ("test_fraction", "test", "seed")}
                made = (await split_rows(scratch, made.label, **wanted)).version
            return await scratch.places(made)


async def _folder(store: DatasetStore, version: Version, folder: Path | None) -> Path:
    if version.birth is Birth.UPLOAD:
        named = ", ".join(f"{one['name']} (SHA-256 {one['sha256']})" for one in version.manifest["source"]["files"])
        raise InputError(
            version.label, f"was uploaded, and of the file its hash alone is kept. Name it by --from: {named}."
        )
    if version.birth is not Birth.PROCESS:
        raise InputError(
            version.label,
            f"was born by {version.birth}, and what such a version was made of is not kept, beside its manifest: it "
            "can be verified (`tracemill datasets verify`) and not derived again.",
        )
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
