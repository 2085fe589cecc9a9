"""Whether the admin side answers, whether the store can be read, and the metrics."""

import asyncio

from starlette.responses import PlainTextResponse, Response

from proxy.admin.bearer import Scope
from proxy.admin.context import Context
from proxy.admin.media_type import TEXT
from proxy.admin.metrics import CONTENT_TYPE, journal_size, metrics_text
from proxy.admin.operation import Asked, Good, Operation
from store.data_files import WORK_FILE
from store.errors import DatabaseMissingError, StoreError
from store.filed_job import FiledJobs
from store.search_index import search_state
from store.traces import Counts


async def _healthz(_context: Context, _asked: Asked) -> Response:
    return PlainTextResponse("ok\n")


async def _readyz(context: Context, _asked: Asked) -> Response:
    # Ready is who can read the store: one that is not there yet is empty, one that cannot be read answers 503.
    await context.store.reader()
    return PlainTextResponse("ok\n")


async def _metrics(context: Context, _asked: Asked) -> Response:
    counts: Counts | None
    behind: int | None
    try:
        reader = await context.store.reader()
        counts = Counts(0, 0) if reader is None else await reader.counts()
        behind = 0 if reader is None else (await reader.look(search_state)).behind
    except StoreError:
        counts = behind = None  # when the store is in trouble, the other metrics are what it is told by
    journal_bytes = await asyncio.to_thread(journal_size, context.data_dir)
    text = await asyncio.to_thread(
        metrics_text,
        context.metrics_folder,
        traces=None if counts is None else counts.traces,
        dead_letters=None if counts is None else counts.dead_letters,
        journal_bytes=journal_bytes,
        search_behind=behind,
        jobs=await _jobs(context),
    )
    return Response(text, media_type=CONTENT_TYPE)


async def _jobs(context: Context) -> dict[tuple[str, str], int] | None:
    try:
        async with await FiledJobs.open_to_read(context.data_dir / WORK_FILE) as work:
            return await work.count()
    except DatabaseMissingError:
        return {}
    except StoreError:
        return None


OPERATIONS = (
    Operation(
        name="healthz",
        method="GET",
        path="/healthz",
        summary="Tells that this process answers; never asks for the token.",
        handler=_healthz,
        good=Good("`ok`", media_type=TEXT),
        scope=Scope.OPEN,
        tag="health",
    ),
    Operation(
        name="readyz",
        method="GET",
        path="/readyz",
        summary="Tells that the store can be read, or is not there yet.",
        handler=_readyz,
        good=Good("`ok`", media_type=TEXT),
        tag="health",
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        summary="Gives all metrics in the text format of Prometheus.",
        handler=_metrics,
        good=Good("Prometheus text; see [metrics.md](metrics.md)", media_type=TEXT),
        tag="health",
    ),
)
