from dataclasses import replace
from pathlib import Path

import pytest

from processing.datasets.curation_stages import judge
from processing.datasets.review_selection import Candidate, choose, select_for_review
from processing.errors import InputError
from store.datasets.decision import DecisionKind
from store.datasets.review import Why, decide, precision
from store.datasets.row import Part, RowEnd, RowState
from tests.processing.datasets.curating import FAILED, NAME, WAITS, a_store, make_version, row


async def test_what_is_worth_a_persons_time_comes_first(tmp_path: Path) -> None:
    rows = [
        *[row(f"sure {number} {'xyz' * number}", judge_score=1.0, agreement=1.0) for number in range(20)],
        row("waits", end=WAITS),
        row("waits, votes differ", end=replace(WAITS, detail={"agreement": 0.2})),
        row("hardly agreed", agreement=0.3),
        row("changed", agreement=0.9, is_changed=True),
        row("close above", judge_score=0.75),
        row("close below", judge_score=0.6875),
        row("far below", judge_score=0.1),
        row("no verdict", judge_problem="unparsable"),
        row("failed", end=FAILED),
        row("left over", part=Part.UNSTRUCTURED, agreement=0.1),
    ]
    async with a_store(tmp_path) as store:
        await make_version(store, rows)
        await judge(store, NAME, None, None, threshold=0.7)
        _, queued = await select_for_review(store, NAME, limit=20)
    why = {str(one.row.content["prompt"]): set(one.why) - {Why.RANDOM} for one in queued}
    assert {name: found for name, found in why.items() if found} == {
        "waits": {Why.WAITS},
        "waits, votes differ": {Why.WAITS, Why.LOW_AGREEMENT},
        "hardly agreed": {Why.LOW_AGREEMENT},
        "changed": {Why.CHANGED},
        "close above": {Why.NEAR_THRESHOLD},
        "close below": {Why.NEAR_THRESHOLD},
        "no verdict": {Why.NO_VERDICT},
    }
    doubtful = [str(one.row.content["prompt"]) for one in queued if Why.RANDOM not in one.why]
    assert doubtful[:2] == ["waits, votes differ", "waits"]
    drawn = [one for one in queued if Why.RANDOM in one.why]
    assert len(drawn) == 2
    assert all(one.row.end.state is RowState.KEPT for one in drawn)


async def test_of_near_duplicates_one_is_enough(tmp_path: Path) -> None:
    asked = "How can I download the invoice of my subscription for the month of"
    rows = [row(f"{asked} {month}?", agreement=0.2) for month in ("May", "June", "July", "March")]
    rows += [row(f"question {number} {'ab' * number}") for number in range(40)]
    async with a_store(tmp_path) as store:
        await make_version(store, rows)
        _, queued = await select_for_review(store, NAME, limit=10, seed=2)
    assert sum(Why.LOW_AGREEMENT in one.why for one in queued) == 1
    assert sum(Why.RANDOM not in one.why for one in queued) == 1


async def test_the_same_version_and_seed_give_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    rows = [row(f"question {number} {'ab' * number}", agreement=number / 100) for number in range(60)]
    orders = []
    for name, given in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        async with a_store(tmp_path / name) as store:
            await make_version(store, given)
            _, queued = await select_for_review(store, NAME, limit=30, seed=5)
            orders.append([(one.row.row_id, one.why) for one in queued])
            _, others = await select_for_review(store, NAME, limit=30, seed=6)
            assert [one.row.row_id for one in others] != [one.row.row_id for one in queued]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 30
    assert sum(Why.RANDOM in why for _, why in orders[0]) == 3


async def test_a_choice_stands_until_all_of_it_is_decided(tmp_path: Path) -> None:
    rows = [row(f"question {number} {'ab' * number}", agreement=0.1) for number in range(12)]
    async with a_store(tmp_path) as store:
        await make_version(store, rows)
        version, queued = await select_for_review(store, NAME, limit=4)
        first = [one.row.row_id for one in queued]
        await decide(store, version, first[0], DecisionKind.ACCEPT, who="ann")
        version, queued = await select_for_review(store, NAME)
        assert [one.row.row_id for one in queued] == first
        assert [one.decision is None for one in queued] == [False, True, True, True]
        for name in first[1:]:
            await decide(store, version, name, DecisionKind.SKIP, who="ann")
        version, queued = await select_for_review(store, NAME)
        assert not {one.row.row_id for one in queued} & set(first)
        assert len(queued) == 4
        assert version.manifest["review"]["limit"] == 4


async def test_the_random_rows_estimate_precision(tmp_path: Path) -> None:
    rows = [row(f"question {number} {'ab' * number}") for number in range(30)]
    async with a_store(tmp_path) as store:
        await make_version(store, rows)
        version, queued = await select_for_review(store, NAME, limit=40)
        assert [one.why for one in queued] == [(Why.RANDOM,)] * 4
        for one, kind in zip(queued, ("accept", "accept", "reject", "skip"), strict=True):
            await decide(store, version, one.row.row_id, DecisionKind(kind), who="ann")
        _, queued = await select_for_review(store, NAME, limit=40, seed=123)
        del queued
        version = await store.version(NAME)
    assert len(version.manifest["review"]["rows"]) == 4
    assert precision([]) == (0, 0, 0)


def test_the_random_rows_stand_among_the_others() -> None:
    """At the end of the line they would all be looked at by somebody tired, and tired people accept."""
    candidates = [Candidate(f"r{number}", True, float(number < 45), (Why.CHANGED,)) for number in range(200)]
    chosen = choose(candidates, {}, limit=50, seed=1)
    places = [at for at, (_, why) in enumerate(chosen) if Why.RANDOM in why]
    assert len(chosen) == 50
    assert len(places) == 5
    assert min(places) < 40


async def test_a_limit_below_one_is_refused_and_no_version_opened(tmp_path: Path) -> None:
    kept = RowEnd(RowState.KEPT, "upload", "uploaded")
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a", end=kept)], freeze=True)
        with pytest.raises(InputError, match="--limit"):
            await select_for_review(store, NAME, limit=0)
        assert len(await store.versions(NAME)) == 1
