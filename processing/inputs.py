"""What a run is given: traces, a job description, a configuration and maybe a test set."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from processing import calibration, config_file, curated, job_description
from processing.calibration import Calibration
from processing.config import Config
from processing.curated import Curated
from processing.errors import InputError
from processing.job_description import JobDescription
from processing.sources import Intake, read_traces


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a run.

    Attributes:
        job_description: `job_description.json`.
        config: `config.yaml`, `.yml` or `.json`.
        traces: `traces.jsonl`; None when the traces come from the store.
        test: `test.jsonl` or `test.csv`; None to have a test set drawn from the traces.
    """

    job_description: Path
    config: Path
    traces: Path | None = None
    test: Path | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the inputs came from, so that the run can find them again.

    Attributes:
        files: Name of each input, the configuration aside, to its file.
        where: The filter of captured traces, as it was written.
        strict: Whether a line that cannot be read was an error.
        kept_in: Folder of the earlier run whose copies were read, in place of the files.
    """

    files: Mapping[str, Path]
    where: str | None = None
    strict: bool = False
    kept_in: Path | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a run works on, read and checked.

    Attributes:
        intake: The conversations, and what could not be read.
        config: The configuration.
        description: The job description.
        test: The person's own test set.
        calibration: Answers that people have judged, to hold the judge against.
        hashes: Name of each input to the SHA-256 of its bytes, for the manifest.
        origin: Where they came from; None when nothing of them is to be kept.
    """

    intake: Intake
    config: Config
    description: JobDescription
    test: Curated | None = None
    calibration: Calibration | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None


def find_files(folder: Path) -> Files:
    """Find the files of an upload directory.

    Raises:
        InputError: A required file is missing, or there are two of one kind.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "is not a folder. --data takes a folder with traces.jsonl and its companions.")
    return Files(
        job_description=_required(folder, ["job_description.json"]),
        config=_required(folder, ["config.yaml", "config.yml", "config.json"]),
        traces=_required(folder, ["traces.jsonl"]),
        test=_one_of(folder, ["test.jsonl", "test.csv"]),
    )


def read_inputs(
    files: Files, *, intake: Intake | None = None, where: str | None = None, strict: bool = False
) -> Inputs:
    """Read and check everything before anything is paid for.

    Args:
        files: Where to read.
        intake: Conversations of the store, when `files` names no traces.
        where: The filter that selected them.
        strict: A line of the traces that cannot be read is an error.

    Raises:
        ProcessingError: Something that was given is wrong.
    """
    config = config_file.load(files.config)
    description = job_description.load(files.job_description, task=config.base.task)
    test = None if files.test is None else curated.load(files.test)
    if files.traces is not None:
        intake = read_traces(files.traces, config.trace_processing.observation_format, strict=strict)
    if intake is None:
        raise InputError("traces", "are missing.")
    named_set = config.evaluation.calibration
    judged = None if named_set is None else files.config.parent / named_set
    judgements = None if judged is None else calibration.load(judged)
    named = {
        "traces": files.traces,
        "job_description": files.job_description,
        "test": files.test,
        "calibration": judged,
    }
    given = {name: path for name, path in named.items() if path is not None}
    hashes = {name: _sha256(path) for name, path in given.items()}
    return Inputs(intake, config, description, test, judgements, hashes, Origin(given, where, strict))


def _required(folder: Path, names: list[str]) -> Path:
    found = _one_of(folder, names)
    if found is None:
        raise InputError(str(folder), f"holds no {' or '.join(names)}, which is required.")
    return found


def _one_of(folder: Path, names: list[str]) -> Path | None:
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise InputError(str(folder), f"holds {' and '.join(path.name for path in found)}; keep one of them.")
    return found[0] if found else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
