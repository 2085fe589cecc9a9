"""What takes several calls: filing a job and waiting for what comes of it, writing an export to the disk.

A procedure is a generator that gives each step to whoever carries it out and gets the step's result back, so that it is
written once for the client that blocks and the one that does not.
"""

import contextlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from proxy.admin.shapes.dataset import WholeVersion
from proxy.admin.shapes.evaluation import Evaluation
from proxy.admin.shapes.job import Job
from tracemill.client.call import Blocks, Call
from tracemill.client.errors import AnswerError, JobError
from tracemill.client.operations import dataset, evaluation, job
from tracemill.client.reference import Reference, as_text

T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Save:
    """Write an answer to a file as it comes."""

    blocks: Blocks
    path: Path


@dataclass(frozen=True, slots=True)
class Work:
    """Do something on this machine that takes its time."""

    do: Callable[[], Any]


Step = Call[Any] | Pause | Save | Work
Procedure = Generator[Step, Any, T]


def wait_job(id: str) -> Procedure[Job]:  # noqa: A002
    """Wait until a job is done.

    Args:
        id: The job's id.

    Raises:
        JobError: It failed, or stopped and will not go on by itself.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        found: Job = yield job.job(id)
        if found.status == "JOB_SUCCESS":
            return found
        if found.status == "JOB_FAILURE" or (found.status == "JOB_STOPPED" and not found.is_wanted):
            raise JobError(found.id, found.status, found.error)
        yield Pause(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def upload_dataset(
    *,
    name: str,
    path: str | Path,
    map: str | None = None,  # noqa: A002
    part: dataset.Part | None = None,
    test_fraction: float | None = None,
    add: bool = False,
    strict: bool = False,
    note: str | None = None,
    wait: bool = True,
) -> Procedure[WholeVersion | Job]:
    """Make a version of a file, or of a folder of a Hugging Face dataset, that lies on this machine.

    Args:
        name: Of the dataset; `NAME-v1` insists that the next version is the first.
        path: JSON Lines, CSV, Parquet, or such a folder.
        map: Which column is what, `prompt=question,response=answer`; the rest is guessed.
        part: Put all rows there.
        test_fraction: Share that goes to test.
        add: Add to the active version, or to the rows of the newest frozen one.
        strict: A record that cannot be a row is an error.
        note: A few words that lists show.
        wait: Whether to wait for the job.

    Returns:
        The version; the job where it is not waited for.

    Raises:
        JobError: The job failed or stopped.
        OSError: The file cannot be read.
    """
    source = Path(path)
    with _opened(source) as (file, file_name):
        filed: Job = yield dataset.upload_rows(
            name,
            file,
            file=file_name,
            map=map,
            part=part,
            test_fraction=test_fraction,
            add=add,
            strict=strict,
            note=note,
        )
    return (yield from _version_of(filed, wait=wait))


def generate_dataset(
    *,
    name: str,
    prompts_path: str | Path | None = None,
    prompts: Sequence[str | Mapping[str, Any]] | None = None,
    teacher: str,
    n_samples: int = 4,
    judge: str,
    threshold: float | None = None,
    keep: Literal["best", "all"] = "best",
    temperature: float | None = None,
    system: str | None = None,
    add: bool = False,
    note: str | None = None,
    config: Mapping[str, Any] | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
    wait: bool = True,
) -> Procedure[WholeVersion | Job]:
    """Have a teacher answer prompts several times, a judge score the answers, and the best become a version.

    Args:
        name: Of the dataset; `NAME-v1` insists that the next version is the first.
        prompts_path: File of prompts on this machine: one on each line, or JSON Lines.
        prompts: The prompts themselves, in place of a file.
        teacher: Answers.
        n_samples: Answers to each prompt.
        judge: Scores the answers.
        threshold: Least score of an answer that becomes a row; None for 0.7.
        keep: Whether the best answer to a prompt may become a row, or all good ones.
        temperature: Of the teacher.
        system: System prompt for prompts without one.
        add: Add to the active version, or to the rows of the newest frozen one.
        note: A few words that lists show.
        config: Where the models are asked; None for where the server asks all.
        max_calls: Most calls that it may buy.
        max_cost: Most money that it may spend.
        wait: Whether to wait for the job.

    Returns:
        The version; the job where it is not waited for.

    Raises:
        ValueError: Not exactly one of `prompts_path` and `prompts` is given.
        JobError: The job failed or stopped.
        OSError: The file cannot be read.
    """
    if (prompts_path is None) == (prompts is None):
        raise ValueError("give one of prompts_path and prompts.")
    given: object = prompts
    if prompts_path is not None:
        given = {"name": Path(prompts_path).name, "text": Path(prompts_path).read_text("utf-8")}
    members = {
        "dataset": name,
        "prompts": given,
        "teacher": teacher,
        "n_samples": n_samples,
        "judge": judge,
        "threshold": threshold,
        "keep": keep,
        "temperature": temperature,
        "system": system,
        "add": add,
        "note": note,
        "config": config,
    }
    filed: Job = yield job.file_work("generate", members, max_calls=max_calls, max_cost=max_cost)
    return (yield from _version_of(filed, wait=wait))


def curate(
    kind: Literal["judge", "filter", "split", "review"], reference: Reference, **members: object
) -> Procedure[WholeVersion]:
    """Run one stage of curation on a version that is open, or on top of a frozen one, and wait for it.

    Args:
        kind: The stage.
        reference: `NAME-v3`, or `NAME` for the one that is open, or the newest where none is.
        members: What the stage is given, as docs/admin-api.md tells, such as `model=` and `threshold=` for `judge`.

    Raises:
        JobError: The job failed or stopped.
    """
    filed: Job = yield job.file_work(kind, {"version": as_text(reference), **members})
    done = yield from wait_job(filed.id)
    version: WholeVersion = yield dataset.version(_made(done))
    return version


def evaluate(
    reference: Reference,
    *,
    models: Sequence[str] = (),
    judge: str | None = None,
    part: Literal["test", "train", "all"] = "test",
    metrics: Sequence[str] = (),
    has_recorded: bool = False,
    config: Mapping[str, Any] | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> Procedure[list[Evaluation]]:
    """Have models answer the rows of a frozen version, and give what came of it.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest frozen one.
        models: Who answers.
        judge: Judges answers; None for nobody.
        part: Which rows.
        metrics: Those that are wanted; empty for all.
        has_recorded: Score the answers that the rows hold, too.
        config: Where the models are asked; None for where the server asks all.
        max_calls: Most calls that it may buy.
        max_cost: Most money that it may spend.

    Raises:
        JobError: The job failed or stopped.
    """
    members = {
        "version": as_text(reference),
        "models": list(models),
        "judge": judge,
        "part": part,
        "metrics": list(metrics),
        "has_recorded": has_recorded,
        "config": config,
    }
    filed: Job = yield job.file_work("evaluate", members, max_calls=max_calls, max_cost=max_cost)
    done = yield from wait_job(filed.id)
    ids = [str(id_) for id_ in _result(done)["evaluation_ids"]]
    found: list[Evaluation] = []
    while len(found) < len(ids):
        found.append((yield evaluation.evaluation(ids[len(found)])))
    return found


def build_clusters(
    *,
    where: str | None = None,
    embedder: str = "offline",
    clusters: int | None = None,
    name_model: str | None = None,
    config: Mapping[str, Any] | None = None,
    max_calls: int | None = None,
    max_cost: float | None = None,
) -> Procedure[Job]:
    """Put traces together whose users want the same, and wait for it; `clusters` lists what was found.

    Args:
        where: Selects traces, as in docs/filter.md; None for all.
        embedder: `offline`, or the name of a model that makes vectors.
        clusters: How many to make; None to find out.
        name_model: Names them; None for names by terms alone.
        config: Where the models are asked; None for where the server asks all.
        max_calls: Most calls that it may buy.
        max_cost: Most money that it may spend.

    Raises:
        JobError: The job failed or stopped.
    """
    members = {
        "where": where,
        "embedder": embedder,
        "clusters": clusters,
        "name_model": name_model,
        "config": config,
    }
    filed: Job = yield job.file_work("clusters", members, max_calls=max_calls, max_cost=max_cost)
    return (yield from wait_job(filed.id))


def promote_cluster(
    cluster: int | Sequence[int],
    *,
    name: str,
    where: str | None = None,
    rows: int | None = None,
    pick: Sequence[str] = (),
    exclude: Sequence[str] = (),
    add: bool = False,
    note: str | None = None,
    wait: bool = True,
) -> Procedure[WholeVersion | Job]:
    """Make a version of the traces of a cluster, or of several.

    Args:
        cluster: Id of the cluster, or ids.
        name: Of the dataset; `NAME-v1` insists that the next version is the first.
        where: Only traces that this selects, as in docs/filter.md.
        rows: At most so many, those nearest the middle.
        pick: Ids of traces to take, in place of all.
        exclude: Ids of traces to leave out.
        add: Add to the active version, or to the rows of the newest frozen one.
        note: A few words that lists show.
        wait: Whether to wait for the job.

    Returns:
        The version; the job where it is not waited for.

    Raises:
        JobError: The job failed or stopped.
    """
    members = {
        "clusters": [cluster] if isinstance(cluster, int) else list(cluster),
        "dataset": name,
        "where": where,
        "rows": rows,
        "pick": list(pick),
        "exclude": list(exclude),
        "add": add,
        "note": note,
    }
    filed: Job = yield job.file_work("promote", members)
    return (yield from _version_of(filed, wait=wait))


def export_dataset(
    reference: Reference,
    *,
    format: str = "rows",  # noqa: A002
    path: str | Path,
    part: dataset.Part | None = None,
    without_erased: bool = False,
) -> Procedure[Path]:
    """Write a version to this machine: one part as a file, all parts as a folder, or as an archive named `….tar`.

    Args:
        reference: `NAME-v3`, or `NAME` for the newest frozen one.
        format: As docs/exports.md names it, such as `openai`.
        path: The file, archive or folder to make; it appears whole or not at all, and replaces nothing.
        part: Only this part, as a single file.
        without_erased: A version of which rows were erased, too.

    Returns:
        What was made.

    Raises:
        FileExistsError: Something stands there.
        OSError: It cannot be written.
    """
    out = Path(path)
    if out.exists():
        raise FileExistsError(f"{out} is there already; name another place.")
    coming = out.with_name(f".{out.name}.coming")
    blocks = dataset.export_version(reference, format=format, part=part, without_erased=without_erased)
    try:
        yield Save(blocks, coming)
        if part is not None or out.suffix == ".tar":
            coming.rename(out)
        else:
            yield Work(lambda: _unpack(coming, out))
    finally:
        coming.unlink(missing_ok=True)
    return out


def _version_of(filed: Job, *, wait: bool) -> Procedure[WholeVersion | Job]:
    if not wait:
        return filed
    done = yield from wait_job(filed.id)
    version: WholeVersion = yield dataset.version(_made(done))
    return version


def _result(done: Job) -> Mapping[str, Any]:
    if done.result is None:
        raise AnswerError(f"job {done.id} is done and tells no result: look at the versions of client and server.")
    return done.result


def _made(done: Job) -> str:
    return str(_result(done)["version"])


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file; a folder is packed into one first."""
    if source.is_file():
        with source.open("rb") as file:
            yield file, source.name
        return
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is neither a file nor a folder.")
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=source.name or "rows")
        packed.seek(0, io.SEEK_SET)
        yield packed, f"{source.resolve().name or 'rows'}.tar"


def _unpack(archive: Path, out: Path) -> None:
    unpacking = out.with_name(f".{out.name}.unpacking")
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(unpacking, filter="data")
        # The archive holds one folder, named for the version.
        (held,) = unpacking.iterdir()
        held.rename(out)
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
