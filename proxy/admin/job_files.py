"""What a job tells while it works, and the files that it leaves: report, predictions, rows."""

from enum import StrEnum
from functools import partial

from starlette.responses import FileResponse, Response

from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.job_events import SERVER_SENT, EventsAnswer
from proxy.admin.jobs import JOB_ID, find_job, look_up
from proxy.admin.media_type import HTML, JSON, LINES, MARKDOWN
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import choice, optional_choice, whole_number
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind
from store.job import JobStatus
from store.job_folder import JobFolder


class ReportForm(StrEnum):
    """How a report is written."""

    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class JobPart(StrEnum):
    """The files of lines that a job makes."""

    TRAIN = "train"
    TEST = "test"
    UNSTRUCTURED = "unstructured"
    DROPPED = "dropped"
    FAILED = "failed"
    REVIEW = "review"
    REJECTED = "rejected"


_AFTER = whole_number(
    "after", "Only events after the one of this id. `Last-Event-ID` says the same.", low=0, high=999_999_999, default=0
)
_PART = choice("part", "Which rows.", JobPart, default=JobPart.TRAIN)
_FORM = optional_choice(
    "format", "How the report is written; what `Accept` asks for without it, else JSON.", ReportForm
)
# A page of ours with its own styles and charts, and nothing that is loaded or run.
_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
}
_REPORTS = {
    ReportForm.JSON: (JSON, "report.json"),
    ReportForm.MARKDOWN: (MARKDOWN, "report.md"),
    ReportForm.HTML: (HTML, "report.html"),
}


async def _events(context: Context, asked: Asked) -> Response:
    filed = await find_job(context, asked)
    folder = JobFolder(context.data_dir, filed.job.run_id)
    given = asked.header("last-event-id")
    is_number = given.isascii() and given.isdigit() and len(given) < 16
    after = int(given) if is_number else asked[_AFTER]
    if (given and not is_number) or not folder.is_event(after):
        raise AdminRefusal(Code.INVALID_PARAMETER, "No event of this job has that id; leave it out.", param="after")
    is_server_sent = SERVER_SENT in asked.header("accept")
    if asked.is_head:
        return Response(media_type=SERVER_SENT if is_server_sent else LINES)
    look = partial(look_up, context, filed.job.run_id)
    return EventsAnswer(folder, look, after, is_server_sent=is_server_sent)


async def _report(context: Context, asked: Asked) -> Response:
    form = asked[_FORM] or _accepted(asked.header("accept"))
    media_type, name = _REPORTS[form]
    return await _made(context, asked, name, media_type)


def _accepted(accept: str) -> ReportForm:
    """Tell which form somebody takes who names none in the query: the first that `Accept` names, else JSON."""
    for part in accept.split(","):
        wanted = part.partition(";")[0].strip().lower()
        for form, (media_type, _) in _REPORTS.items():
            if wanted == media_type:
                return form
    return ReportForm.JSON


async def _predictions(context: Context, asked: Asked) -> Response:
    return await _made(context, asked, "predictions.jsonl", LINES)


async def _rows(context: Context, asked: Asked) -> Response:
    return await _made(context, asked, f"{asked[_PART]}.jsonl", LINES)


async def _made(context: Context, asked: Asked, name: str, media_type: str) -> Response:
    filed = await find_job(context, asked)
    path = JobFolder(context.data_dir, filed.job.run_id).dataset / name
    if filed.job.status is not JobStatus.SUCCESS or not path.is_file():
        raise AdminRefusal(Code.NOT_FOUND, f"The job has made no {name}: it is {filed.job.status}.")
    if media_type == LINES and not asked.is_head:
        selection = {"job": filed.job.run_id, "file": name}
        await context.changes.note(new_change(ChangeKind.EXPORT, json_text.dumps(selection), asked.who))
    return FileResponse(path, media_type=media_type, headers=_PAGE_HEADERS if media_type == HTML else None)


OPERATIONS = (
    Operation(
        name="job_events",
        method="GET",
        path="/admin/api/jobs/{id}/events",
        summary="Follows a job until it has ended: lines of JSON, or server-sent events where `Accept` asks for them.",
        handler=_events,
        good=Good("What happened and happens.", media_type=LINES),
        parameters=(_AFTER,),
        path_parts=JOB_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
    Operation(
        name="job_report",
        method="GET",
        path="/admin/api/jobs/{id}/report",
        summary="Gives the report of a job that is done.",
        handler=_report,
        good=Good(
            "`report.json` of the dataset; as Markdown or a page of HTML where that is asked for.",
            also=(MARKDOWN, HTML),
        ),
        parameters=(_FORM,),
        path_parts=JOB_ID,
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
        path_parts=JOB_ID,
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
        path_parts=JOB_ID,
        errors=(Code.NOT_FOUND,),
        tag="jobs",
    ),
)
