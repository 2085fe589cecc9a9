"""Upload of a file that becomes a version: its bytes go to the folder of a job as they come, which then reads them."""

from enum import StrEnum
from pathlib import PurePosixPath

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.job_filing import Filing
from proxy.admin.media_type import BYTES
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import choice, flag, optional_choice, share, text
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.datasets.row import Part
from store.datasets.version import read_reference
from store.errors import DatasetError
from store.job_control import job_json
from store.job_folder import UPLOADED
from store.job_kind import JobKind


class UploadFormat(StrEnum):
    """What a file of rows can be."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    HF = "hf"


_MAX_BYTES = 2**40
_MAX_NAME = 120
_FILE = text("file", "Name of the file, whose ending tells what it is; a folder comes as one `.tar`.")
_FORMAT = choice("format", "What the file is; `auto` tells it by its name.", UploadFormat, default=UploadFormat.AUTO)
_MAP = text("map", "`prompt=COLUMN`, several joined by commas: which column is what; the rest is guessed.")
_PART = optional_choice("part", "Put all rows into this part.", Part)
_TEST_FRACTION = share("test_fraction", "Share that goes to test, without near duplicates between the parts.")
_ADD = flag("add", "`true`: add to the active version, or to the rows of the newest frozen one.")
_STRICT = flag("strict", "`true`: a record that cannot be a row is an error, and nothing is written.")
_NOTE = text("note", "A few words that lists of versions show.")
_ID = text("id", "Of the job, a UUIDv7: asked again under the same id, it is filed once.")
_PARAMETERS = (_FILE, _FORMAT, _MAP, _PART, _TEST_FRACTION, _ADD, _STRICT, _NOTE, _ID)


async def _upload(context: Context, asked: Asked) -> Response:
    context.jobs.refuse_if_off()
    name = asked.path("name")
    try:
        read_reference(name)
    except DatasetError as exc:
        raise AdminRefusal(Code.INVALID_PARAMETER, str(exc), param="name") from exc
    request = {
        "kind": JobKind.UPLOAD.value,
        "dataset": name,
        "file": _file_name(asked[_FILE]),
        "format": asked[_FORMAT].value,
        "map": asked[_MAP] or "",
        "part": None if asked[_PART] is None else asked[_PART],
        "test_fraction": asked[_TEST_FRACTION],
        "add": asked[_ADD],
        "strict": asked[_STRICT],
        "note": asked[_NOTE],
    }
    filing = Filing(
        kind=JobKind.UPLOAD,
        given=request,
        request=request,
        id=asked[_ID],
        name=f"upload of {name}",
        upload=(f"{UPLOADED}/{request['file']}", asked.blocks()),
    )
    filed = await context.jobs.file(filing, asked.who)
    return json_answer(json_text.dumps(job_json(filed)), status=201)


def _file_name(given: str | None) -> str:
    """Give the last part of the name: where a file lay at its sender's means nothing here."""
    name = PurePosixPath((given or "rows.jsonl").replace("\\", "/")).name
    if not name or len(name.encode()) > _MAX_NAME or name.startswith(".") or not name.isprintable():
        message = f"file is {(given or '')[:40]!r}; expected the name of a file, such as rows.jsonl."
        raise AdminRefusal(Code.INVALID_PARAMETER, message, param="file")
    return name


OPERATIONS = (
    Operation(
        name="upload_dataset",
        method="POST",
        path="/admin/api/datasets/{name}/upload",
        summary="Takes a file of rows of any size and files the [job](jobs.md) that makes a [version](uploading.md) of "
        "it.",
        handler=_upload,
        scope=Scope.WRITE,
        good=Good("The job; its `result` tells the version.", "job.Job", status=201),
        parameters=_PARAMETERS,
        path_parts=(("name", "Name of the dataset; `NAME-v1` insists that the next version is the first."),),
        body=Body(None, max_bytes=_MAX_BYTES, exact_type=BYTES),
        errors=(Code.CONFLICT,),
        tag="datasets",
    ),
)
