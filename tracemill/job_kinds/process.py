"""A job of the kind `process`: traces of the store become a dataset."""

import os
from dataclasses import replace

from processing import calibration, config_file, curated, job_description
from processing.config import Config
from processing.datasets.run_version import version_of_run
from processing.inputs import Files, Inputs, read_inputs
from processing.pipeline import models_of
from processing.run import process as run_process
from processing.sources import Intake
from processing.sources import from_store as read_store
from store.data_files import TRACES_FILE
from store.filter import parse_filter
from store.job import JobStatus
from store.traces import TraceReader
from tracemill.job_kinds.attempt import Asked, Attempt, Done, KindOfWork, about
from tracemill.job_kinds.job_datasets import open_datasets
from tracemill.job_kinds.servers import allowed


def _check(asked: Asked) -> None:
    folder = asked.folder
    with about("config"):
        config = _config(asked)
    with about("job_description"):
        description = job_description.load(folder.job_description, task=config.base.task)
    with about("test"):
        test = curated.load(folder.test) if folder.test.exists() else None
    if folder.calibration.exists():
        with about("calibration"):
            calibration.load(folder.calibration)
    asked.check_models(models_of(Inputs(Intake(), config, description, test)), config)
    if asked.request.get("dataset"):
        asked.check_birth(add=False)


async def _run(attempt: Attempt) -> Done:
    inputs = await _read_inputs(attempt)
    job, dataset = await run_process(
        inputs, attempt.folder.dataset, attempt.work, os.environ, budget=attempt.budget, progress=attempt.progress
    )
    warnings = dataset.report["warnings"]
    name = attempt.request.get("dataset")
    if name is None:
        return Done(None, warnings)
    async with open_datasets(attempt) as store:
        version = await store.version_made(name)
        if version is None:
            done = replace(job, status=JobStatus.SUCCESS)
            version = (await version_of_run(store, done, name, note=attempt.request.get("note"))).version
    return Done({"version": version.label}, warnings)


def _config(asked: Asked) -> Config:
    return allowed(config_file.load(asked.folder.config), asked.servers, os.environ)


async def _read_inputs(attempt: Attempt) -> Inputs:
    where = attempt.request.get("where")
    selection = None if where is None else parse_filter(where)
    async with await TraceReader.open(attempt.data_dir / TRACES_FILE) as reader:
        intake = await read_store(reader, selection)
    folder = attempt.folder
    files = Files(folder.job_description, folder.config, None, folder.test if folder.test.exists() else None)
    return replace(read_inputs(files, intake=intake, where=where), config=_config(attempt))


PROCESS = KindOfWork(_check, _run, publishes_itself=True)
