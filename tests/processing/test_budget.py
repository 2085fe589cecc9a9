"""A budget is never crossed, and what was bought under it is never bought again."""

from pathlib import Path

import pytest

from processing.budget import Budget
from processing.config import Price
from processing.endpoint import Endpoint
from processing.errors import BudgetError, InputError
from store.job import JobStatus
from store.work import WorkStore
from tests.processing.teachers import Teachers
from tests.processing.test_pipeline import files, inputs, run, traces

PRICED = Endpoint("m", "http://127.0.0.1/v1", "m", price=Price(input=3.0, output=10.0))
BODY = {"messages": [{"role": "user", "content": "x" * 2970}]}


def test_money_is_set_aside_before_a_call_and_settled_after_it() -> None:
    budget = Budget(max_cost=0.03)
    first = budget.reserve(PRICED, BODY)
    assert first.cost == pytest.approx((3000 / 3 * 3 + 1024 * 10) / 1e6, rel=0.02)
    budget.reserve(PRICED, BODY)
    with pytest.raises(BudgetError, match="set aside for calls in flight"):
        budget.reserve(PRICED, BODY)
    budget.settle(first, 0.001, 20)
    assert budget.cost == 0.001
    third = budget.reserve(PRICED, BODY)
    budget.release(third)
    unknown = budget.reserve(PRICED, BODY)
    budget.settle(unknown, None, 0)
    assert budget.cost == pytest.approx(0.001 + unknown.cost)


def test_a_longer_answer_than_expected_makes_the_next_ones_dearer() -> None:
    budget = Budget(max_cost=1000)
    budget.settle(budget.reserve(PRICED, BODY), 0.5, 50_000)
    assert budget.reserve(PRICED, BODY).cost > 0.5
    bounded = budget.reserve(PRICED, {**BODY, "max_tokens": 10})
    assert bounded.cost < 0.004


def test_money_cannot_be_bounded_where_no_price_is_known() -> None:
    with pytest.raises(
        InputError, match=r'model m: has no price.*Write models: \{"m": \{price: \{input: …, output: …\}\}\} \('
    ):
        Budget(max_cost=1).check(Endpoint("m", "http://127.0.0.1/v1", "m"))
    Budget(max_calls=1).check(Endpoint("m", "http://127.0.0.1/v1", "m"))


async def test_a_run_stops_before_its_budget_is_crossed_and_goes_on_with_another(
    teachers: Teachers, tmp_path: Path
) -> None:
    given = inputs(traces(40))
    with pytest.raises(BudgetError, match=r"budget of 9 calls is used up.*same command") as caught:
        await run(given, teachers, tmp_path, budget=Budget(max_calls=9))
    assert caught.value.calls == len(teachers.requests) == 9
    async with await WorkStore.open_to_read(tmp_path / "work.db") as work:
        job = await work.job("out")
    assert job is not None
    assert job.status is JobStatus.STOPPED
    assert not (tmp_path / "out" / "train.jsonl").exists()
    await run(given, teachers, tmp_path)
    paid = len(teachers.requests)
    (tmp_path / "fresh").mkdir()
    await run(given, teachers, tmp_path / "fresh")
    assert paid == len(teachers.requests) - paid, "nothing that the stopped run bought was bought again"
    assert files(tmp_path / "out") == files(tmp_path / "fresh" / "out")
