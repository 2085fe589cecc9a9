"""The audit log: what was asked of the store, and what was exported; by whom, when, and what came of it."""

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.context import Context
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, optional_choice
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind, ChangeRecord, list_changes
from store.errors import CursorError
from store.json_text import JsonValue

KIND = optional_choice("kind", "Changes of one kind; all without it.", ChangeKind)


async def _list_changes(context: Context, asked: Asked) -> Response:
    kind, before, limit = asked[KIND], _before(asked[CURSOR]), asked[LIMIT]
    reader = await context.store.reader()
    found: list[ChangeRecord] = []
    if reader is not None:
        found = await reader.look(lambda db: list_changes(db, kind, before=before, limit=limit + 1))
    next_cursor = str(found[limit - 1].number) if len(found) > limit else None
    data: list[JsonValue] = [_plain(record) for record in found[:limit]]
    return json_answer(json_text.dumps({"data": data, "next_cursor": next_cursor}))


async def _get_change(context: Context, asked: Asked) -> Response:
    id_ = asked.path_id("id")
    found = None if id_ is None else await context.changes.find(id_)
    if found is None:
        raise AdminRefusal(Code.NOT_FOUND, f"No change of the id {asked.path('id')[:80]!r} has been applied.")
    return json_answer(json_text.dumps(_plain(found)))


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 18):
        raise CursorError(f"cursor {cursor[:80]!r} was not made by a page of changes; leave it out to begin anew")
    return int(cursor)


def _plain(record: ChangeRecord) -> dict[str, JsonValue]:
    return {
        "id": str(record.id),
        "kind": record.kind,
        "asked_at": record.asked_at.isoformat(),
        "asked_by": record.asked_by,
        "applied_at": record.applied_at.isoformat(),
        "finished_at": None if record.finished_at is None else record.finished_at.isoformat(),
        "result": dict(record.result),
    }


OPERATIONS = (
    Operation(
        name="list_changes",
        method="GET",
        path="/admin/api/changes",
        summary="Lists the audit log, the last applied first.",
        handler=_list_changes,
        good=Good("One page.", "change.ChangePage"),
        parameters=(KIND, CURSOR, LIMIT),
        tag="changes",
    ),
    Operation(
        name="get_change",
        method="GET",
        path="/admin/api/changes/{id}",
        summary="Tells what became of a change that was asked for.",
        handler=_get_change,
        good=Good("The change.", "change.Change"),
        path_parts=(("id", "The change's id, as the answer to what was asked tells it."),),
        errors=(Code.NOT_FOUND,),
        tag="changes",
    ),
)
