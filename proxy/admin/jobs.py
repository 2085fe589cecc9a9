"""Jobs: filing them, following them, and taking what they made; docs/jobs.md tells the whole.

The admin side runs none. It writes down what is asked, and the server starts a process for each job.
"""

from functools import partial
from uuid import UUID

from starlette.responses import FileResponse, Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.job_events import SERVER_SENT, EventsAnswer
from proxy.admin.job_filing import WORK_FILE
from proxy.admin.operation import JSON, LINES, Asked, Body, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, choice, whole_number
from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.shapes.job import Job, JobPage, JobPart, JobTaken, ResumeTaken
from store import json_text
from store.change import ChangeKind
from store.errors import CursorError, DatabaseMissingError
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.job_control import cancel, job_json, resume
from store.job_folder import JobFolder
from store.work import JobStatus

_MAX_BYTES = 32 * 1024 * 1024
_AFTER = whole_number(
    "after", "Only events after the one of this id. `Last-Event-ID` says the same.", low=0, high=999_999_999, default=0
)
_PART = choice("part", "Which rows.", JobPart, default=JobPart.TRAIN)


async def _file(context: Context, asked: Asked) -> Response:
    return _answer(await context.jobs.file(asked.body(JobTaken), asked.who), status=201)


async def _list(context: Context, asked: Asked) -> Response:
    cursor, limit = asked[CURSOR], asked[LIMIT]
    before = None if cursor is None else _run_id(cursor)
    if cursor is not None and before is None:
        raise CursorError(f"cursor is {cursor[:40]!r}; expected the next_cursor of an earlier page.")
    try:
        async with await FiledJobs.open_to_read(context.data_dir / WORK_FILE) as work:
            found = await work.page(before, limit + 1)
    except DatabaseMissingError:
        found = []
    shown = found[:limit]
    next_cursor = shown[-1].job.run_id if len(found) > limit else None
    return json_answer(json_text.dumps({"data": [job_json(job) for job in shown], "next_cursor": next_cursor}))


async def _get(context: Context, asked: Asked) -> Response:
    return _answer(await _find(context, asked.path("id")))


async def _cancel(context: Context, asked: Asked) -> Response:
    filed = await _find(context, asked.path("id"))
    folder = JobFolder(context.data_dir, filed.job.run_id)
    try:
        async with await FiledJobs.open(context.data_dir / WORK_FILE) as work:
            return _answer(await cancel(work, folder, filed))
    except OSError as exc:
        raise _cannot_write(exc) from exc


async def _resume(context: Context, asked: Asked) -> Response:
    context.jobs.refuse_if_off()
    given = asked.body(ResumeTaken)
    filed = await _find(context, asked.path("id"))
    if filed.job.status is JobStatus.SUCCESS:
        raise AdminRefusal(Code.CONFLICT, "The job is done; file another one.")
    folder = JobFolder(context.data_dir, filed.job.run_id)
    try:
        async with await FiledJobs.open(context.data_dir / WORK_FILE) as work:
            return _answer(await resume(work, folder, filed, Bounds(given.max_calls, given.max_cost)))
    except OSError as exc:
        raise _cannot_write(exc) from exc


async def _events(context: Context, asked: Asked) -> Response:
    filed = await _find(context, asked.path("id"))
    folder = JobFolder(context.data_dir, filed.job.run_id)
    given = asked.header("last-event-id")
    is_number = given.isascii() and given.isdigit() and len(given) < 16
    after = int(given) if is_number else asked[_AFTER]
    if (given and not is_number) or not folder.is_event(after):
        raise AdminRefusal(Code.INVALID_PARAMETER, "No event of this job has that id; leave it out.", param="after")
    is_server_sent = SERVER_SENT in asked.header("accept")
    if asked.is_head:
        return Response(media_type=SERVER_SENT if is_server_sent else LINES)
    look = partial(_look, context, filed.job.run_id)
    return EventsAnswer(folder, look, after, is_server_sent=is_server_sent)


async def _report(context: Context, asked: Asked) -> Response:
    return await _made(context, asked, "report.json", JSON)


async def _predictions(context: Context, asked: Asked) -> Response:
    return await _made(context, asked, "predictions.jsonl", LINES)


async def _rows(context: Context, asked: Asked) -> Response:
    return await _made(context, asked, f"{asked[_PART]}.jsonl", LINES)


async def _made(context: Context, asked: Asked, name: str, media_type: str) -> Response:
    filed = await _find(context, asked.path("id"))
    path = JobFolder(context.data_dir, filed.job.run_id).dataset / name
    if filed.job.status is not JobStatus.SUCCESS or not path.is_file():
        raise AdminRefusal(Code.NOT_FOUND, f"The job has made no {name}: it is {filed.job.status}.")
    if media_type == LINES and not asked.is_head:
        selection = {"job": filed.job.run_id, "file": name}
        await context.changes.note(new_change(ChangeKind.EXPORT, json_text.dumps(selection), asked.who))
    return FileResponse(path, media_type=media_type)


async def _look(context: Context, run_id: str) -> FiledJob | None:
    try:
        async with await FiledJobs.open_to_read(context.data_dir / WORK_FILE) as work:
            return await work.filed(run_id)
    except DatabaseMissingError:
        return None


async def _find(context: Context, given: str) -> FiledJob:
    run_id = _run_id(given)
    filed = None if run_id is None else await _look(context, run_id)
    if filed is None:
        raise AdminRefusal(Code.NOT_FOUND, f"No filed job has the id {given[:80]!r}.")
    return filed


def _run_id(given: str) -> str | None:
    try:
        return str(UUID(given))
    except ValueError:
        return None


def _answer(filed: FiledJob, status: int = 200) -> Response:
    return json_answer(json_text.dumps(job_json(filed)), status=status)


def _cannot_write(exc: OSError) -> AdminRefusal:
    return AdminRefusal(Code.STORE_UNAVAILABLE, f"The job's folder cannot be written ({exc.strerror}); ask again.")


_ID = (("id", "The job's id."),)

OPERATIONS = (
    Operation(
        name="file_job",
        method="POST",
        path="/admin/api/jobs",
        summary="Checks and files a [job](jobs.md): traces of the store become a dataset.",
        handler=_file,
        scope=Scope.WRITE,
        good=Good(
            "It is filed and runs when there is room, whatever happens to the server meanwhile.", Job, status=201
        ),
        body=Body(JobTaken, max_bytes=_MAX_BYTES),
        errors=(Code.INVALID_FILTER, Code.CONFLICT),
        tag="jobs",
    ),
    Operation(
        name="list_jobs",
        method="GET",
        path="/admin/api/jobs",
        summary="Lists the filed jobs, the latest first.",
        handler=_list,
        good=Good("A page of jobs.", JobPage),
        parameters=(CURSOR, LIMIT),
        tag="jobs",
    ),
    Operation(
        name="get_job",
        method="GET",
        path="/admin/api/jobs/{id}",
        summary="Tells where a job stands.",
        handler=_get,
        good=Good("The job.", Job),
        path_parts=_ID,
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
        good=Good("The job; where it runs, it is stopped within seconds.", Job),
        path_parts=_ID,
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
        good=Good("The job, which runs when there is room.", Job),
        path_parts=_ID,
        body=Body(ResumeTaken),
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="jobs",
    ),
    Operation(
        name="job_events",
        method="GET",
        path="/admin/api/jobs/{id}/events",
        summary="Follows a job until it has ended: lines of JSON, or server-sent events where `Accept` asks for them.",
        handler=_events,
        good=Good("What happened and happens.", media_type=LINES),
        parameters=(_AFTER,),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="job_report",
        method="GET",
        path="/admin/api/jobs/{id}/report",
        summary="Gives the report of a job that is done.",
        handler=_report,
        good=Good("`report.json` of the dataset."),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="job_predictions",
        method="GET",
        path="/admin/api/jobs/{id}/predictions",
        summary="Gives the base model's predictions on the test rows as JSON Lines.",
        handler=_predictions,
        good=Good("`predictions.jsonl` of the dataset.", media_type=LINES),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="job_rows",
        method="GET",
        path="/admin/api/jobs/{id}/rows",
        summary="Gives the rows of a job that is done as JSON Lines.",
        handler=_rows,
        good=Good("A file of the dataset.", media_type=LINES),
        parameters=(_PART,),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
)
