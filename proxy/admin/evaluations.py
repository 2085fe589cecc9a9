"""Evaluations: listed, shown, with every answer, and held against each other; docs/evaluation.md tells the whole."""

from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response, StreamingResponse

from proxy.admin.answers import json_answer
from proxy.admin.change_requests import new_change
from proxy.admin.context import Context
from proxy.admin.dataset_place import reading, refusing
from proxy.admin.media_type import LINES
from proxy.admin.operation import Asked, Good, Operation
from proxy.admin.parameter import CURSOR, LIMIT, text
from proxy.admin.refusal import AdminRefusal, Code
from store import json_text
from store.change import ChangeKind
from store.datasets.evaluation import Prediction
from store.datasets.version import Reference, read_reference
from store.errors import CursorError, DatasetError
from store.json_text import JsonValue

_BLOCK_LINES = 200
_OF = text("version", "Only those of a version, `NAME-v3`, or of a dataset, `NAME`.")
_IDS = text("ids", "Two ids of evaluations or more, with commas between.")


async def _list(context: Context, asked: Asked) -> Response:
    cursor, limit, named = asked[CURSOR], asked[LIMIT], _reference(asked[_OF])
    try:
        async with reading(context) as store:
            there = await store.evaluations(named.dataset or None, named.number)
    except AdminRefusal:  # there is no work.db yet
        there = []
    ids = [one.evaluation_id for one in there]
    if cursor is not None and cursor not in ids:
        raise CursorError(f"cursor is {cursor[:40]!r}; expected the next_cursor of an earlier page.")
    start = 0 if cursor is None else ids.index(cursor) + 1
    shown = there[start : start + limit]
    next_cursor = shown[-1].evaluation_id if shown and start + limit < len(there) else None
    return _answer({"data": [one.as_json() for one in shown], "next_cursor": next_cursor})


async def _get(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        with refusing(Code.NOT_FOUND):
            found = await store.evaluation(asked.path("id"))
    return _answer(found.as_json())


async def _predictions(context: Context, asked: Asked) -> Response:
    async with reading(context) as store:
        with refusing(Code.NOT_FOUND):
            found = await store.evaluation(asked.path("id"))
        if asked.is_head:
            return Response(media_type=LINES)
        predictions = await store.predictions(found.evaluation_id)
    selection = json_text.dumps({"evaluation": found.evaluation_id})
    await context.changes.note(new_change(ChangeKind.EXPORT, selection, asked.who))
    return StreamingResponse(_lines(predictions), media_type=LINES)


async def _compare(context: Context, asked: Asked) -> Response:
    ids = [each.strip() for each in (asked[_IDS] or "").split(",") if each.strip()]
    if len(ids) < 2 or any(each.startswith("-") for each in ids):
        message = "ids names fewer than two evaluations; give two ids or more with commas between."
        raise AdminRefusal(Code.INVALID_PARAMETER, message, param="ids")
    async with reading(context) as store:
        with refusing(Code.NOT_FOUND):
            whole = [(await store.evaluation(each)).evaluation_id for each in ids]
    arguments = ("compare", str(context.data_dir), *whole)
    found = await context.worker.ask(*arguments, refusal=Code.CONFLICT)
    return _answer(found["comparison"])


async def _lines(predictions: Sequence[Prediction]) -> AsyncIterator[bytes]:
    for start in range(0, len(predictions), _BLOCK_LINES):
        part = predictions[start : start + _BLOCK_LINES]
        yield b"".join(json_text.dumps(_prediction_json(one)) + b"\n" for one in part)


def _prediction_json(one: Prediction) -> dict[str, JsonValue]:
    return {
        "row_id": one.row_id,
        "row_hash": one.row_hash,
        "target": one.target,
        "conversation_id": one.conversation_id,
        "answer": None if one.answer is None else dict(one.answer),
        "failure": one.failure,
        "scores": dict(one.scores),
        "judging": one.judging,
        "cost": one.cost,
        "duration_ms": one.duration_ms,
    }


def _reference(given: str | None) -> Reference:
    try:
        return Reference("", None) if given is None else read_reference(given)
    except DatasetError as exc:
        raise AdminRefusal(Code.INVALID_PARAMETER, str(exc), param="version") from exc


def _answer(value: dict[str, JsonValue]) -> Response:
    return json_answer(json_text.dumps(value))


_ID = (("id", "Of the evaluation, or its first four digits or more."),)

OPERATIONS = (
    Operation(
        name="list_evaluations",
        method="GET",
        path="/admin/api/evaluations",
        summary="Lists [evaluations](evaluation.md), the newest first.",
        handler=_list,
        good=Good("One page.", "evaluation.EvaluationPage"),
        parameters=(_OF, CURSOR, LIMIT),
        tag="evaluations",
    ),
    Operation(
        name="get_evaluation",
        method="GET",
        path="/admin/api/evaluations/{id}",
        summary="Gives one evaluation.",
        handler=_get,
        good=Good("The evaluation.", "evaluation.Evaluation"),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="evaluations",
    ),
    Operation(
        name="evaluation_predictions",
        method="GET",
        path="/admin/api/evaluations/{id}/predictions",
        summary="Gives every answer of an evaluation with its scores as JSON Lines.",
        handler=_predictions,
        good=Good("A line for each answer.", media_type=LINES),
        path_parts=_ID,
        errors=(Code.NOT_FOUND,),
        tag="evaluations",
    ),
    Operation(
        name="compare_evaluations",
        method="GET",
        path="/admin/api/comparisons",
        summary="Holds evaluations of the same rows against each other; others are refused.",
        handler=_compare,
        good=Good("The comparison.", "evaluation.Comparison"),
        parameters=(_IDS,),
        errors=(Code.NOT_FOUND, Code.CONFLICT),
        tag="evaluations",
    ),
)
