"""`tracemill datasets from-run` and `process --dataset`: what a run made as a version of a dataset."""

import json
from pathlib import Path
from typing import Annotated

import typer

from processing.datasets.run_version import Made, version_of_run
from store.datasets.dataset_store import DatasetStore
from store.datasets.version_json import version_json
from store.work import Job
from tracemill.dataset_text import version_line
from tracemill.run_command import DEFAULT_DATA_DIR, WORK_FILE, AsJson, DataDir, RunName, find_run, run_to_end


def from_run(
    run: RunName,
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    note: Annotated[str | None, typer.Option(help="A few words that lists show.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Freeze what a run of `tracemill process` made as the next version of a dataset."""
    job = run_to_end(find_run(run, data_dir))
    made = run_to_end(make_version(job, name, note, data_dir))
    told = {**version_json(made.version), "is_new": made.is_new}
    typer.echo(json.dumps(told) if as_json else made_line(made))


async def require_openable(name: str, data_dir: Path) -> None:
    """Make sure that a version can be made, before anything is paid for it."""
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        await store.require_openable(name)


async def make_version(job: Job, name: str, note: str | None, data_dir: Path) -> Made:
    """Freeze what a run made; see `version_of_run`."""
    async with await DatasetStore.open(data_dir / WORK_FILE) as store:
        return await version_of_run(store, job, name, note=note)


def made_line(made: Made) -> str:
    """Write what came of it."""
    line = version_line(made.version, None)
    return line if made.is_new else f"{line} holds just these rows already; there is no further version"
