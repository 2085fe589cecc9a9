"""Waiting for a job, and for the version that it makes."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.shapes.dataset import WholeVersion
from proxy.admin.shapes.job import Job
from tracemill.client.errors import AnswerError, JobError
from tracemill.client.operations import dataset, job
from tracemill.client.step import Pause, Procedure

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


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


def version_of(filed: Job, *, wait: bool) -> Procedure[WholeVersion | Job]:
    """Give the version that a job makes when it is done; the job itself where it is not waited for."""
    if not wait:
        return filed
    done = yield from wait_job(filed.id)
    version: WholeVersion = yield dataset.version(made_by(done))
    return version


def made_by(done: Job) -> str:
    """Give the label of the version that a job has made. Raises AnswerError when it tells none."""
    return str(result_of(done)["version"])


def result_of(done: Job) -> Mapping[str, Any]:
    """Give what came of a job. Raises AnswerError when it tells nothing."""
    if done.result is None:
        raise AnswerError(f"job {done.id} is done and tells no result: look at the versions of client and server.")
    return done.result
