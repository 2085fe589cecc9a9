"""Cancelling, resuming and deleting a filed job, from whichever process; and what a job looks like as JSON.

What a job's events tell has the order in which it happened: who writes about a job that rests holds its folder, so that
nobody starts it meanwhile.
"""

import asyncio
import shutil
from contextlib import nullcontext

from store.filed_job import Bounds, FiledJob, FiledJobs
from store.job import JobStatus
from store.job_folder import EventKind, JobBusyError, JobFolder
from store.json_text import JsonValue

_RESTING = frozenset({JobStatus.STOPPED, JobStatus.FAILURE})


async def cancel(work: FiledJobs, folder: JobFolder, filed: FiledJob) -> FiledJob:
    """Let a job go on no more; one that has ended stays as it is. A running one is for its runner to stop.

    Raises:
        OSError: The folder cannot be written; the job is cancelled all the same.
    """
    if filed.has_ended:
        return filed
    run_id = filed.job.run_id
    filed = await work.cancel(run_id)
    try:
        with folder.held():
            # Asked once more: its process may have heard of the cancel first, and told its end by itself.
            status = (await work.filed(run_id) or filed).job.status
            if status not in (JobStatus.SUCCESS, JobStatus.FAILURE):
                await work.rest(run_id, "cancelled")
            if status in (JobStatus.NOT_STARTED, JobStatus.PENDING, JobStatus.RUNNING):
                folder.tell(EventKind.STATUS, status=JobStatus.STOPPED, error="cancelled")
    except JobBusyError:
        pass
    return await work.filed(run_id) or filed


async def resume(work: FiledJobs, folder: JobFolder, filed: FiledJob, bounds: Bounds) -> FiledJob:
    """Have a job that stopped or failed go on; one that is to run anyway gets the new bounds.

    Raises:
        OSError: The folder cannot be written; the job stays as it was.
    """
    run_id = filed.job.run_id
    try:
        with folder.held():
            if filed.job.status in _RESTING:
                folder.tell(EventKind.STATUS, status=JobStatus.PENDING, error=None)
            return await work.resume(run_id, bounds)
    except JobBusyError:  # it is just being stopped, and goes on after that
        return await work.resume(run_id, bounds)


async def delete(work: FiledJobs, folder: JobFolder, filed: FiledJob) -> bool:
    """Forget a job that has ended, with its folder; tell whether that was done.

    What the job bought stays in the table of calls, and versions of datasets that it made stay as they are.

    Raises:
        OSError: The folder cannot be moved; nothing was done.
    """
    if not filed.has_ended:
        return False
    run_id = filed.job.run_id
    try:
        with folder.held() if folder.path.is_dir() else nullcontext():
            # Asked once more: it may have been resumed.
            if not (await work.filed(run_id) or filed).has_ended:
                return False
            left = folder.set_aside()
            await work.delete(run_id)
    except JobBusyError:
        return False
    if left is not None:
        await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
    return True


def job_json(filed: FiledJob) -> dict[str, JsonValue]:
    """Give a job as the admin side and the command line show it."""
    job = filed.job
    return {
        "id": job.run_id,
        "kind": filed.kind.value,
        "name": job.name,
        "status": job.status.value,
        "is_wanted": filed.is_wanted and job.status not in (JobStatus.SUCCESS, JobStatus.FAILURE),
        "error": job.error,
        "filed_by": filed.filed_by,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "max_calls": filed.bounds.max_calls,
        "max_cost": filed.bounds.max_cost,
        "calls": filed.calls,
        "cost": filed.cost,
        "counts": None if job.counts is None else dict(job.counts),
        "base_model_performance": None if job.base_model_performance is None else dict(job.base_model_performance),
        "result": None if filed.result is None else dict(filed.result),
        "erased_traces": None if filed.erased is None else filed.erased.traces,
    }
