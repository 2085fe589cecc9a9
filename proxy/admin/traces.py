"""Traces: listed page by page, or one shown whole."""

from functools import partial

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.named_trace import unknown_trace
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, WHERE, choice
from proxy.admin.refusal import Code
from store.feedback import feedback_of
from store.trace_json import page_json, trace_json
from store.trace_lookup import find_trace
from store.trace_order import Order
from store.traces import TracePage


async def _list_traces(context: Context, asked: Asked) -> Response:
    reader = await context.store.reader()
    page = TracePage([], None)
    if reader is not None:
        page = await reader.page(asked[WHERE], asked[CURSOR], asked[LIMIT], asked[ORDER])
    return json_answer(page_json(page))


async def _get_trace(context: Context, asked: Asked) -> Response:
    given = asked.path("id")
    reader = await context.store.reader()
    trace = None if reader is None else await find_trace(reader, given)
    if reader is None or trace is None:
        raise unknown_trace(given)
    feedback = await reader.look(partial(feedback_of, trace_id=trace.id))
    return json_answer(trace_json(trace, feedback))


ID_MEANING = (
    "The trace's id, which the proxy tells each client in `x-tracemill-trace-id`, or the completion's own id, or the "
    "answer's `x-request-id`; where an upstream used one id twice, the newest."
)
ORDER = choice(
    "order",
    "What comes first; `-` is the largest. Traces that lack the value are left out.",
    Order,
    default=Order.NEWEST,
)

OPERATIONS = (
    Operation(
        name="list_traces",
        method="GET",
        path="/admin/api/traces",
        summary="Lists traces without their bodies. A page is what was found within a moment: while there is a "
        "`next_cursor`, there may be more, even behind an empty page.",
        handler=_list_traces,
        good=Good("One page.", "trace.TracePage"),
        parameters=(WHERE, CURSOR, LIMIT, ORDER),
        tag="traces",
    ),
    Operation(
        name="get_trace",
        method="GET",
        path="/admin/api/traces/{id}",
        summary="Gives one whole trace.",
        handler=_get_trace,
        good=Good("The trace.", "trace.Trace"),
        path_parts=(("id", ID_MEANING),),
        errors=(Code.NOT_FOUND,),
        tag="traces",
    ),
)
