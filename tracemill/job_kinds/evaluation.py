"""A job of the kind `evaluate`: models answer the rows of a frozen version; and comparing what came of that."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processing.errors import InputError
from processing.evaluation.comparison import compare_stored
from processing.evaluation.evaluate import Wanted, evaluate
from processing.evaluation.suite import check_metrics
from store.data_files import WORK_FILE
from store.datasets.evaluation_store import EvaluationStore
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about


def _wanted(asked: Asked) -> Wanted:
    request = asked.request
    return Wanted(
        request["version"],
        models=tuple(request["models"]),
        part=request["part"],
        suite=request["suite"],
        metrics=tuple(request["metrics"]),
        judge=request.get("judge"),
        has_recorded=request["has_recorded"],
        description=asked.job_description,
    )


def _check(asked: Asked) -> None:
    asked.check_version("frozen")
    with about("job_description"):
        wanted = _wanted(asked)
    with about("metrics"):
        check_metrics(wanted.metrics)
    with about("models"):
        if not wanted.models and not wanted.has_recorded:
            raise InputError("models", "names none; name one or more, or take has_recorded.")
    asked.check_models([*wanted.models, *([wanted.judge] if wanted.judge else [])])


async def _run(attempt: Attempt) -> Done:
    async with (
        await EvaluationStore.open(attempt.data_dir / WORK_FILE) as store,
        attempt.teachers() as (teachers, progress),
    ):
        found = await evaluate(_wanted(attempt), store, teachers, progress=progress)
    told = found.as_json()
    first = found.evaluations[0]
    ids = [one.evaluation_id for one in found.evaluations]
    return Done({"version": first.label, "evaluation_ids": ids, **told}, found.warnings)


async def comparison(data_dir: Path, ids: Sequence[str]) -> dict[str, Any]:
    """Hold stored evaluations against each other.

    Raises:
        DatasetError: There is no such evaluation.
        InputError: They cannot be compared.
    """
    async with await EvaluationStore.open_to_read(data_dir / WORK_FILE) as store:
        return (await compare_stored(ids, store)).as_json()


EVALUATE = KindOfWork(_check, _run)
