"""Reviews: rows that are worth a person's time, and what people decide about rows; docs/curation.md tells the whole."""

from typing import TYPE_CHECKING

from starlette.responses import Response

from proxy.admin.answers import json_answer
from proxy.admin.bearer import Scope
from proxy.admin.body import Body
from proxy.admin.context import Context
from proxy.admin.dataset_place import (
    NAME,
    NUMBER,
    ROW_ID,
    VERSION_PATH,
    dataset_name,
    find_version,
    note,
    reading,
    refusing,
    writing,
)
from proxy.admin.datasets import decision_json
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import LIMIT, flag
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.datasets.decision import DecisionKind
from store.datasets.review import decide, precision, queue, undo
from store.datasets.version_json import row_json

if TYPE_CHECKING:
    from proxy.admin.shapes.review import DecisionTaken

_ALL = flag("all", "`true`: rows about which something was decided already, too.")
_DECISION: Body["DecisionTaken"] = Body("review.DecisionTaken", max_bytes=16 * 1024 * 1024)


async def _list_reviews(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        found = await queue(store, await find_version(store, asked))
    shown = [one for one in found if asked[_ALL] or one.decision is None]
    data = [
        {
            **row_json(one.row),
            "why": list(one.why),
            "decision": None if one.decision is None else decision_json(one.decision),
        }
        for one in shown[: asked[LIMIT]]
    ]
    told = {
        "data": data,
        "waiting": sum(one.decision is None for one in found),
        "precision": precision(found)._asdict(),
    }
    return json_answer(json_text.dumps(told))


async def _decide(context: Context, asked: Asked) -> Response:
    given = asked.body(_DECISION)
    kind, who, row_id = DecisionKind(given.kind), given.by or asked.who, asked.path("row_id")
    if (kind is DecisionKind.EDIT) != (given.messages is not None):
        message = "Messages belong to an edit, and an edit needs them."
        raise AdminRefusal(Code.INVALID_BODY, message, param="messages")
    async with writing(context) as store:
        version = await find_version(store, asked)
        if await store.row(version, row_id) is None:
            raise AdminRefusal(Code.NOT_FOUND, f"{version.label} has no row {row_id[:80]!r}.")
        if version.is_frozen:
            message = f"{version.label} is frozen and never changes; decide about the version that is open."
            raise AdminRefusal(Code.CONFLICT, message)
        await note(context, asked, do=str(kind), version=version.label, row_id=row_id)
        with refusing(Code.CONFLICT):
            if kind is DecisionKind.UNDO:
                row = await undo(store, version, row_id, who=who)
            else:
                row = await decide(store, version, row_id, kind, who=who, note=given.note, messages=given.messages)
    return json_answer(json_text.dumps(row_json(row)), status=201)


async def _list_decisions(context: Context, asked: Asked) -> Response:
    name = dataset_name(asked)
    async with reading(context) as store:
        with refusing(Code.NOT_FOUND):
            await store.version(name)
        found = await store.decision_log(name)
    return json_answer(json_text.dumps({"data": [decision_json(decision) for decision in found]}))


OPERATIONS = (
    Operation(
        name="list_reviews",
        method="GET",
        path=f"{VERSION_PATH}/reviews",
        summary="Lists the rows that are worth a person's time, the next one first.",
        handler=_list_reviews,
        good=Good("The rows.", "review.ReviewQueue"),
        parameters=(_ALL, LIMIT),
        path_parts=(NAME, NUMBER),
        errors=(Code.NOT_FOUND,),
        tag="reviews",
    ),
    Operation(
        name="decide",
        method="POST",
        path=f"{VERSION_PATH}/rows/{{row_id}}/decisions",
        summary="Decides about a row of an active version: accepts, edits, rejects or skips it, or takes a decision "
        "back. Later versions take it up wherever a row teaches the same.",
        handler=_decide,
        scope=Scope.WRITE,
        good=Good("The row as the decision leaves it.", "dataset.Row", status=201),
        path_parts=(NAME, NUMBER, ROW_ID),
        body=_DECISION,
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="reviews",
    ),
    Operation(
        name="list_decisions",
        method="GET",
        path="/admin/api/datasets/{name}/decisions",
        summary="Lists all decisions about rows of a dataset in the order they were made.",
        handler=_list_decisions,
        good=Good("The decisions.", "dataset.DecisionList"),
        path_parts=(NAME,),
        errors=(Code.NOT_FOUND,),
        tag="reviews",
    ),
)
