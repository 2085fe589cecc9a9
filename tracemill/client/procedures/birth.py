"""Versions that come to be: of files, of prompts, of clusters of traces."""

import contextlib
import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from proxy.admin.shapes.dataset import WholeVersion
from proxy.admin.shapes.job import Job
from tracemill.client.operations import dataset, job
from tracemill.client.procedures.job import version_of, wait_job
from tracemill.client.step import Procedure


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
    return (yield from version_of(filed, wait=wait))


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
    given = {"dataset": name, "prompts": _prompts(prompts_path, prompts), "add": add, "note": note, "config": config}
    answers = {"teacher": teacher, "n_samples": n_samples, "temperature": temperature, "system": system}
    members = {**given, **answers, "judge": judge, "threshold": threshold, "keep": keep}
    filed: Job = yield job.file_work("generate", members, max_calls=max_calls, max_cost=max_cost)
    return (yield from version_of(filed, wait=wait))


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
    return (yield from version_of(filed, wait=wait))


def _prompts(path: str | Path | None, prompts: Sequence[str | Mapping[str, Any]] | None) -> object:
    """Give prompts as a job is given them."""
    if (path is None) == (prompts is None):
        raise ValueError("give one of prompts_path and prompts.")
    return prompts if path is None else {"name": Path(path).name, "text": Path(path).read_text("utf-8")}


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
