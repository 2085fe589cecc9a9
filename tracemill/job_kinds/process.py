"""A job of the kind `process`: traces of the store become a dataset."""

import os
from dataclasses import replace

from processing import calibration, curated, job_description
from processing.inputs import Files, Inputs, read_inputs
from processing.pipeline import models_of
from processing.pipeline import process as run_process
from processing.sources import Intake
from processing.sources import from_store as read_store
from store.filter import parse_filter
from store.traces import TraceReader
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about


def _check(asked: Asked) -> None:
    folder = asked.folder
    with about("config"):
        config = asked.config
    with about("job_description"):
        description = job_description.load(folder.job_description, task=config.base.task)
    with about("test"):
        test = curated.load(folder.test) if folder.test.exists() else None
    if folder.calibration.exists():
        with about("calibration"):
            calibration.load(folder.calibration)
    asked.check_models(models_of(Inputs(Intake(), config, description, test)))


async def _run(attempt: Attempt) -> Done:
    inputs = await _read_inputs(attempt)
    _, dataset = await run_process(
        inputs, attempt.folder.dataset, attempt.work, os.environ, budget=attempt.budget, progress=attempt.progress
    )
    return Done(None, dataset.report["warnings"])


async def _read_inputs(attempt: Attempt) -> Inputs:
    where = attempt.request.get("where")
    selection = None if where is None else parse_filter(where)
    async with await TraceReader.open(attempt.data_dir / "traces.db") as reader:
        intake = await read_store(reader, selection)
    folder = attempt.folder
    files = Files(folder.job_description, folder.config, None, folder.test if folder.test.exists() else None)
    return replace(read_inputs(files, intake=intake, where=where), config=attempt.config)


PROCESS = KindOfWork(_check, _run, publishes_itself=True)
