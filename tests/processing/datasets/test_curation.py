import asyncio
import threading
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from processing.budget import Budget
from processing.datasets.curation_stages import filter_rows, judge
from processing.datasets.row_filter import FilterRules
from processing.errors import BudgetError, InputError
from store.datasets.decision import DecisionKind
from store.datasets.review import decide, undo
from store.datasets.row import Row, RowEnd, RowState
from tests.processing.datasets.curating import FAILED, NAME, WAITS, a_judge, a_store, ends, make_version, row, states
from tests.processing.teachers import Body, Teachers, row_scores

SCORES: Mapping[str, tuple[int, int, int, int]] = {"good": (5, 5, 5, 5), "fair": (5, 5, 5, 3), "bad": (1, 2, 1, 1)}


def by_prompt(shown: Body) -> Body | str:
    said = shown["messages"][0]["content"]
    return row_scores(*SCORES[said]) if said in SCORES else "I cannot tell."


def no_email(text: str) -> list[str]:
    return ["email"] if "@" in text else []


async def test_a_judge_drops_what_is_below_the_threshold_and_a_threshold_moves_for_nothing(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.judge_row = by_prompt
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("good"), row("fair"), row("bad"), row("odd")])
        async with a_judge(store, teachers) as askers:
            first = await judge(store, NAME, "judge", askers, task="Sort tickets.")
        assert first.after == {"kept": 2, "dropped": 2, "failed": 0, "review": 0}
        assert (first.details["scored"], first.details["no_verdict"], first.details["paid"]) == (3, 1, 4)
        assert await states(store, version) == {
            "good": "kept uploaded",
            "fair": "dropped low_judge_score",
            "bad": "dropped low_judge_score",
            "odd": "kept no_verdict",
        }
        assert (await ends(store, version))["fair"].detail["judge_score"] == 0.6875
        lower = await judge(store, NAME, None, None, threshold=0.6)
        assert (lower.returned, lower.dropped) == (1, 0)
        assert (await states(store, version))["fair"] == "kept uploaded"
        higher = await judge(store, NAME, None, None, threshold=0.7)
        assert (higher.returned, higher.dropped) == (0, 1)
    assert len(teachers.requests) == 4


async def test_the_judge_is_asked_as_last_time_unless_told_otherwise(teachers: Teachers, tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a")])
        async with a_judge(store, teachers) as askers:
            await judge(store, NAME, "judge", askers, task="Sort tickets.", criteria="Be strict.")
            await judge(store, NAME, "judge", askers)
            assert len(teachers.requests) == 1
            await judge(store, NAME, "judge", askers, criteria="")
    said = [request["messages"][0]["content"] for request in teachers.requests]
    assert ["Be strict." in one for one in said] == [True, False]
    assert ["Sort tickets." in one for one in said] == [True, True]


async def test_rows_that_come_in_later_cost_their_own_calls_alone(teachers: Teachers, tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row(f"q{number}") for number in range(3)])
        async with a_judge(store, teachers) as askers:
            await judge(store, NAME, "judge", askers)
        await store.add_rows(version, [row("new")])
        told: list[tuple[int, int]] = []
        async with a_judge(store, teachers) as askers:
            after = await judge(store, NAME, "judge", askers, tell=lambda *at: told.append(at))
        assert (after.details["paid"], after.details["cached"]) == (1, 3)
    assert (told[0], told[-1]) == ((0, 4), (4, 4))
    assert len(teachers.requests) == 4


async def test_scores_and_reasons_stand_in_the_row_and_what_made_them_in_the_manifest(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.judge_row = by_prompt
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("fair", tags=["kept"]), row("odd")])
        async with a_judge(store, teachers) as askers:
            await judge(store, NAME, "judge", askers, task="T", criteria="C", threshold=0.5)
        found = {one.content["prompt"]: one.content["metadata"] async for one in store.rows(version)}
        manifest = (await store.version(NAME)).manifest["curation"]["judge"]
    assert found["fair"]["judge_score"] == 0.6875
    assert found["fair"]["judge_scores"] == {"helpfulness": 5, "relevance": 5, "format": 5, "criteria": 3}
    assert (found["fair"]["judge_reason"], found["fair"]["judge_model"]) == ("as scripted", "judge")
    assert found["fair"]["tags"] == ["kept"]
    assert (found["odd"]["judge_score"], found["odd"]["judge_problem"]) == (None, "unparsable")
    assert (manifest["model"], manifest["threshold"], manifest["task"], manifest["criteria"]) == (
        "judge",
        0.5,
        "T",
        "C",
    )
    assert len(manifest["prompt"]) == 16
    assert manifest["calls"] == 2


async def test_a_judge_that_stops_for_its_budget_keeps_what_was_paid_for(teachers: Teachers, tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row(f"q{number}") for number in range(5)])
        async with a_judge(store, teachers, Budget(max_calls=3)) as askers:
            with pytest.raises(BudgetError):
                await judge(store, NAME, "judge", askers)
        async with a_judge(store, teachers) as askers:
            after = await judge(store, NAME, "judge", askers)
        assert after.details["paid"] == 2
    assert len(teachers.requests) == 5


async def test_who_is_out_already_is_not_asked_about(teachers: Teachers, tmp_path: Path) -> None:
    rows = [row("a"), row("b" * 50), row("c", end=FAILED), row("d", end=WAITS), row("e")]
    async with a_store(tmp_path) as store:
        version = await make_version(store, rows)
        await decide(store, version, rows[4].row_id, DecisionKind.REJECT, who="ann")
        await filter_rows(store, NAME, FilterRules(max_chars=20))
        async with a_judge(store, teachers) as askers:
            await judge(store, NAME, "judge", askers)
    assert len(teachers.requests) == 1


@pytest.mark.parametrize("judges_first", [True, False])
async def test_the_best_scored_of_duplicates_stays_whether_judged_before_or_after_the_filter(
    teachers: Teachers, tmp_path: Path, judges_first: bool
) -> None:
    question = "How do I change the address of my invoice for the month of"
    rows = sorted((row(f"{question} {month}?") for month in ("May", "June")), key=lambda one: one.row_id)
    bad = rows[0].content["messages"][0]["content"]
    teachers.judge_row = lambda shown: row_scores(*SCORES["bad" if shown["messages"][0]["content"] == bad else "fair"])
    async with a_store(tmp_path) as store, a_judge(store, teachers) as askers:
        version = await make_version(store, rows)
        if judges_first:
            await judge(store, NAME, "judge", askers, threshold=0.6)
        await filter_rows(store, NAME, FilterRules(duplicates="near"))
        if not judges_first:
            await judge(store, NAME, "judge", askers, threshold=0.6)
        found = {one.row_id: one async for one in store.rows(version)}
    assert [found[one.row_id].end.state for one in rows] == ["dropped", "kept"]
    assert found[rows[1].row_id].content["metadata"]["judge_score"] == 0.6875


async def test_what_a_person_decides_while_the_judge_is_at_work_is_not_lost(teachers: Teachers, tmp_path: Path) -> None:
    rows = [row(f"q{number}") for number in range(4)]
    async with a_store(tmp_path) as store:
        version = await make_version(store, rows)
        await decide(store, version, rows[3].row_id, DecisionKind.REJECT, who="ann")
        begun, may_answer = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def slowly(_shown: Body) -> Body:
            loop.call_soon_threadsafe(begun.set)
            assert may_answer.wait(20)
            return row_scores(1, 1, 1, 1)

        teachers.judge_row = slowly
        async with a_judge(store, teachers) as askers:
            judging = asyncio.create_task(judge(store, NAME, "judge", askers))
            await begun.wait()
            async with a_store(tmp_path) as other:
                edit = [rows[0].content["messages"][0], {"role": "assistant", "content": "mine", "weight": 1}]
                await decide(other, version, rows[0].row_id, DecisionKind.EDIT, who="bob", messages=edit)
                await decide(other, version, rows[1].row_id, DecisionKind.ACCEPT, who="bob")
                await undo(other, version, rows[3].row_id, who="ann")
                manifest = {**(await other.version(NAME)).manifest, "noted": "meanwhile"}
                await other.set_manifest(version, manifest)
            may_answer.set()
            await judging
        found = {one.row_id: one async for one in store.rows(version)}
        assert [found[one.row_id].end.reason for one in rows] == ["edited", "accepted", "low_judge_score", "uploaded"]
        assert found[rows[0].row_id].content["response"] == "mine"
        assert (await store.version(NAME)).manifest["noted"] == "meanwhile"


async def test_a_judge_of_the_same_family_is_warned_of(teachers: Teachers, tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a", teacher_model="openai/gpt-4o")])
        async with a_judge(store, teachers) as askers:
            after = await judge(store, NAME, "gpt-4o-mini", askers)
    assert "one family" in after.warnings[0]


async def test_a_threshold_without_scores_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a")], freeze=True)
        with pytest.raises(InputError, match="--model"):
            await judge(store, NAME, None, None, threshold=0.5)
        with pytest.raises(InputError, match="from 0 to 1"):
            await judge(store, NAME, None, None, threshold=70)
        assert len(await store.versions(NAME)) == 1


async def test_the_order_of_commands_does_not_matter(teachers: Teachers, tmp_path: Path) -> None:
    """Each stage rewrites its own ends alone, and all of them follow from scores, settings and decisions."""
    teachers.judge_row = by_prompt
    rows = [row("good"), row("fair"), row("bad"), row("odd"), row("good", "other answer"), row("me@x.org")]
    outcomes = []
    for number, order in enumerate(permutations(("judge", "filter", "review"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with a_store(folder) as store, a_judge(store, teachers) as askers:
            version = await make_version(store, rows)
            async with a_judge(store, teachers) as askers:
                await judge(store, NAME, "judge", askers, threshold=0.9)
            for step in order:
                if step == "judge":
                    await judge(store, NAME, None, None, threshold=0.7)
                elif step == "filter":
                    rules = FilterRules(duplicates="near", pii="drop", max_chars=25)
                    await filter_rows(store, NAME, rules, find_personal=no_email)
                else:
                    await decide(store, version, rows[2].row_id, DecisionKind.ACCEPT, who="ann")
                    await decide(store, version, rows[3].row_id, DecisionKind.REJECT, who="ann")
            # What a decision changed is seen by the next stage.
            await judge(store, NAME, None, None, threshold=0.7, find_personal=no_email)
            found = {one.row_id: (one.end.state, one.end.reason) async for one in store.rows(version)}
            outcomes.append(found)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert set(outcomes[0].values()) >= {("kept", "accepted"), ("dropped", "rejected_in_review")}


async def test_every_stage_tells_what_went_in_and_what_came_out(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a"), row("b", end=WAITS), row("c", end=FAILED), row("long" * 20)])
        done = await filter_rows(store, NAME, FilterRules(max_chars=40))
    assert done.before == {"kept": 2, "dropped": 0, "failed": 1, "review": 1}
    assert done.after == {"kept": 1, "dropped": 1, "failed": 1, "review": 1}
    assert done.ended == {"filter": {"too_long": 1}, "relabel": {"no_candidate": 1, "no_quorum": 1}}
    assert (done.dropped, done.returned) == (1, 0)
    assert done.as_json()["rows"] == 4


async def test_rules_of_the_last_filter_hold_and_what_they_let_go_comes_back(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("a"), row("long" * 20), row("a", "answer", end=WAITS)])
        await filter_rows(store, NAME, FilterRules(max_chars=40))
        assert (await states(store, version))["long" * 20] == "dropped too_long"
        after = await filter_rows(store, NAME, FilterRules())
        assert after.returned == 1
        assert (await states(store, version))["long" * 20] == "kept uploaded"


async def test_rows_that_come_back_unjudged_are_counted_and_warned_of_until_they_are_judged(
    teachers: Teachers, tmp_path: Path
) -> None:
    """A filter that was relaxed brought rows back that no judge had seen, and nothing told of them when they froze."""
    back = "long" * 20
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("a"), row("b"), row(back)])
        before = await filter_rows(store, NAME, FilterRules(max_chars=40))
        async with a_judge(store, teachers) as askers:
            done = await judge(store, NAME, "judge", askers)
            relaxed = await filter_rows(store, NAME, FilterRules())
            frozen = await store.freeze(await store.version(version.label))
            told = "1 kept row was not judged"
            assert [told in " ".join(one.warnings) for one in (before, done, relaxed)] == [False, False, True]
            assert "tracemill datasets judge tickets" in relaxed.warnings[-1]
            assert relaxed.warnings[-1] in frozen.manifest["warnings"]
            again = await judge(store, NAME, "judge", askers)
        assert (again.warnings, again.details["paid"]) == ((), 3)
        await judge(store, NAME, None, None, threshold=0.1)
        assert told not in " ".join((await store.freeze(await store.version(NAME))).manifest["warnings"])


@pytest.mark.parametrize(("pii", "state"), [("keep", "kept"), ("review", "review"), ("drop", "dropped")])
async def test_personal_data_are_kept_dropped_or_left_to_a_person(tmp_path: Path, pii: Any, state: str) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("write to me@x.org"), row("write to nobody")])
        await filter_rows(store, NAME, FilterRules(pii=pii), find_personal=no_email)
        found = await ends(store, version)
    assert found["write to me@x.org"].state == state
    assert found["write to nobody"].state == "kept"
    assert "me@x.org" not in str(found["write to me@x.org"].detail)


async def test_of_duplicates_the_accepted_stays_then_the_best_scored_then_the_first(tmp_path: Path) -> None:
    question = "How do I change the address of my invoice for the month of"
    rows = [
        row(f"{question} May?", judge_score=0.8),
        row(f"{question} June?", judge_score=0.9),
        row(f"{question} July?", judge_score=0.7),
        row("Something else entirely, about the weather."),
        Row({**row("Something else entirely, about  the weather.").content, "row_id": "twin"}, None, row("x").end),
    ]
    async with a_store(tmp_path) as store:
        version = await make_version(store, rows)
        await filter_rows(store, NAME, FilterRules(duplicates="near"))
        found = {one.row_id: one.end async for one in store.rows(version)}
        assert [found[one.row_id].state for one in rows[:3]] == ["dropped", "kept", "dropped"]
        assert found[rows[0].row_id].detail["same_as"] == rows[1].row_id
        twins = sorted(["twin", rows[3].row_id])
        assert [found[name].state for name in twins] == ["kept", "dropped"]
        assert found[twins[1]].reason == "exact_duplicate"
        await decide(store, version, rows[2].row_id, DecisionKind.ACCEPT, who="ann")
        await filter_rows(store, NAME, FilterRules(duplicates="near"))
        found = {one.row_id: one.end async for one in store.rows(version)}
        assert [found[one.row_id].state for one in rows[:3]] == ["dropped", "dropped", "kept"]
        await filter_rows(store, NAME, FilterRules(duplicates="keep"))
        assert {end.state async for end in _ends(store, version)} == {RowState.KEPT}


async def _ends(store: Any, version: Any) -> Any:
    async for one in store.rows(version):
        yield one.end


async def test_a_row_that_its_birth_dropped_for_its_score_comes_back_with_a_lower_threshold(tmp_path: Path) -> None:
    low = RowEnd(RowState.DROPPED, "generate", "low_judge_score")
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row("a", judge_score=0.6, end=low), row("b", judge_score=0.9)])
        await judge(store, NAME, None, None, threshold=0.5)
        assert (await states(store, version))["a"] == "kept score_reached"
        await judge(store, NAME, None, None, threshold=0.7)
        assert (await states(store, version))["a"] == "dropped low_judge_score"


async def test_curating_a_frozen_version_opens_the_next_and_leaves_it_as_it_is(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.judge_row = by_prompt
    async with a_store(tmp_path) as store:
        frozen = await make_version(store, [row("good"), row("bad")], freeze=True)
        async with a_judge(store, teachers) as askers:
            done = await judge(store, frozen.label, "judge", askers)
        assert (done.version.label, done.version.parent, done.version.birth) == (f"{NAME}-v2", 1, "curate")
        assert (await store.version(frozen.label)).hash == frozen.hash
        assert await states(store, frozen) == {"good": "kept uploaded", "bad": "kept uploaded"}
        await filter_rows(store, NAME, FilterRules())
        assert len(await store.versions(NAME)) == 2
