"""Evaluations are compared on the same rows alone, answer by answer, with a verdict that says what is shown."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from processing.errors import InputError
from processing.evaluation.comparison import NO_DIFFERENCE, compare_models, compare_stored
from processing.evaluation.evaluate import Wanted
from store.datasets.evaluation_store import EvaluationStore
from store.datasets.row import Part
from tests.processing.evaluation.versions import frozen, label_for, label_row, opened, right_in, run, text_row
from tests.processing.teachers import Body, Teachers


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EvaluationStore]:
    async with await opened(tmp_path) as found:
        yield found


def two_models(body: Body) -> Body:
    """`good` is right on nine of ten, `poor` on half, `same` says what `good` says."""
    return right_in(0.5 if body["model"] == "poor" else 0.9, label_for)({**body, "model": "a"})


async def test_the_better_model_is_told_and_its_cost_stands_beside_it(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(120)])
    teachers.reply = two_models
    models = {"good": {"price": {"input": 1000.0, "output": 0.0}}, "poor": {"price": {"input": 1.0, "output": 0.0}}}
    found = await run(store, teachers, Wanted("support", ("poor", "good", "same")), models=models)
    assert found.comparison is not None
    verdicts = {(one.first, one.second): one for one in found.comparison.differences}
    better = verdicts["poor", "good"]
    assert better.verdict == "good better"
    assert better.holds_together
    assert (better.wins, better.ties + better.losses) == (0, 120)
    assert better.mean is not None
    assert better.low is not None
    assert better.low < better.mean < 0
    assert verdicts["good", "same"].verdict == NO_DIFFERENCE
    assert (verdicts["good", "same"].ties, verdicts["good", "same"].p) == (120, 1.0)
    sides = found.comparison.as_json()["sides"]
    assert [(side["name"], side["cost"]["per_row"]) for side in sides] == [
        ("poor", 0.00001),
        ("good", 0.01),
        ("same", None),
    ]
    assert any("3 differences were looked at" in note for note in found.comparison.notes)


async def test_stored_evaluations_compare_as_they_did(store: EvaluationStore, teachers: Teachers) -> None:
    await frozen(store, [label_row(number) for number in range(30)])
    teachers.reply = two_models
    found = await run(store, teachers, Wanted("support", ("good", "poor")))
    assert found.comparison is not None
    ids = [one.evaluation_id for one in found.evaluations]
    again = await compare_stored([ids[0][:8], ids[1]], store)
    assert again.differences == found.comparison.differences
    named = await compare_models("support-v1", ["good", "poor"], store, part="test")
    assert named.differences == found.comparison.differences


async def test_versions_with_the_same_test_rows_compare_and_others_are_refused(
    store: EvaluationStore, teachers: Teachers
) -> None:
    contents = [label_row(number) for number in range(12)]

    def part(number: int) -> Part:
        return Part.TRAIN if number >= 9 else Part.TEST

    await frozen(store, contents, part=part)
    await frozen(store, contents[:10], part=part)
    await frozen(store, contents[1:], part=part)
    teachers.reply = two_models
    first, second, third = [
        (await run(store, teachers, Wanted(f"support-v{number}", (model,)))).evaluations[0]
        for number, model in ((1, "good"), (2, "poor"), (3, "poor"))
    ]
    assert (await compare_stored([first.evaluation_id, second.evaluation_id], store)).differences[0].answers == 9
    with pytest.raises(InputError, match="different rows") as caught:
        await compare_stored([first.evaluation_id, third.evaluation_id], store)
    for told in (first.evaluation_id, third.evaluation_id, first.test_hash[:12], third.test_hash[:12], "support-v3"):
        assert told in str(caught.value)


async def test_other_suites_or_turns_are_refused_and_other_judges_left_out(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [text_row(number) for number in range(6)])
    teachers.reply = lambda body: {"content": f"{body['model']} says"}
    teachers.judge = '{"reason": "so", "verdict": "bad"}'
    one, two, three = [
        (await run(store, teachers, wanted)).evaluations[0].evaluation_id
        for wanted in (
            Wanted("support", ("a",), judge="j1"),
            Wanted("support", ("b",), judge="j2"),
            Wanted("support", ("b",), suite="tool"),
        )
    ]
    compared = await compare_stored([one, two], store)
    assert [found.metric for found in compared.differences] == ["binary", "rouge", "meteor"]
    assert any("same judge" in note for note in compared.notes)
    with pytest.raises(InputError, match="--task was text and tool"):
        await compare_stored([one, three], store)
    with pytest.raises(InputError, match="two different"):
        await compare_stored([one, one], store)


async def test_the_recorded_answers_compare_on_the_rows_that_have_them(
    store: EvaluationStore, teachers: Teachers
) -> None:
    contents = [label_row(number, original_response="wrong" if number < 10 else None) for number in range(30)]
    await frozen(store, contents)
    teachers.reply = two_models
    found = await run(store, teachers, Wanted("support", ("good",), has_recorded=True))
    assert found.comparison is not None
    (difference,) = found.comparison.differences
    assert (difference.first, difference.second, difference.answers) == ("recorded", "good", 10)


async def test_a_model_that_was_not_evaluated_is_named_with_the_command(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(9)])
    teachers.reply = two_models
    await run(store, teachers, Wanted("support", ("good",)))
    with pytest.raises(InputError, match=r"poor.*good was.*tracemill evaluate support-v1 --model poor"):
        await compare_models("support", ["good", "poor"], store, part="test")


async def test_models_are_compared_by_their_newest_evaluations_that_are_alike(
    store: EvaluationStore, teachers: Teachers
) -> None:
    """An evaluation with another --task, made later, kept a version's models from being compared at all."""
    await frozen(store, [label_row(number) for number in range(12)])
    teachers.reply = two_models
    alike = await run(store, teachers, Wanted("support", ("good", "poor")))
    other = (await run(store, teachers, Wanted("support", ("poor",), suite="text"))).evaluations[0]
    assert alike.comparison is not None
    found = await compare_models("support", ["good", "poor"], store, part="test")
    assert found.differences == alike.comparison.differences
    (note,) = [note for note in found.notes if "newer" in note]
    taken = alike.evaluations[1].evaluation_id
    assert taken in note
    assert f"{other.evaluation_id} is newer and was scored with --task text" in note
    assert "good" in note
    await run(store, teachers, Wanted("support", ("good",), suite="text"))
    newest = await compare_models("support", ["good", "poor"], store, part="test")
    assert {one.settings["suite"] for one in newest.evaluations} == {"text"}
    assert not [note for note in newest.notes if "newer" in note]


async def test_models_without_evaluations_that_are_alike_are_told_what_each_has(
    store: EvaluationStore, teachers: Teachers
) -> None:
    await frozen(store, [label_row(number) for number in range(9)])
    teachers.reply = two_models
    await run(store, teachers, Wanted("support", ("good",)))
    await run(store, teachers, Wanted("support", ("poor",), suite="text"))
    with pytest.raises(InputError, match=r"good .*--task classification.*poor .*--task text.*tracemill evaluate"):
        await compare_models("support", ["good", "poor"], store, part="test")
