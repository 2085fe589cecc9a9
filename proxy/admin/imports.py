"""Import over HTTP: lines that are read as they come, at the pace at which they can be stored.

The reading is work for a processor and waits for ingest, so it has a thread of its own; the body is drawn into it block
by block, and who sends more than can be taken is held back by TCP.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import choice, flag, text
from proxy.admin.refusal import AdminRefusal, Code
from proxy.errors import ImportStalledError
from proxy.ingest.import_writing import ImportWriting, WriteCounts, import_report
from store import json_text
from store.recorded.import_reading import ImportReader, Rejected
from store.recorded.source_format import AskedFormat

_MAX_BYTES: Final = 2**40
_PATIENCE_S: Final = 10.0
"""How long ingest may take in nothing; behind that the answer is 202 or 503, and the same may be sent again."""
_LOOK_S: Final = 0.5
_MOST_TOLD: Final = 100
_FORMAT = choice(
    "format", "How the lines are written; `auto` tells it line by line. See [import.md](import.md).", AskedFormat,
    default=AskedFormat.AUTO,
)  # fmt: skip
_TAGS = text("tags", "`name=value`, several joined by commas: tags for every trace.")
_DRY_RUN = flag("dry_run", "`true`: read and count, store nothing.")


class _Outcome(NamedTuple):
    report: dict[str, Any]
    is_stored: bool


async def _import(context: Context, asked: Asked) -> Response:
    reader = ImportReader(asked[_FORMAT].source_format, tags=_read_tags(asked[_TAGS]))
    if not asked[_DRY_RUN]:
        context.changes.refuse_if_off()
    stopped = threading.Event()
    blocks = _drawn(asked.blocks(), asyncio.get_running_loop(), stopped)
    run = _Run(reader, blocks, context, asked.who, is_dry=asked[_DRY_RUN], stopped=stopped)
    # Not one of the threads that everybody shares: an import may take hours.
    thread = concurrent.futures.ThreadPoolExecutor(1, "import")
    try:
        outcome = await asyncio.get_running_loop().run_in_executor(thread, run.work)
    except ImportStalledError as exc:
        raise AdminRefusal(Code.STORE_UNAVAILABLE, str(exc)) from exc
    except OSError as exc:
        message = f"The journal cannot be written ({exc.strerror}); send the same again, nothing is stored twice."
        raise AdminRefusal(Code.STORE_UNAVAILABLE, message) from exc
    finally:
        stopped.set()
        thread.shutdown(wait=False)
    return json_answer(json_text.dumps(outcome.report), status=200 if outcome.is_stored else 202)


class _Run:
    """One import, on a thread of its own."""

    def __init__(
        self,
        reader: ImportReader,
        blocks: Iterator[bytes],
        context: Context,
        who: str,
        *,
        is_dry: bool,
        stopped: threading.Event,
    ) -> None:
        self._reader = reader
        self._blocks = blocks
        self._context = context
        self._who = who
        self._is_dry = is_dry
        self._stopped = stopped
        self._first_rejected: list[Rejected] = []

    def work(self) -> _Outcome:
        if self._is_dry:
            for _ in self._reads():
                pass
            return _Outcome(self._report(None), is_stored=True)
        return asyncio.run(self._write())

    async def _write(self) -> _Outcome:
        writing = ImportWriting(
            self._context.data_dir,
            asked_by=self._who,
            take_in=None,
            patience_s=_PATIENCE_S,
            is_stopped=self._stopped.is_set,
        )
        async with writing:
            try:
                for trace in self._reads():
                    await writing.add(trace)
                await writing.finish(self._report)
            except ImportStalledError:
                if not writing.is_written:
                    raise
                return _Outcome(self._report(None), is_stored=False)
        return _Outcome(self._report(writing.counts), is_stored=True)

    def _reads(self) -> Iterator[Any]:
        for read in self._reader.read(self._blocks, "body"):
            if not isinstance(read, Rejected):
                yield read
            elif len(self._first_rejected) < _MOST_TOLD:
                self._first_rejected.append(read)

    def _report(self, counts: WriteCounts | None) -> dict[str, Any]:
        files = [each.to_json() for each in self._reader.files]
        report = import_report(files, counts)
        del report["files"]
        told = [
            {"line": each.line, "reason": each.reason.value, "detail": each.detail} for each in self._first_rejected
        ]
        return {**report, "formats": files[0]["formats"] if files else {}, "first_rejected": told}


def _drawn(blocks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> Iterator[bytes]:
    """Draw blocks out of the event loop into another thread, one at a time."""

    async def draw() -> bytes | None:
        try:
            return await anext(blocks, None)
        except ClientDisconnect as exc:
            raise AdminRefusal(
                Code.HTTP_ERROR, "The body ended too early; send it again, nothing is stored twice."
            ) from exc

    while not stopped.is_set():
        drawing = asyncio.run_coroutine_threadsafe(draw(), loop)
        while True:
            try:
                block = drawing.result(_LOOK_S)
            except TimeoutError:
                if stopped.is_set():
                    drawing.cancel()
                    return
            else:
                break
        if block is None:
            return
        yield block


def _read_tags(given: str | None) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for tag in given.split(",") if given else ():
        name, sign, value = tag.strip().partition("=")
        if not name or not sign:
            raise AdminRefusal(Code.INVALID_PARAMETER, f"tags has {tag[:20]!r}; expected name=value.", param="tags")
        tags[name] = value
    return tags


OPERATIONS = (
    Operation(
        name="import_calls",
        method="POST",
        path="/admin/api/import",
        summary="Reads calls that others recorded, one JSON object a line, plain or as gzip or zstd, into the store.",
        handler=_import,
        scope=Scope.WRITE,
        good=Good(
            "What was read and stored; lines that cannot be read are counted, and the rest is stored.",
            "imports.ImportReport",
        ),
        later=Good("All of it is on the disk, and ingest comes to it later.", "imports.ImportReport", status=202),
        parameters=(_FORMAT, _TAGS, _DRY_RUN),
        body=Body(None, max_bytes=_MAX_BYTES),
        tag="import",
    ),
)
