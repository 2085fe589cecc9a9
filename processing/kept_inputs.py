"""What a run keeps of its inputs, so that the traces it has loaded can be processed again in another way.

Beside the dataset lies a folder that is no part of it: the configuration as it was given, the job description, the test
set, a packed copy of the trace file, and where each came from. Of captured traces only the ids are kept, and the store
is read again: what was erased meanwhile is not there. Where traces of a file are erased by their ids, the packed copy
goes too (`store.erasing.work_erasing`).
"""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from processing import calibration, curated, job_description
from processing.config import Config, without_credentials
from processing.errors import InputError
from processing.inputs import Inputs, Origin
from processing.sources import Intake, read_lines
from store.erasing.work_erasing import INPUTS_FOLDER, TRACES_COPY
from store.recorded.message import Json

BASE_URL = "TRACEMILL_TEACHER_BASE_URL"
_FACTS = "inputs.json"
_FORMAT = 1
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One input file as it was.

    Attributes:
        path: Where it was read; absolute.
        sha256: Of its bytes.
        copy: Our copy of it; the one of the traces is packed.
    """

    path: Path
    sha256: str
    copy: Path

    @property
    def is_unchanged(self) -> bool:
        """Whether the file still stands where it was, with the same bytes."""
        try:
            return _sha256(self.path) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class KeptInputs:
    """What a run keeps of its inputs.

    Attributes:
        folder: Of the run.
        config: The configuration as it was given, credentials in URLs aside.
        files: Name of each input to its file.
        where: The filter of captured traces, as it was written; None without one.
        trace_ids: The captured traces; None when the traces came from a file.
        strict: Whether a line that cannot be read was an error.
        base_url: Where models without an entry of their own were asked.
    """

    folder: Path
    config: Config
    files: Mapping[str, KeptFile]
    where: str | None = None
    trace_ids: tuple[str, ...] | None = None
    strict: bool = False
    base_url: str | None = None

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment, with the base URL of then where none is set now."""
        known = {BASE_URL: self.base_url} if self.base_url else {}
        return {**known, **{name: value for name, value in environ.items() if value or name not in known}}


def keep_inputs(folder: Path, inputs: Inputs, environ: Mapping[str, str]) -> None:
    """Keep the inputs of a run in its folder, in place of those of an earlier one.

    Raises:
        InputError: A file has changed since it was read.
        OSError: The folder cannot be written.
    """
    origin = inputs.origin
    if origin is None:
        return
    ours = folder / INPUTS_FOLDER
    ours.mkdir(mode=0o700, exist_ok=True)
    if origin.kept_in is not None:
        _hand_on(origin.kept_in, folder)
    earlier = _facts(folder) or {}
    files: dict[str, Json] = {}
    for name, path in origin.files.items():
        copy = TRACES_COPY if name == "traces" else f"{name}{path.suffix}"
        known = earlier.get("files", {}).get(name, {}) if isinstance(earlier.get("files"), dict) else {}
        if known.get("sha256") != inputs.hashes[name] or not (ours / copy).exists():
            copy_input(path, ours / copy, inputs.hashes[name])
        files[name] = {"path": str(path.resolve()), "sha256": inputs.hashes[name], "copy": copy}
    if "traces" not in files:
        (ours / TRACES_COPY).unlink(missing_ok=True)
    shown = environ.get(BASE_URL)
    facts = {
        "format": _FORMAT,
        "config": _as_given(inputs.config),
        "not_used": inputs.config.not_used,
        "files": files,
        "where": origin.where,
        "trace_ids": None if "traces" in files else list(inputs.intake.trace_ids),
        "strict": origin.strict,
        "base_url": without_credentials(shown) if shown else None,
    }
    _write(ours / _FACTS, json.dumps(facts).encode())


def load_inputs(folder: Path) -> KeptInputs:
    """Find what a run has kept.

    Raises:
        InputError: It has kept nothing, or what it kept cannot be read.
    """
    facts = _facts(folder)
    if facts is None:
        raise InputError(
            str(folder),
            "holds nothing of what the run worked on. Run `tracemill process` into it once more: what was paid for "
            "is kept, and from then on it can be reprocessed.",
        )
    try:
        config = Config.model_validate({**facts["config"], "not_used": facts["not_used"]})
        files = {
            name: KeptFile(Path(one["path"]), one["sha256"], folder / INPUTS_FOLDER / Path(one["copy"]).name)
            for name, one in facts["files"].items()
        }
        ids = facts["trace_ids"]
        trace_ids = None if ids is None else tuple(ids)
        return KeptInputs(folder, config, files, facts["where"], trace_ids, facts["strict"], facts["base_url"])
    except (KeyError, TypeError, AttributeError, ValidationError) as exc:
        raise InputError(str(folder / INPUTS_FOLDER / _FACTS), "is damaged. Run `tracemill process` again.") from exc


def read_kept(kept: KeptInputs, config: Config, *, stored: Intake | None = None) -> tuple[Inputs, list[str]]:
    """Read the inputs of a run again, under another configuration; say what stands no more where it was.

    Args:
        kept: What the run kept.
        config: What to read them under.
        stored: The captured traces, when the run worked on those.

    Raises:
        ProcessingError: An input is gone, with how to go on.
    """
    notes = [_moved(file) for file in kept.files.values() if not file.is_unchanged]
    description = job_description.load(_copy_of(kept, "job_description"), task=config.base.task)
    test = curated.load(_copy_of(kept, "test")) if "test" in kept.files else None
    judged = calibration.load(_copy_of(kept, "calibration")) if "calibration" in kept.files else None
    if stored is None:
        stored = _read_traces(kept, config)
    elif kept.trace_ids is not None and len(stored.trace_ids) < len(kept.trace_ids):
        gone = len(kept.trace_ids) - len(stored.trace_ids)
        notes.append(f"{gone} of the run's {len(kept.trace_ids)} traces are no longer in the store: they are left out.")
    hashes = {name: file.sha256 for name, file in kept.files.items()}
    origin = Origin({name: file.path for name, file in kept.files.items()}, kept.where, kept.strict, kept.folder)
    return Inputs(stored, config, description, test, judged, hashes, origin), notes


def _hand_on(source: Path, target: Path) -> None:
    """Give a new run the copies of the run it comes from, since the files may have changed meanwhile."""
    if source.resolve() != target.resolve():
        for path in (source / INPUTS_FOLDER).iterdir():
            copy = target / INPUTS_FOLDER / path.name
            temporary = copy.with_name(f"{copy.name}.new")
            shutil.copyfile(path, temporary)
            temporary.chmod(0o600)
            temporary.rename(copy)


def _as_given(config: Config) -> dict[str, Any]:
    written = config.model_dump(mode="json", exclude_unset=True, exclude={"not_used"})
    for model in written.get("models", {}).values():
        if model.get("base_url"):
            model["base_url"] = without_credentials(model["base_url"])
    return written


def _read_traces(kept: KeptInputs, config: Config) -> Intake:
    file = kept.files["traces"]
    name, wanted = file.path.name, config.trace_processing.observation_format
    try:
        with gzip.open(file.copy, "rb") as lines:
            return read_lines(lines, name, wanted, strict=kept.strict)
    except FileNotFoundError:
        pass
    except (OSError, EOFError) as exc:
        raise InputError(str(file.copy), f"cannot be read ({exc}). Run `tracemill process` again.") from exc
    if not file.is_unchanged:
        raise InputError(
            str(file.path),
            "has changed or is gone since the run, and so is the run's own copy (it goes when traces are erased). "
            "Run `tracemill process` on the traces as they are now: what was paid for is kept.",
        )
    with file.path.open("rb") as lines:
        return read_lines(lines, name, wanted, strict=kept.strict)


def _copy_of(kept: KeptInputs, name: str) -> Path:
    file = kept.files[name]
    if file.copy.exists():
        return file.copy
    if file.is_unchanged:
        return file.path
    raise InputError(str(file.path), "has changed or is gone, and so is the run's copy. Run `tracemill process` again.")


def _moved(file: KeptFile) -> str:
    what = "has changed since the run" if file.path.exists() else "is gone"
    return f"{file.path} {what}; what the run has loaded of it is used. `tracemill process` takes it as it is now."


def copy_input(source: Path, target: Path, sha256: str) -> None:
    """Copy a file piece by piece, packed where the name ends so, for its owner's eyes alone.

    Raises:
        InputError: It is no longer what was read.
        OSError: One of them cannot be read or written.
    """
    temporary = target.with_name(f"{target.name}.new")
    digest = hashlib.sha256()
    try:
        with source.open("rb") as file, temporary.open("wb") as raw:
            os.fchmod(raw.fileno(), 0o600)
            # Without name and time in its head, so that equal files have equal copies.
            packed = gzip.GzipFile("", "wb", 1, raw, mtime=0) if target.suffix == ".gz" else None
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                (packed or raw).write(block)
            if packed is not None:
                packed.close()
        if digest.hexdigest() != sha256:
            raise InputError(str(source), "has changed while it was read. Run the same command again.")
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
    temporary.rename(path)


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / INPUTS_FOLDER / _FACTS).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == _FORMAT else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
