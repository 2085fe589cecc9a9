"""The predictions of an evaluation as JSON Lines: what was asked, what is right, what was answered, and every score."""

from collections.abc import AsyncIterator

from processing.evaluation.item import items_of
from processing.output import lines
from processing.prediction_line import prediction_line
from store.datasets.evaluation import Evaluation
from store.datasets.evaluation_store import EvaluationStore
from store.recorded.message import Json
from store.recorded.message_form import read_messages


async def prediction_lines(evaluation: Evaluation, store: EvaluationStore) -> AsyncIterator[bytes]:
    """Write predictions a line each, in the order of the rows; those of rows that were erased are gone.

    A row whose question is one text of a user's becomes `question, answer, prediction, context`, any other `prompt,
    completion, prediction`; beside them stand `row_id`, the answer's place in the row, one field per metric, why an
    answer does not count, what it cost and how long it took.

    Raises:
        DatasetError: The version is not there any more.
        InputError: A row is not of the form that every row has.
    """
    version = await store.version(evaluation.label)
    row_id, items = "", {}
    for one in await store.predictions(evaluation.evaluation_id):
        if one.row_id != row_id:
            row = await store.row(version, one.row_id)
            row_id, items = (
                one.row_id,
                {} if row is None else {item.target: item for item in items_of(row, expands=True)},
            )
        item = items.get(one.target)
        if item is None:
            continue
        answer = None if one.answer is None else read_messages([one.answer]).messages[0]
        line: dict[str, Json] = {
            "row_id": one.row_id,
            "target": one.target,
            **prediction_line(item.prompt, item.reference, answer),
            **one.scores,
            "failure": one.failure,
            "cost": one.cost,
            "duration_ms": one.duration_ms,
        }
        yield lines([line])
