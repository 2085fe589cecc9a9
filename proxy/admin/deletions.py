"""Erasing traces on demand, and how far that is; what goes and what stays, `docs/retention.md` tells.

An answer of 202 tells that what was asked is on the disk: it will be done whatever happens to this process.
"""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.feedback import is_recent
from proxy.admin.named_trace import named_trace, unknown_trace
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind
from store.erasing.progress import find_progress, is_known
from store.erasing.selector import Selector, SelectorKind
from store.filter import parse_filter
from store.json_text import JsonValue

if TYPE_CHECKING:
    from proxy.admin.shapes.erasure import ErasureTaken
_ERASURE: Body["ErasureTaken"] = Body("erasure.ErasureTaken", max_bytes=1024 * 1024)


async def _erase_trace(context: Context, asked: Asked) -> Response:
    named = asked.path("id")
    reader = await context.store.reader()
    trace_id = asked.path_id("id") or await named_trace(reader, named)
    # A call may be in flight still: its client has the id before its answer.
    is_there = reader is not None and await reader.look(partial(is_known, id_=trace_id))
    if not is_there and not is_recent(trace_id, datetime.now(UTC)):
        raise unknown_trace(named)
    return await _ask(context, asked, Selector.of_traces([trace_id]))


async def _erase_session(context: Context, asked: Asked) -> Response:
    return await _ask(context, asked, Selector(SelectorKind.SESSION, asked.path("session")))


async def _erase_user(context: Context, asked: Asked) -> Response:
    return await _ask(context, asked, Selector(SelectorKind.USER, asked.path("user")))


async def _erase(context: Context, asked: Asked) -> Response:
    given = asked.body(_ERASURE).model_dump(exclude_none=True)
    if len(given) != 1:
        raise AdminRefusal(Code.INVALID_BODY, f"The body names {len(given)} of {', '.join(SelectorKind)}; name one.")
    name, value = next(iter(given.items()))
    if name == SelectorKind.WHERE:
        parse_filter(value)
    selector = Selector(SelectorKind(name), " ".join(value) if isinstance(value, list) else value)
    try:
        selector.check()
    except ValueError as exc:
        raise AdminRefusal(Code.INVALID_BODY, f"The body cannot be taken: {exc}.", param=name) from exc
    return await _ask(context, asked, selector)


async def _ask(context: Context, asked: Asked, selector: Selector) -> Response:
    change = new_change(ChangeKind.ERASE, selector.encode(), asked.who)
    await context.changes.note(change)
    return json_answer(json_text.dumps({"change_id": str(change.id)}), status=202)


async def _get_erasure(context: Context, asked: Asked) -> Response:
    id_ = asked.path_id("id")
    reader = await context.store.reader()
    progress = None if reader is None or id_ is None else await reader.look(partial(find_progress, id_=id_))
    is_waiting = id_ is not None and is_recent(id_, datetime.now(UTC)) and await context.changes.waits(id_)
    if progress is None and reader is not None and id_ is not None and not is_waiting:
        # Ingest may have come to it between the two looks.
        progress = await reader.look(partial(find_progress, id_=id_))
    if progress is not None:
        return json_answer(json_text.dumps(progress.to_json()))
    if not is_waiting:
        raise AdminRefusal(Code.NOT_FOUND, f"No erasure has the id {asked.path('id')[:80]!r}.")
    waiting: dict[str, JsonValue] = {
        "id": str(id_),
        "phase": "asked",
        "asked_at": None,
        "finished_at": None,
        "result": {},
        "trace_ids": [],
    }
    return json_answer(json_text.dumps(waiting))


_TAKEN = Good("It is on the disk and will be done.", "erasure.ErasureAccepted", status=202)

OPERATIONS = (
    Operation(
        name="erase_trace",
        method="DELETE",
        path="/admin/api/traces/{id}",
        summary="Erases one trace, with [all that was made of it](retention.md).",
        handler=_erase_trace,
        scope=Scope.WRITE,
        good=_TAKEN,
        path_parts=(
            (
                "id",
                "The trace's id, the completion's own id, or the answer's `x-request-id`; the call may be in flight.",
            ),
        ),
        errors=(Code.NOT_FOUND,),
        tag="erasures",
    ),
    Operation(
        name="erase_session",
        method="DELETE",
        path="/admin/api/sessions/{session}",
        summary="Erases all traces of a session whose calls began until now.",
        handler=_erase_session,
        scope=Scope.WRITE,
        good=_TAKEN,
        path_parts=(("session", "As the client named it; one with a slash goes into the body of `erase`."),),
        tag="erasures",
    ),
    Operation(
        name="erase_user",
        method="DELETE",
        path="/admin/api/users/{user}",
        summary="Erases all traces of a user whose calls began until now.",
        handler=_erase_user,
        scope=Scope.WRITE,
        good=_TAKEN,
        path_parts=(("user", "As the client named it; one with a slash goes into the body of `erase`."),),
        tag="erasures",
    ),
    Operation(
        name="erase",
        method="POST",
        path="/admin/api/erasures",
        summary="Erases traces by id, session, user, conversation or filter.",
        handler=_erase,
        scope=Scope.WRITE,
        good=_TAKEN,
        body=_ERASURE,
        errors=(Code.INVALID_FILTER,),
        tag="erasures",
    ),
    Operation(
        name="get_erasure",
        method="GET",
        path="/admin/api/erasures/{id}",
        summary="Tells how far an erasure is.",
        handler=_get_erasure,
        good=Good("How far it is.", "erasure.Erasure"),
        path_parts=(("id", "`change_id` of the answer that took it."),),
        errors=(Code.NOT_FOUND,),
        tag="erasures",
    ),
)
