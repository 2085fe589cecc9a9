"""What is done with versions: curated, measured, handed on."""

import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from proxy.admin.shapes.dataset import WholeVersion
from proxy.admin.shapes.evaluation import Evaluation
from proxy.admin.shapes.job import Job
from tracemill.client.operations import dataset, evaluation, job
from tracemill.client.procedures.job import made_by, result_of, wait_job
from tracemill.client.reference import Reference, as_text
from tracemill.client.step import Procedure, Save, Work


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
    version: WholeVersion = yield dataset.version(made_by(done))
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
    ids = [str(id_) for id_ in result_of(done)["evaluation_ids"]]
    found: list[Evaluation] = []
    while len(found) < len(ids):
        found.append((yield evaluation.evaluation(ids[len(found)])))
    return found


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
