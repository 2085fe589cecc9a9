"""Counts of what the store holds, and of what calls used and cost."""

import asyncio
from datetime import date

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.metrics import journal_size
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import WHERE, Parameter
from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.store import NOTHING
from store.search_index import search_state
from store.trace_json import stats_json
from store.usage_stats import NO_USAGE, Dimension, Selection, read_usage

_NAMES = "|".join(Dimension)


def _dimensions(given: str) -> tuple[Dimension, ...]:
    try:
        return tuple(Dimension(name) for name in given.split(","))
    except ValueError as exc:
        message = f"group_by is {given[:80]!r}; expected names with commas between them: {', '.join(Dimension)}."
        raise AdminRefusal(Code.INVALID_PARAMETER, message, param="group_by") from exc


def _day(name: str, meaning: str) -> Parameter[date | None]:
    def read(given: str) -> date | None:
        try:
            return date.fromisoformat(given)
        except ValueError as exc:
            message = f"{name} is {given[:20]!r}; expected a day such as 2026-01-31."
            raise AdminRefusal(Code.INVALID_PARAMETER, message, param=name) from exc

    return Parameter(name, meaning, read, None, {"type": "string", "format": "date"})


_GROUP_BY: Parameter[tuple[Dimension, ...]] = Parameter(
    "group_by",
    f"What `usage.groups` are by, with commas between: {', '.join(f'`{name}`' for name in Dimension)}.",
    _dimensions,
    (),
    {"type": "string", "pattern": f"^({_NAMES})(,({_NAMES}))*$"},
)
_FROM = _day("from", "First day of `usage`, UTC.")
_TO = _day("to", "Last day of `usage`, UTC.")


async def _stats(context: Context, asked: Asked) -> Response:
    journal_bytes = await asyncio.to_thread(journal_size, context.data_dir)
    selection = Selection(asked[_FROM], asked[_TO], asked.text(WHERE))
    selection.filter()
    reader = await context.store.reader()
    by = asked[_GROUP_BY]
    stats, usage, behind = NOTHING, NO_USAGE, 0
    if reader is not None:
        behind = (await reader.look(search_state)).behind
        stats, usage = await reader.stats(), await read_usage(reader, by, selection)
    text = stats_json(stats, journal_bytes=journal_bytes, search_behind=behind)
    return json_answer(text[:-1] + b',"usage":' + usage.to_json() + b"}")


OPERATIONS = (
    Operation(
        name="stats",
        method="GET",
        path="/admin/api/stats",
        summary="Counts what the store holds, and under `usage` the [tokens and cost](cost.md) of a selection.",
        handler=_stats,
        good=Good("The counts.", "stats.Stats"),
        parameters=(_GROUP_BY, _FROM, _TO, WHERE),
        tag="stats",
    ),
)
