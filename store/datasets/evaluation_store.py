"""Evaluations in `work.db`, beside the datasets and the calls that they rest on."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from store import json_text
from store.datasets.dataset_store import DatasetStore
from store.datasets.evaluation import Evaluation, Prediction
from store.errors import DatasetError
from store.group_commit import Statement

_JSON = ("settings", "metrics", "cost", "latency", "counts")
_COLUMNS = tuple(field.name for field in fields(Evaluation))
_PREDICTION = tuple(field.name for field in fields(Prediction))
_MIN_PREFIX = 4
# ruff: noqa: S608 - the statements are put together from our names
_UPSERT = (
    f"INSERT INTO evaluations ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
    f" ON CONFLICT (evaluation_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_FORGET = "DELETE FROM predictions WHERE evaluation_id = :evaluation_id"
_ADD = (
    f"INSERT INTO predictions (evaluation_id, {', '.join(_PREDICTION)})"
    f" SELECT :evaluation_id, {', '.join(f':{name}' for name in _PREDICTION)}"
    " WHERE NOT EXISTS (SELECT 1 FROM erased_rows WHERE row_hash = :row_hash)"
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM evaluations"
_PREDICTIONS = (
    f"SELECT {', '.join(_PREDICTION)} FROM predictions WHERE evaluation_id = :evaluation_id ORDER BY row_id, target"
)


class EvaluationStore(DatasetStore):
    """An open `work.db` with datasets, calls and evaluations."""

    async def add_evaluation(self, evaluation: Evaluation, predictions: Sequence[Prediction]) -> Evaluation:
        """Write an evaluation with its predictions, in place of the same one made earlier, all or nothing.

        A row that is erased meanwhile leaves no prediction.
        """
        written = replace(evaluation, created_at=_now())
        values = {name: getattr(written, name) for name in _COLUMNS}
        values |= {name: json_text.dumps(values[name]).decode() for name in _JSON}
        key = {"evaluation_id": written.evaluation_id}
        await self._commit_together(
            Statement(_UPSERT, [values]),
            Statement(_FORGET, [key]),
            Statement(_ADD, [{**key, **_written(prediction)} for prediction in predictions]),
        )
        return written

    async def evaluations(self, dataset: str | None = None, version: int | None = None) -> list[Evaluation]:
        """List evaluations, the newest first; of one dataset, or of one version of it."""
        sql = (
            f"{_SELECT} WHERE (:dataset IS NULL OR dataset = :dataset) AND (:version IS NULL OR version = :version)"
            " ORDER BY created_at DESC, evaluation_id"
        )
        rows = await self._rows(sql, {"dataset": dataset, "version": version})
        return [_evaluation(row) for row in rows]

    async def evaluation(self, name: str) -> Evaluation:
        """Find an evaluation by its id, or the first four digits of it or more.

        Raises:
            DatasetError: There is none, or the digits begin several.
        """
        sql = f"{_SELECT} WHERE substr(evaluation_id, 1, length(:name)) = :name ORDER BY evaluation_id LIMIT 2"
        found = [] if len(name) < _MIN_PREFIX else await self._rows(sql, {"name": name})
        if len(found) > 1 and found[0][0] != name:
            raise DatasetError(f'several evaluations begin with "{name}"; give more of the id.')
        if not found:
            raise DatasetError(
                f'there is no evaluation "{name[:40]}". `tracemill evaluations list` tells which there are; give the '
                f"id or at least its first {_MIN_PREFIX} digits."
            )
        return _evaluation(found[0])

    async def predictions(self, evaluation_id: str) -> list[Prediction]:
        """Give the predictions of an evaluation, by row and place in it."""
        rows = await self._rows(_PREDICTIONS, {"evaluation_id": evaluation_id})
        return [_prediction(row) for row in rows]


def _written(prediction: Prediction) -> dict[str, Any]:
    values = {name: getattr(prediction, name) for name in _PREDICTION}
    answer = prediction.answer
    return {
        **values,
        "row_hash": bytes.fromhex(prediction.row_hash),
        "answer": None if answer is None else json_text.dumps(answer).decode(),
        "scores": json_text.dumps(prediction.scores).decode(),
    }


def _evaluation(row: Sequence[Any]) -> Evaluation:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    return Evaluation(**{**values, **{name: json_text.loads(values[name].encode()) for name in _JSON}})


def _prediction(row: Sequence[Any] | sqlite3.Row) -> Prediction:
    values: dict[str, Any] = dict(zip(_PREDICTION, row, strict=True))
    scores: Mapping[str, float | None] = json_text.loads(values["scores"].encode())
    answer = None if values["answer"] is None else json_text.loads(values["answer"].encode())
    return Prediction(**{**values, "row_hash": values["row_hash"].hex(), "scores": scores, "answer": answer})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
