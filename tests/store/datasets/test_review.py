from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.datasets.covering import FILTER, cover, uncover
from store.datasets.dataset_store import DatasetStore
from store.datasets.decided_row import carried
from store.datasets.decision import DecisionKind
from store.datasets.edit import answers_before, edited, unedited
from store.datasets.review import (
    Why,
    carry_decisions,
    decide,
    open_to_curate,
    precision,
    queue,
    undo,
)
from store.datasets.row import Row, RowEnd, RowState
from store.datasets.version import Birth, Version
from store.errors import DatasetError
from tests.store.datasets.rows import KEPT, content, row

WAITS = RowEnd(RowState.REVIEW, "relabel", "no_quorum", {"agreement": 0.3})
LOW = cover(KEPT, RowState.DROPPED, "judge", "low_judge_score", {"judge_score": 0.4})


@asynccontextmanager
async def a_version(folder: Path, *rows: Row, freeze: bool = False) -> AsyncIterator[tuple[DatasetStore, Version]]:
    async with await DatasetStore.open(folder / "work.db") as store:
        async with store.birth("d", birth=Birth.UPLOAD, manifest={}, freeze=freeze) as born:
            await born.add_rows(rows)
        assert born.version is not None
        yield store, born.version


def answered(of: Row, text: str) -> list[Any]:
    messages = list(of.content["messages"])
    return [*messages[:-1], {**messages[-1], "content": text}]


async def end_of(store: DatasetStore, version: Version, number: int) -> str:
    found = await store.row(version, row(number).row_id)
    assert found is not None
    return f"{found.end.state} {found.end.stage} {found.end.reason}"


async def test_a_decision_overrides_judge_and_rules_and_can_be_taken_back(tmp_path: Path) -> None:
    rows = [row(1, end=WAITS), row(2, end=LOW), row(3), row(4)]
    async with a_version(tmp_path, *rows) as (store, version):
        for number, kind in enumerate(("accept", "accept", "reject", "skip"), 1):
            await decide(store, version, rows[number - 1].row_id, DecisionKind(kind), who="ann")
        assert [await end_of(store, version, number) for number in range(1, 5)] == [
            "kept review accepted",
            "kept review accepted",
            "dropped review rejected_in_review",
            "kept output train",
        ]
        counts = (await store.version("d")).counts
        assert (counts.entered, counts.kept, counts.dropped) == (4, 3, 1)
        for one in rows:
            back = await undo(store, version, one.row_id, who="ann")
            assert back == one
            assert await store.row(version, one.row_id) == one
        with pytest.raises(DatasetError, match="nothing was decided"):
            await undo(store, version, rows[0].row_id, who="ann")
        assert len(await store.decision_log("d")) == 8


async def test_a_later_decision_holds_and_undo_brings_the_earlier_one_back(tmp_path: Path) -> None:
    async with a_version(tmp_path, row(1)) as (store, version):
        name = row(1).row_id
        await decide(store, version, name, DecisionKind.REJECT, who="ann", note="off topic")
        await decide(store, version, name, DecisionKind.EDIT, who="bob", messages=answered(row(1), "no"))
        assert await end_of(store, version, 1) == "kept review edited"
        await undo(store, version, name, who="bob")
        assert await end_of(store, version, 1) == "dropped review rejected_in_review"
        found = await store.row(version, name)
        assert found is not None
        assert found.content == row(1).content
        log = await store.decision_log("d")
    assert [(one.kind, one.who) for one in log] == [("reject", "ann"), ("edit", "bob"), ("undo", "bob")]
    assert log[0].note == "off topic"
    assert len({one.learned_hash for one in log}) == 1


async def test_an_edit_replaces_the_answer_and_what_was_said_of_the_old_one(tmp_path: Path) -> None:
    given = row(1, end=WAITS, teacher_model="gpt", judge_score=0.4, judge_reason="vague", tags=["t"])
    async with a_version(tmp_path, given) as (store, version):
        done = await decide(store, version, given.row_id, DecisionKind.EDIT, who="ann", messages=answered(given, "nay"))
        assert await store.row(version, given.row_id) == done
    assert done.row_id == given.row_id
    assert (done.content["response"], done.content["messages"][-1]["content"]) == ("nay", "nay")
    metadata = done.content["metadata"]
    assert (metadata["teacher_model"], metadata["judge_score"], metadata["judge_reason"]) == (None, None, None)
    assert (metadata["edited_by"], metadata["tags"]) == ("ann", ["t"])
    assert answers_before(done.content) == [given.content["messages"][-1]]
    assert "nay" not in str(done.end.detail)
    assert unedited(done.content) == given.content
    twice = edited(done.content, answered(given, "maybe"), "bob")
    assert unedited(twice) == given.content


CALL = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "find"}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda said: said[:1], "2 messages|1 messages"),
        (lambda said: [{**said[0], "content": "other"}, said[1]], "answers alone"),
        (lambda said: [said[0], {**said[1], "content": " "}], "says nothing"),
        (lambda said: [said[0], {**said[1], "content": 7}], "no chat message"),
        (lambda said: [said[0], {**said[1], "role": "user"}], "not an assistant"),
        (lambda said: [said[0], "text"], "not an assistant"),
        (lambda said: [said[0], {**said[1], "content": "not JSON"}], "not JSON"),
        (
            lambda said: [
                said[0],
                {**said[1], "tool_calls": [{**CALL, "function": {"name": "find", "arguments": "{"}}]},
            ],
            "arguments",
        ),
        (
            lambda said: [
                said[0],
                {**said[1], "tool_calls": [{**CALL, "function": {"name": "drop", "arguments": "{}"}}]},
            ],
            "tools of this row are find",
        ),
    ],
)
async def test_an_edit_that_cannot_be_one_is_refused_and_changes_nothing(
    tmp_path: Path, change: Any, problem: str
) -> None:
    given = Row({**content(1, '{"a":1}'), "tools": [TOOL], "response_format": {"type": "json_object"}}, None, KEPT)
    async with a_version(tmp_path, given) as (store, version):
        messages = change(list(given.content["messages"]))
        with pytest.raises(DatasetError, match=problem):
            await decide(store, version, given.row_id, DecisionKind.EDIT, who="ann", messages=messages)
        assert await store.decision_log("d") == []
        assert await store.row(version, given.row_id) == given
        call = [given.content["messages"][0], {**given.content["messages"][1], "content": None, "tool_calls": [CALL]}]
        done = await decide(store, version, given.row_id, DecisionKind.EDIT, who="ann", messages=call)
        assert done.content["response"] == '{"name":"find","arguments":{}}'


async def test_a_decision_says_who_and_about_which_row_of_the_active_version(tmp_path: Path) -> None:
    async with a_version(tmp_path, row(1), freeze=True) as (store, frozen):
        with pytest.raises(DatasetError, match="frozen"):
            await decide(store, frozen, row(1).row_id, DecisionKind.ACCEPT, who="ann")
        opened = await open_to_curate(store, "d")
        with pytest.raises(DatasetError, match="who"):
            await decide(store, opened, row(1).row_id, DecisionKind.ACCEPT, who=" ")
        with pytest.raises(DatasetError, match="no row"):
            await decide(store, opened, "r_x", DecisionKind.ACCEPT, who="ann")
        with pytest.raises(DatasetError, match="edit"):
            await decide(store, opened, row(1).row_id, DecisionKind.EDIT, who="ann")
        assert await store.decision_log("d") == []


async def test_a_row_without_an_answer_can_only_be_rejected(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "q"}]
    failed = Row({**content(1), "messages": asked}, None, RowEnd(RowState.FAILED, "relabel", "no_candidate"))
    async with a_version(tmp_path, failed, row(2)) as (store, version):
        with pytest.raises(DatasetError, match="no answer"):
            await decide(store, version, failed.row_id, DecisionKind.ACCEPT, who="ann")
        done = await decide(store, version, failed.row_id, DecisionKind.REJECT, who="ann")
        assert done.end.state is RowState.DROPPED


async def test_decisions_follow_the_row_into_later_versions_and_other_births(tmp_path: Path) -> None:
    rows = [row(1), row(2, end=WAITS), row(3), row(4), row(5)]
    async with a_version(tmp_path, *rows) as (store, version):
        await decide(store, version, rows[0].row_id, DecisionKind.REJECT, who="ann")
        await decide(store, version, rows[1].row_id, DecisionKind.EDIT, who="ann", messages=answered(rows[1], "no"))
        await decide(store, version, rows[2].row_id, DecisionKind.ACCEPT, who="ann")
        await decide(store, version, rows[3].row_id, DecisionKind.SKIP, who="ann")
        await store.freeze(version)
        # The same rows come again, under other ids and with other metadata: what is learned decides.
        async with store.birth("d", birth=Birth.UPLOAD, manifest={}) as born:
            again = [
                replace(one, content={**one.content, "row_id": f"x{number}", "metadata": {"tags": ["new"]}}, end=WAITS)
                for number, one in enumerate(rows)
            ]
            await born.add_rows(again[:2])
            await born.add_rows(again[2:4])
        assert born.version is not None
        assert born.version.manifest["decisions"] == 4
        await store.add_rows(born.version, [again[4]])
        await decide(store, born.version, "x4", DecisionKind.SKIP, who="ann")
        assert await carry_decisions(store, born.version) == 0
        standing = await store.decisions("d")
        assert carried(again[2], standing).end.reason == "accepted"
        found = [one async for one in store.rows(born.version)]
    assert [one.end.reason for one in found] == ["rejected_in_review", "edited", "accepted", "no_quorum", "no_quorum"]
    assert (found[1].content["response"], found[1].content["metadata"]["edited_by"]) == ("no", "ann")
    assert uncover(found[2].end) == WAITS


async def test_the_version_on_top_begins_with_its_rows_ends_and_curation(tmp_path: Path) -> None:
    async with a_version(tmp_path, row(1), row(2, end=LOW)) as (store, first):
        await store.set_manifest(first, {"curation": {"judge": {"threshold": 0.7}}, "source": "x.jsonl"})
        await decide(store, first, row(1).row_id, DecisionKind.ACCEPT, who="ann")
        assert await open_to_curate(store, "d") == await store.version("d")
        frozen = await store.freeze(first)
        second = await open_to_curate(store, "d-v1")
        assert (second.label, second.parent, second.birth) == ("d-v2", 1, Birth.CURATE)
        assert second.manifest["curation"] == {"judge": {"threshold": 0.7}}
        assert second.manifest["parent_hash"] == frozen.hash
        assert [one async for one in store.rows(second)] == [one async for one in store.rows(frozen)]
        assert (await open_to_curate(store, "d")).label == "d-v2"
        with pytest.raises(DatasetError, match="d-v2 is open on top"):
            await open_to_curate(store, "d-v1")
        await store.freeze(second)
        with pytest.raises(DatasetError, match="not the newest"):
            await open_to_curate(store, "d-v1")


async def test_a_decision_survives_a_version_that_is_discarded(tmp_path: Path) -> None:
    async with a_version(tmp_path, row(1), freeze=True) as (store, _):
        second = await open_to_curate(store, "d")
        await decide(store, second, row(1).row_id, DecisionKind.EDIT, who="ann", messages=answered(row(1), "no"))
        await store.discard(second)
        third = await open_to_curate(store, "d")
        assert await end_of(store, third, 1) == "kept review edited"
        assert (await store.progress(third)).carried == 1


async def test_newly_reviewed_rows_are_counted_apart(tmp_path: Path) -> None:
    rows = [row(1), row(2), row(3, end=WAITS), row(4, end=LOW)]
    async with a_version(tmp_path, *rows, freeze=True) as (store, _):
        version = await open_to_curate(store, "d")
        await decide(store, version, rows[2].row_id, DecisionKind.ACCEPT, who="ann")
        await decide(store, version, rows[3].row_id, DecisionKind.EDIT, who="ann", messages=answered(rows[3], "no"))
        progress = await store.progress(await store.version("d"))
    assert (progress.carried, progress.reviewed, progress.added) == (2, 2, 0)


async def test_the_queue_is_what_was_chosen_and_else_what_waits(tmp_path: Path) -> None:
    rows = [row(1), row(2, end=WAITS), row(3)]
    async with a_version(tmp_path, *rows) as (store, version):
        waiting = await queue(store, version)
        assert [(one.row.row_id, one.why, one.decision) for one in waiting] == [(rows[1].row_id, (Why.WAITS,), None)]
        chosen = [{"row_id": rows[2].row_id, "why": ["random"]}, {"row_id": rows[0].row_id, "why": ["random"]}]
        manifest = {"review": {"rows": [*chosen, {"row_id": "gone", "why": []}]}}
        await store.set_manifest(version, manifest)
        version = await store.version("d")
        await decide(store, version, rows[0].row_id, DecisionKind.REJECT, who="ann")
        found = await queue(store, version)
    assert [one.row.row_id for one in found] == [rows[2].row_id, rows[0].row_id]
    assert [one.decision and one.decision.kind for one in found] == [None, DecisionKind.REJECT]
    assert precision(found) == (0, 1, 2)


def test_what_covers_an_end_can_be_lifted_layer_by_layer() -> None:
    filtered = cover(KEPT, RowState.DROPPED, FILTER, "too_long", {"limit": 3})
    rejected = cover(filtered, RowState.DROPPED, "review", "rejected_in_review")
    assert uncover(rejected, {"review"}) == filtered
    assert uncover(rejected) == KEPT
    assert uncover(rejected, {FILTER}) == rejected
    born = RowEnd(RowState.DROPPED, "judge", "low_judge_score")
    assert uncover(born) == born
