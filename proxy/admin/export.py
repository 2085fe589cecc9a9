"""Export: traces as lines, streamed at the pace of who reads them.

That contents leave the store stands in the audit log before the first of them goes out.
"""

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.media_type import LINES
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import WHERE, choice, flag
from proxy.admin.store import AdminStore
from store import json_text
from store.change import ChangeKind
from store.export import ExportFormat, export
from store.feedback import along
from store.filter import Filter
from store.traces import TraceReader

_BLOCK_BYTES = 64 * 1024
_FORMAT = choice(
    "format",
    "`traces`: what `tracemill process --traces` reads; `openai`: with `parallel_tool_calls` where it was set.",
    ExportFormat,
    default=ExportFormat.TRACES,
)
_ALL = flag("all", "`true`: traces that are not whole too, with `metadata.outcome` and `metadata.flags`.")


async def _export(context: Context, asked: Asked) -> Response:
    if asked.is_head:
        return Response(media_type=LINES)
    if await context.store.reader() is not None:
        selection = {"where": asked.text(WHERE), "format": asked[_FORMAT].value, "all": asked[_ALL]}
        await context.changes.note(new_change(ChangeKind.EXPORT, json_text.dumps(selection), asked.who))
    return _ExportAnswer(context.store, asked[WHERE], asked[_FORMAT], include_incomplete=asked[_ALL])


class _ExportAnswer(Response):
    """An answer that holds a reader of its own from its first byte to its last, however it ends."""

    def __init__(
        self, store: AdminStore, where: Filter | None, export_format: ExportFormat, *, include_incomplete: bool
    ) -> None:
        super().__init__(media_type=LINES)
        self._store = store
        self._where = where
        self._format = export_format
        self._include_incomplete = include_incomplete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._store.own_reader() as reader:
            await StreamingResponse(self._blocks(reader), media_type=self.media_type)(scope, receive, send)

    async def _blocks(self, reader: TraceReader | None) -> AsyncIterator[bytes]:
        """Give the lines in larger blocks: a call to `send` per line would take longer than the lines."""
        if reader is None:
            return
        block = bytearray()
        traces = along(reader, reader.traces(self._where))
        lines = export(traces, self._format, include_incomplete=self._include_incomplete)
        async for line in lines:
            block += line
            if len(block) >= _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)


OPERATIONS = (
    Operation(
        name="export",
        method="GET",
        path="/admin/api/export",
        summary="Gives traces as JSON Lines, oldest first, streamed.",
        handler=_export,
        good=Good("What `tracemill export` writes.", media_type=LINES),
        parameters=(WHERE, _FORMAT, _ALL),
        tag="export",
    ),
)
