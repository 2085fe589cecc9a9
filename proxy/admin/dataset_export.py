"""Export of a version: written by a process of its own, and streamed at the pace of who reads it.

The process writes into a folder of its own inside the data directory, where there is room for it, and takes it away
again. That contents leave the store stands in the audit log before the first of them goes out.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.dataset_place import NAME, NUMBER, VERSION_PATH, find_version, reading
from proxy.admin.media_type import BYTES
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import flag, optional_choice, text
from proxy.admin.refusal import Code
from proxy.admin.worker import Stream
from store import json_text
from store.change import ChangeKind
from store.datasets.row import Part
from store.uuid7 import uuid7

FOLDER_BEGINNING = ".export-"
_FORMAT = text("format", "Name of the [format](exports.md), such as `openai`; `rows` without it.")
_PART = optional_choice("part", "Only this part, as a single file; without it all parts come in one tar archive.", Part)
_WITHOUT_ERASED = flag("without_erased", "`true`: a version of which rows were erased, too.")


async def _export(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        version = await find_version(store, asked)
    if asked.is_head:
        return Response(media_type=BYTES)
    wanted = {
        "reference": version.label,
        "format": asked[_FORMAT] or "rows",
        "part": None if asked[_PART] is None else asked[_PART],
        "without_erased": asked[_WITHOUT_ERASED],
    }
    folder = context.data_dir / f"{FOLDER_BEGINNING}{uuid7()}"
    stack = AsyncExitStack()
    stack.push_async_callback(_remove, folder)
    arguments = ("export", str(context.data_dir), str(folder), json_text.dumps(wanted).decode())
    try:
        stream = await stack.enter_async_context(context.worker.stream(*arguments, refusal=Code.INVALID_PARAMETER))
        selection = {"version": version.label, "format": wanted["format"], "part": wanted["part"]}
        await context.changes.note(new_change(ChangeKind.EXPORT, json_text.dumps(selection), asked.who))
    except BaseException:
        await stack.aclose()
        raise
    return _ExportAnswer(stream, stack)


async def _remove(folder: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class _ExportAnswer(Response):
    """An answer that holds its process from its first byte to its last, however it ends."""

    def __init__(self, stream: Stream, stack: AsyncExitStack) -> None:
        name = quote(str(stream.head["name"]))
        super().__init__(media_type=BYTES, headers={"content-disposition": f"attachment; filename={name}"})
        del self.headers["content-length"]
        self._blocks: AsyncIterator[bytes] = stream.blocks
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            headers = dict(self.headers)
            await StreamingResponse(self._blocks, media_type=BYTES, headers=headers)(scope, receive, send)


def remove_leftovers(data_dir: Path) -> None:
    """Remove the folders of exports whose process was killed; none is under way while the admin side starts."""
    for folder in data_dir.glob(f"{FOLDER_BEGINNING}*"):
        shutil.rmtree(folder, ignore_errors=True)


OPERATIONS = (
    Operation(
        name="export_version",
        method="GET",
        path=f"{VERSION_PATH}/export",
        summary="Gives a version in the [format](exports.md) of those who train on it, streamed.",
        handler=_export,
        good=Good("What `tracemill datasets export` writes: a file, or a tar archive of its folder.", media_type=BYTES),
        parameters=(_FORMAT, _PART, _WITHOUT_ERASED),
        path_parts=(NAME, NUMBER),
        errors=(Code.NOT_FOUND,),
        tag="datasets",
    ),
)
