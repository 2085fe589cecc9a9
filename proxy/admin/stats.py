"""Counts of what the store holds."""

import asyncio

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.metrics import journal_size
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.shapes.stats import Stats
from proxy.admin.store import NOTHING
from store.trace_json import stats_json


async def _stats(context: Context, _asked: Asked) -> Response:
    journal_bytes = await asyncio.to_thread(journal_size, context.data_dir)
    reader = await context.store.reader()
    stats = NOTHING if reader is None else await reader.stats()
    return json_answer(stats_json(stats, journal_bytes=journal_bytes))


OPERATIONS = (
    Operation(
        name="stats",
        method="GET",
        path="/admin/api/stats",
        summary="Counts what the store holds.",
        handler=_stats,
        good=Good("The counts.", Stats),
        tag="stats",
    ),
)
