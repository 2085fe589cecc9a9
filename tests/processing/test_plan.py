"""A plan tells what the run will buy, asks nobody, and holds against the run itself."""

from pathlib import Path
from typing import Any

import pytest

from processing import config_file
from processing.errors import InputError
from processing.inputs import Inputs
from processing.model_client import ModelClient
from processing.plan import Plan, make_plan
from processing.teachers import Teachers as Asked
from store.work import WorkStore
from tests.processing.teachers import GOOD, Body, Teachers, last_user
from tests.processing.test_pipeline import inputs, run, traces

KINDS = {
    "filter": "tracemill_relevance",
    "relabel": "relabel",
    "arbiter": "tracemill_arbiter",
    "judge": "tracemill_judge",
}


async def plan(given: Inputs, teachers: Teachers, folder: Path) -> Plan:
    environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
    async with await WorkStore.open(folder / "work.db") as work, ModelClient(1) as client:
        return await make_plan(given, Asked(client, work, given.config, environ))


def disagreeing(body: Body) -> Body:
    """Every model says something else; the arbiter picks one."""
    return {"content": f"{GOOD}{last_user(body)} says {body['model']} " + body["model"] * 30}


@pytest.mark.parametrize("reply", [None, disagreeing])
async def test_a_run_buys_no_less_and_no_more_than_planned(teachers: Teachers, tmp_path: Path, reply: Any) -> None:
    if reply is not None:
        teachers.reply = reply
    given = inputs(traces(70), relevance_filtering_batch_size=8)
    planned = await plan(given, teachers, tmp_path)
    assert teachers.requests == []
    await run(given, teachers, tmp_path)
    for purpose, kind in KINDS.items():
        steps = [step for step in planned.steps if step.purpose == purpose]
        bought = teachers.count(kind)
        assert sum(step.least for step in steps) <= bought <= sum(step.most for step in steps), purpose
    relabel = [step for step in planned.steps if step.purpose == "relabel"]
    assert sum(step.expected for step in relabel) == teachers.count("relabel")
    assert [step.model for step in relabel] == ["one", "three", "two"]
    assert (planned.conversations, planned.unscored) == (70, 70)


async def test_what_is_bought_already_is_planned_no_more(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(traces(40))
    await run(given, teachers, tmp_path)
    paid = len(teachers.requests)
    planned = await plan(given, teachers, tmp_path)
    assert planned.as_json()["calls"]["most"] == 0
    assert sum(step.known for step in planned.steps) > 0
    more = await plan(inputs([*traces(40), *traces(45)[40:]]), teachers, tmp_path)
    (relevance,) = (step for step in more.steps if step.purpose == "filter")
    assert (relevance.most, more.unscored) == (1, 5)
    assert len(teachers.requests) == paid


async def test_money_is_planned_where_every_price_is_known(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(traces(40))
    unpriced = await plan(given, teachers, tmp_path)
    assert (unpriced.cost, unpriced.most_cost) == (None, None)
    raw = given.config.model_dump(mode="json")
    del raw["not_used"]
    price = {"price": {"input": 1.0, "output": 4.0}}
    raw["models"] = dict.fromkeys(("one", "two", "three", "teacher", "judge"), price)
    priced = Inputs(given.intake, config_file.parse(raw, source="config.yaml"), given.description, None)
    planned = await plan(priced, teachers, tmp_path)
    assert planned.cost is not None
    assert planned.most_cost is not None
    assert 0 < planned.cost < planned.most_cost
    for step in planned.steps:
        assert step.cost == pytest.approx((step.prompt_tokens + 4 * step.completion_tokens) / 1e6, rel=0.05, abs=1e-5)


async def test_a_plan_learns_how_long_the_answers_of_a_model_are(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(traces(20))
    await run(given, teachers, tmp_path)
    planned = await plan(inputs(traces(60)), teachers, tmp_path)
    for step in planned.steps:
        if step.purpose == "relabel":
            assert step.completion_tokens == 5 * step.expected


async def test_a_plan_refuses_what_the_run_would_refuse(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(traces(20))
    async with await WorkStore.open(tmp_path / "work.db") as work, ModelClient(1) as client:
        with pytest.raises(InputError, match="has no base URL"):
            await make_plan(given, Asked(client, work, given.config, {}))
    assert teachers.requests == []
