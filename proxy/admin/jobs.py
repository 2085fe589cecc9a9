"""Jobs: filing them, looking at them, and ending them; docs/jobs.md tells the whole.

The admin side runs none. It writes down what is asked, and the server starts a process for each job.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.job_filing import read_filing
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind
from store.data_files import WORK_FILE
from store.errors import CursorError, DatabaseMissingError
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.job import JobStatus
from store.job_control import cancel, delete, job_json, resume
from store.job_folder import JobFolder

if TYPE_CHECKING:
    from proxy.admin.shapes.job_taken import JobTaken, ResumeTaken

_MAX_BYTES = 32 * 1024 * 1024
_FILED: Body["JobTaken"] = Body("job_taken.JobTaken", max_bytes=_MAX_BYTES)
_RESUMED: Body["ResumeTaken"] = Body("job_taken.ResumeTaken")


async def _file(context: Context, asked: Asked) -> Response:
    return _answer(await context.jobs.file(read_filing(asked.body(_FILED)), asked.who), status=201)


async def _list(context: Context, asked: Asked) -> Response:
    before, limit = _before(asked[CURSOR]), asked[LIMIT]
    try:
        async with await FiledJobs.open_to_read(context.data_dir / WORK_FILE) as work:
            found = await work.page(before, limit + 1)
    except DatabaseMissingError:
        found = []
    shown = found[:limit]
    next_cursor = shown[-1].job.run_id if len(found) > limit else None
    return json_answer(json_text.dumps({"data": [job_json(job) for job in shown], "next_cursor": next_cursor}))


async def _get(context: Context, asked: Asked) -> Response:
    return _answer(await find_job(context, asked))


async def _cancel(context: Context, asked: Asked) -> Response:
    filed = await find_job(context, asked)
    async with _writing(context) as work:
        return _answer(await cancel(work, _folder(context, filed), filed))


async def _resume(context: Context, asked: Asked) -> Response:
    context.jobs.refuse_if_off()
    given = asked.body(_RESUMED)
    filed = await find_job(context, asked)
    if filed.job.status is JobStatus.SUCCESS:
        raise AdminRefusal(Code.CONFLICT, "The job is done; file another one.")
    async with _writing(context) as work:
        return _answer(await resume(work, _folder(context, filed), filed, Bounds(given.max_calls, given.max_cost)))


async def _delete(context: Context, asked: Asked) -> Response:
    filed = await find_job(context, asked)
    if not filed.has_ended:
        raise AdminRefusal(Code.CONFLICT, f"The job is {filed.job.status}; cancel it first.")
    note = json_text.dumps({"do": "delete", "job": filed.job.run_id, "kind": filed.kind})
    await context.changes.note(new_change(ChangeKind.JOB, note, asked.who))
    async with _writing(context) as work:
        if not await delete(work, _folder(context, filed), filed):
            raise AdminRefusal(Code.CONFLICT, "The job goes on, or its process is on its way out; ask again.")
    return _answer(filed)


@asynccontextmanager
async def _writing(context: Context) -> AsyncIterator[FiledJobs]:
    try:
        async with await FiledJobs.open(context.data_dir / WORK_FILE) as work:
            yield work
    except OSError as exc:
        message = f"The job's folder cannot be written ({exc.strerror}); ask again."
        raise AdminRefusal(Code.STORE_UNAVAILABLE, message) from exc


def _folder(context: Context, filed: FiledJob) -> JobFolder:
    return JobFolder(context.data_dir, filed.job.run_id)


async def look_up(context: Context, run_id: str) -> FiledJob | None:
    """Find a filed job; None where there is none."""
    try:
        async with await FiledJobs.open_to_read(context.data_dir / WORK_FILE) as work:
            return await work.filed(run_id)
    except DatabaseMissingError:
        return None


async def find_job(context: Context, asked: Asked) -> FiledJob:
    """Find the job that the path names.

    Raises:
        AdminRefusal: There is none.
    """
    id_ = asked.path_id("id")
    filed = None if id_ is None else await look_up(context, str(id_))
    if filed is None:
        raise AdminRefusal(Code.NOT_FOUND, f"No filed job has the id {asked.path('id')[:80]!r}.")
    return filed


def _before(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        return str(UUID(cursor))
    except ValueError as exc:
        raise CursorError(f"cursor is {cursor[:40]!r}; expected the next_cursor of an earlier page.") from exc


def _answer(filed: FiledJob, status: int = 200) -> Response:
    return json_answer(json_text.dumps(job_json(filed)), status=status)


JOB_ID = (("id", "The job's id."),)

OPERATIONS = (
    Operation(
        name="file_job",
        method="POST",
        path="/admin/api/jobs",
        summary="Checks and files a [job](jobs.md), which works on datasets.",
        handler=_file,
        scope=Scope.WRITE,
        good=Good(
            "It is filed and runs when there is room, whatever happens to the server meanwhile.", "job.Job", status=201
        ),
        body=_FILED,
        errors=(Code.INVALID_FILTER, Code.CONFLICT),
        tag="jobs",
    ),
    Operation(
        name="list_jobs",
        method="GET",
        path="/admin/api/jobs",
        summary="Lists the filed jobs, the latest first.",
        handler=_list,
        good=Good("A page of jobs.", "job.JobPage"),
        parameters=(CURSOR, LIMIT),
        tag="jobs",
    ),
    Operation(
        name="get_job",
        method="GET",
        path="/admin/api/jobs/{id}",
        summary="Tells where a job stands.",
        handler=_get,
        good=Good("The job.", "job.Job"),
        path_parts=JOB_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="cancel_job",
        method="POST",
        path="/admin/api/jobs/{id}/cancel",
        summary="Stops a job; what it has paid for is kept. One that has ended stays as it is.",
        handler=_cancel,
        scope=Scope.WRITE,
        good=Good("The job; where it runs, it is stopped within seconds.", "job.Job"),
        path_parts=JOB_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="resume_job",
        method="POST",
        path="/admin/api/jobs/{id}/resume",
        summary="Has a job that stopped or failed go on; nothing is paid for twice.",
        handler=_resume,
        scope=Scope.WRITE,
        good=Good("The job, which runs when there is room.", "job.Job"),
        path_parts=JOB_ID,
        body=_RESUMED,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="jobs",
    ),
    Operation(
        name="delete_job",
        method="DELETE",
        path="/admin/api/jobs/{id}",
        summary="Forgets a job that has ended, with all that lies in its folder. What it bought is kept, and so are "
        "versions of datasets that it made.",
        handler=_delete,
        scope=Scope.WRITE,
        good=Good("The job as it stood.", "job.Job"),
        path_parts=JOB_ID,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="jobs",
    ),
)
