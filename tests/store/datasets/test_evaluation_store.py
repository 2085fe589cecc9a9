"""Evaluations are written whole, found by their first digits, and lose with a row what was said of it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from store.call import Call
from store.datasets.evaluation import ERASE_PREDICTIONS, Evaluation, Prediction, evaluation_id
from store.datasets.evaluation_store import EvaluationStore
from store.errors import DatasetError

HASHES = ("11" * 20, "22" * 20)


def evaluation(name: str = "aaaa000000000000", model: str = "m") -> Evaluation:
    return Evaluation(name, "d", 1, "ff", "ee", "test", model, "url m", {"suite": "text"}, {}, {}, {}, {"rows": 2})


def prediction(number: int, **changes: object) -> Prediction:
    plain = Prediction(
        row_id=f"r{number}",
        row_hash=HASHES[number],
        target=1,
        conversation_id="c",
        answer={"role": "assistant", "content": f"said {number}"},
        failure=None,
        scores={"binary": 1.0, "rouge": None},
        call_key=bytes([number]),
        judge_call=bytes([number + 10]),
        cost=0.5,
        duration_ms=12.5,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EvaluationStore]:
    async with await EvaluationStore.open(tmp_path / "work.db") as found:
        yield found


async def test_what_is_written_is_read_back_and_written_anew(store: EvaluationStore) -> None:
    written = await store.add_evaluation(evaluation(), [prediction(0), prediction(1, answer=None, failure="length")])
    assert written.created_at
    assert await store.evaluation("aaaa") == written
    assert await store.predictions(written.evaluation_id) == [
        prediction(0),
        prediction(1, answer=None, failure="length"),
    ]
    await store.add_evaluation(evaluation(), [prediction(0)])
    assert await store.predictions(written.evaluation_id) == [prediction(0)]
    assert len(await store.evaluations("d", 1)) == 1
    assert await store.evaluations("d", 2) == []


async def test_an_evaluation_is_found_by_enough_of_its_id(store: EvaluationStore) -> None:
    for name in ("aaaa000000000000", "aaaa100000000000"):
        await store.add_evaluation(evaluation(name), [])
    assert (await store.evaluation("aaaa1")).evaluation_id == "aaaa100000000000"
    with pytest.raises(DatasetError, match="several"):
        await store.evaluation("aaaa")
    for name in ("aaa", "", "%", "bbbb"):
        with pytest.raises(DatasetError, match="no evaluation"):
            await store.evaluation(name)


def test_an_id_depends_on_all_that_decides_the_numbers() -> None:
    known = {"version_hash": "ff", "part": "test", "identity": "url m", "settings": {"a": 1, "b": 2}}
    ids = {evaluation_id(**known), evaluation_id(**{**known, "settings": {"b": 2, "a": 1}})}  # type: ignore[arg-type]
    assert len(ids) == 1
    for name, other in (("version_hash", "fe"), ("part", "all"), ("identity", "m"), ("settings", {"a": 1})):
        ids.add(evaluation_id(**{**known, name: other}))  # type: ignore[arg-type]
    assert len(ids) == 5


async def test_erasing_a_row_takes_what_was_said_of_it_and_marks_the_evaluation(
    store: EvaluationStore, tmp_path: Path
) -> None:
    for number in (0, 1, 10, 11):
        await store.add_call(Call(bytes([number]), "evaluate", "m", "url", b"{}", b"{}", None, None, 1))
    await store.add_evaluation(evaluation(), [prediction(0), prediction(1)])
    with closing(sqlite3.connect(tmp_path / "work.db")) as db, db:
        for statement in (*ERASE_PREDICTIONS, *ERASE_PREDICTIONS):
            db.execute(statement, {"key": bytes.fromhex(HASHES[0])})
    assert await store.predictions("aaaa000000000000") == [prediction(1)]
    assert (await store.evaluation("aaaa000000000000")).erased == 1
    left = [number for number in (0, 1, 10, 11) if await store.call(bytes([number])) is not None]
    assert left == [1, 11]


async def test_a_row_that_was_erased_meanwhile_leaves_no_prediction(store: EvaluationStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "work.db")) as db, db:
        db.execute("INSERT INTO erased_rows VALUES (?, 1, '2026-01-01T00:00:00Z')", (bytes.fromhex(HASHES[0]),))
    await store.add_evaluation(evaluation(), [prediction(0), prediction(1)])
    assert await store.predictions("aaaa000000000000") == [prediction(1)]
