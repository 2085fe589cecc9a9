"""One run, from conversations to a folder with a dataset in it.

A run may be killed at any moment and started again: every teacher call is committed before its answer is used, so only
calls that were in flight are paid for again, and the bytes that come out are those of an undisturbed run.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from processing.budget import Budget
from processing.dataset_files import FILES
from processing.errors import BudgetError, ProcessingError
from processing.inputs import Inputs
from processing.kept_inputs import keep_inputs
from processing.model_client import ModelClient
from processing.output import OutputFolder
from processing.pipeline import Dataset, build
from processing.progress import LiveProgress, Progress, silent
from processing.provenance import source_traces
from processing.teachers import Teachers
from store.errors import StoreError
from store.job import Job, JobStatus
from store.work import WorkStore


async def process(
    inputs: Inputs,
    out_dir: Path,
    work: WorkStore,
    environ: Mapping[str, str],
    *,
    budget: Budget | None = None,
    progress: Progress = silent,
    first_wait_s: float = 0.5,
    built: Dataset | None = None,
) -> tuple[Job, Dataset]:
    """Make a dataset and publish it in `out_dir`; the job in `work` tells how it ended, whatever happened.

    Args:
        inputs: What to work on.
        out_dir: Folder of the dataset; a run into the same folder continues the same job.
        work: Call table and jobs.
        environ: Where keys and TRACEMILL_TEACHER_BASE_URL stand.
        budget: What this run may buy.
        progress: Told how far each stage is.
        first_wait_s: First wait before a failed call is tried again.
        built: The dataset, when it is there already and only has to be published.

    Raises:
        ProcessingError: The run failed; nothing was published and everything paid for is kept.
    """
    with OutputFolder(out_dir) as folder:
        folder.claim(FILES, {conversation.id for conversation in inputs.intake.conversations})
        job = await work.start_job(out_dir, name=folder.name, config=inputs.config.as_manifest())
        await work.set_run_sources(job.run_id, source_traces(inputs.intake.conversations))
        try:
            keep_inputs(out_dir, inputs, environ)
            dataset = built or await make_dataset(inputs, work, environ, budget, progress, first_wait_s=first_wait_s)
            folder.publish(dataset.files, dataset.manifest)
            folder.mark_erased(await work.erased_since_start(job))
        except asyncio.CancelledError:
            await work.end_job(job.run_id, JobStatus.STOPPED, error="interrupted; run the same command to go on")
            raise
        except BudgetError as exc:
            await work.end_job(job.run_id, JobStatus.STOPPED, error=str(exc))
            raise
        except (ProcessingError, StoreError, OSError) as exc:
            await work.end_job(job.run_id, JobStatus.FAILURE, error=str(exc))
            raise
        await work.end_job(
            job.run_id,
            JobStatus.SUCCESS,
            counts={name: dataset.report[name] for name in ("rows", "intake", "funnel", "totals", "calls", "warnings")},
            base_model_performance=dataset.report["base_model_performance"],
        )
        return await work.job(job.run_id) or job, dataset


async def make_dataset(
    inputs: Inputs,
    work: WorkStore,
    environ: Mapping[str, str],
    budget: Budget | None = None,
    progress: Progress = silent,
    *,
    first_wait_s: float = 0.5,
) -> Dataset:
    """Make a dataset and publish it nowhere; arguments and errors as `process` has them."""
    spent = budget or Budget()
    live = LiveProgress(progress, lambda: spent.cost)
    async with ModelClient(inputs.config.parallel, first_wait_s=first_wait_s) as client:
        teachers = Teachers(client, work, inputs.config, environ, budget=spent, changed=live.refresh)
        live.counts = teachers.counts
        return await build(inputs, teachers, live)
