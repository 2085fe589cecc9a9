"""Raw calls: what was really sent and what came back, while it is kept."""

import json

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.named_trace import unknown_trace
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.traces import ID_MEANING
from proxy.journal.call_entries import read_call
from proxy.journal.raw_call_json import raw_call_json
from store.raw_calls import find_raw_call
from store.trace_lookup import find_trace


async def _get_raw(context: Context, asked: Asked) -> Response:
    given = asked.path("id")
    reader = await context.store.reader()
    trace = None if reader is None else await find_trace(reader, given)
    if reader is None or trace is None:
        raise unknown_trace(given)
    kept = await reader.look(lambda db: find_raw_call(db, trace.id))
    if kept is None:
        raise AdminRefusal(
            Code.NOT_FOUND,
            f"The bytes of {trace.id} are not kept, or not any longer; raw_retention_days and raw_retention_bytes say "
            "for how long they are.",
        )
    return json_answer(json.dumps(raw_call_json(read_call(kept))).encode())


OPERATIONS = (
    Operation(
        name="get_raw_call",
        method="GET",
        path="/admin/api/traces/{id}/raw",
        summary="Gives the bytes that a trace was made of, while they are kept.",
        handler=_get_raw,
        good=Good("What was sent and what came back.", "raw.RawCall"),
        path_parts=(("id", ID_MEANING),),
        errors=(Code.NOT_FOUND,),
        tag="traces",
    ),
)
