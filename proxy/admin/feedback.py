"""Feedback: given on a trace, and listed.

An answer of 201 tells that the entry can be read and is on the disk; 202 that it is on the disk alone, as ingest is
behind. Feedback may come before its trace is stored, since the client has the id before the answer is over.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.named_trace import named_trace, unknown_trace
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import Change, ChangeKind, ChangeRecord
from store.feedback import check_target, feedback_json, feedback_list_json, feedback_of, find_feedback, find_target
from store.feedback_form import FeedbackError, FeedbackKind, Given, read_feedback, read_request, write_request
from store.uuid7 import uuid7

_MAX_BYTES = 4 * 1024 * 1024
_PATIENCE_S = 3.0
"""Ingest applies a change within half a second, unless it is far behind."""
_LONGEST_CALL = timedelta(days=1)
"""A trace is stored when its call is over; whoever has its id may speak sooner."""
_CLOCK_SKEW = timedelta(minutes=5)


async def _give_feedback(context: Context, asked: Asked) -> Response:
    text = b"".join([block async for block in asked.blocks()])
    try:
        given = read_feedback(text)
        trace_id = await _trace_id(context, asked, given)
    except FeedbackError as exc:
        raise AdminRefusal(Code.INVALID_BODY, f"The body cannot be taken: {exc}", param=exc.member) from exc
    id_ = given.id or uuid7()
    change = Change(id_, ChangeKind.FEEDBACK, datetime.now(UTC), asked.who, write_request(trace_id, given))
    record = await context.changes.ask(change, patience_s=_PATIENCE_S)
    if record is None:
        return json_answer(json_text.dumps({"id": str(id_), "trace_id": str(trace_id)}), status=202)
    return json_answer(await _entry(context, record, change), status=201)


async def _trace_id(context: Context, asked: Asked, given: Given) -> UUID:
    """Find out which trace is meant; one that is not stored must be recent, and its parts are then not checked."""
    reader = await context.store.reader()
    trace_id = asked.path_id("id") or await named_trace(reader, asked.path("id"))
    target = None if reader is None else await reader.look(partial(find_target, trace_id=trace_id))
    if target is not None:
        check_target(given, target)
    elif not is_recent(trace_id, datetime.now(UTC)):
        raise unknown_trace(asked.path("id"))
    return trace_id


def is_recent(trace_id: UUID, now: datetime) -> bool:
    """Tell whether a call of that id may still be under way: it is a UUIDv7, made within the last day."""
    if trace_id.version != 7:
        return False
    age = now.timestamp() - (trace_id.int >> 80) / 1000
    return -_CLOCK_SKEW.total_seconds() <= age <= _LONGEST_CALL.total_seconds()


async def _entry(context: Context, record: ChangeRecord, change: Change) -> bytes:
    """Give the entry that came of a change.

    Raises:
        AdminRefusal: None came of it, or the id is of another one.
    """
    if "error" in record.result:
        raise AdminRefusal(Code.INVALID_BODY, f"The body cannot be taken: {record.result['error']}")
    reader = await context.store.reader()
    found = None if reader is None else await reader.look(partial(find_feedback, id_=change.id))
    trace_id, asked = read_request(change.body)
    if found is None or found.trace_id != trace_id or _told(found.given) != _told(asked):
        message = f"The id {change.id} is of something else that was asked before; give each entry an id of its own."
        raise AdminRefusal(Code.CONFLICT, message, param="id")
    return feedback_json(found)


def _told(given: Given) -> Given:
    """Leave out what redaction may have changed, and who gave it, which may be the token's name."""
    is_text = given.kind in (FeedbackKind.COMMENT, FeedbackKind.DEMONSTRATION)
    return replace(given, by=None, id=None, value=b"" if is_text else given.value)


async def _list_feedback(context: Context, asked: Asked) -> Response:
    named = asked.path("id")
    reader = await context.store.reader()
    if reader is None:
        raise unknown_trace(named)
    trace_id = asked.path_id("id")
    entries = [] if trace_id is None else await reader.look(partial(feedback_of, trace_id=trace_id))
    if not entries:
        found = await named_trace(reader, named)
        entries = await reader.look(partial(feedback_of, trace_id=found))
    return json_answer(b'{"data":' + feedback_list_json(entries) + b"}")


_ID_MEANING = "The trace's id from `x-tracemill-trace-id`, or the completion's own id, or the answer's `x-request-id`."
_PATH = "/admin/api/traces/{id}/feedback"

OPERATIONS = (
    Operation(
        name="list_feedback",
        method="GET",
        path=_PATH,
        summary="Gives all [feedback](feedback.md) on a trace in its order, what no longer counts too.",
        handler=_list_feedback,
        good=Good("The entries.", "feedback.FeedbackList"),
        path_parts=(("id", _ID_MEANING),),
        errors=(Code.NOT_FOUND,),
        tag="feedback",
    ),
    Operation(
        name="give_feedback",
        method="POST",
        path=_PATH,
        summary="Gives [feedback](feedback.md) on a trace, of which only the id has to be known yet.",
        handler=_give_feedback,
        scope=Scope.WRITE,
        good=Good("The entry; it is on the disk and can be read.", "feedback.Feedback", status=201),
        later=Good("The entry is on the disk, and ingest comes to it later.", "feedback.FeedbackLater", status=202),
        path_parts=(("id", _ID_MEANING),),
        body=Body("feedback.FeedbackTaken", max_bytes=_MAX_BYTES, is_exact=True),
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="feedback",
    ),
)
