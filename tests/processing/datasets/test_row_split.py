from pathlib import Path
from typing import Any

import pytest

from processing.datasets.curation_stages import filter_rows
from processing.datasets.row_filter import FilterRules
from processing.datasets.row_split import split_rows
from processing.errors import SplitError
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part
from store.datasets.version import Version
from tests.processing.datasets.curating import NAME, a_store, make_version, row

TOPICS = ("invoice", "parcel", "password", "refund", "garden", "harbour", "lantern", "meadow", "orchard", "pillow")


def question(number: int) -> str:
    return f"{TOPICS[number % 10]} {number * 7919} {TOPICS[number * 7 % 10]} and {TOPICS[number * 3 % 10]} {number}"


async def parts(store: DatasetStore, version: Version) -> dict[str, Part | None]:
    return {str(one.content["prompt"]): one.part async for one in store.rows(version)}


async def test_a_share_keeps_every_group_on_its_side_when_rows_are_added(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row(question(number)) for number in range(60)])
        done = await split_rows(store, NAME, test_fraction=0.25, seed=7)
        before = await parts(store, version)
        assert done.rows == {"train": 60 - done.rows["test"], "test": done.rows["test"]}
        assert 5 <= done.rows["test"] <= 25
        assert done.leakage.is_free
        await store.add_rows(version, [row(question(number)) for number in range(60, 90)])
        again = await split_rows(store, NAME, test_fraction=0.25, seed=7)
        after = await parts(store, version)
        assert again.moved == 0
        assert {name: after[name] for name in before} == before
        assert sum(again.rows.values()) == 90
        other = await split_rows(store, NAME, test_fraction=0.25, seed=8)
        assert other.moved > 0
        assert other.version.manifest["curation"]["split"]["seed"] == 8


async def test_a_number_keeps_the_test_set_when_rows_are_added(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row(question(number)) for number in range(40)])
        done = await split_rows(store, NAME, test=10)
        assert done.conversations == {"train": 30, "test": 10}
        before = await parts(store, version)
        await store.add_rows(version, [row(question(number)) for number in range(40, 80)])
        again = await split_rows(store, NAME, test=10)
        after = await parts(store, version)
        assert (again.moved, again.conversations["test"]) == (0, 10)
        assert {name: after[name] for name in before} == before
        larger = await split_rows(store, NAME, test=15)
        wider = await parts(store, version)
        assert larger.conversations["test"] == 15
        assert all(wider[name] is Part.TEST for name, part in after.items() if part is Part.TEST)


async def test_rows_without_a_part_join_their_group_and_move_nobody(tmp_path: Path) -> None:
    near = "Please tell me how I can download the invoice of my subscription for the month of"
    rows = [row(question(number)) for number in range(20)]
    async with a_store(tmp_path) as store:
        version = await make_version(store, [*rows, row(f"{near} May?", part=Part.TEST)])
        await store.set_parts(version, {one.row_id: Part.TRAIN for one in rows[:18]})
        await store.set_parts(version, {one.row_id: Part.TEST for one in rows[18:]})
        await store.add_rows(version, [row(f"{near} June?"), row("something new")])
        before = await parts(store, version)
        done = await split_rows(store, NAME)
        after = await parts(store, version)
        assert (done.moved, done.rows, done.leakage.is_free) == (0, {"train": 19, "test": 4}, True)
        assert (after.pop(f"{near} June?"), after.pop("something new")) == (Part.TEST, Part.TRAIN)
        assert after == {name: part for name, part in before.items() if name in after}


async def test_conversations_and_near_duplicates_never_part(tmp_path: Path) -> None:
    near = "Please tell me how I can download the invoice of my subscription for the month of"
    rows = [row(question(number), conversation_id=f"c{number // 4}") for number in range(40)]
    rows += [row(f"{near} {month}?") for month in ("May", "June", "July", "March")]
    async with a_store(tmp_path) as store:
        version = await make_version(store, rows)
        done = await split_rows(store, NAME, test_fraction=0.5)
        found = {one.content["prompt"]: one async for one in store.rows(version)}
        by_conversation: dict[str, set[Any]] = {}
        for one in found.values():
            key = one.content["metadata"].get("conversation_id", "near")
            by_conversation.setdefault(key, set()).add(one.part)
        assert all(len(sides) == 1 for sides in by_conversation.values())
        assert {side for sides in by_conversation.values() for side in sides} == {Part.TRAIN, Part.TEST}
        assert done.leakage.is_free
        assert done.groups["train"] + done.groups["test"] == 11


async def test_a_row_that_comes_back_is_where_it_was_and_leftovers_stay_left_over(tmp_path: Path) -> None:
    rows = [row(question(number), "long " * (number % 3 * 20) + "x") for number in range(30)]
    rows.append(row("left over", part=Part.UNSTRUCTURED))
    async with a_store(tmp_path) as store:
        version = await make_version(store, rows)
        await filter_rows(store, NAME, FilterRules(max_chars=100))
        done = await split_rows(store, NAME, test_fraction=0.4)
        assert sum(done.rows.values()) + done.without_part == done.version.counts.kept
        before = await parts(store, version)
        assert before["left over"] is Part.UNSTRUCTURED
        assert None not in before.values()
        await filter_rows(store, NAME, FilterRules())
        assert await parts(store, version) == before


async def test_what_a_row_says_of_its_part_is_its_part(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row(question(number), split="train") for number in range(20)])
        await split_rows(store, NAME, test_fraction=0.5)
        found = [(one.content["metadata"]["split"], one.part) async for one in store.rows(version)]
    assert all(said == part for said, part in found)
    assert {part for _, part in found} == {"train", "test"}


async def test_leakage_is_measured(tmp_path: Path) -> None:
    """A pair that was put on both sides by hand is seen: the number is no constant."""
    async with a_store(tmp_path) as store:
        version = await make_version(store, [row(question(number)) for number in range(10)])
        done = await split_rows(store, NAME, test=3)
        assert done.as_json()["leakage"] == {"groups": 0, "exact": 0, "near": 0, "overlapping": 0}
        words = "one two three four five six seven eight nine ten eleven twelve"
        await store.add_rows(version, [row(question(number), words) for number in range(20, 40)])
        assert (await split_rows(store, NAME, test_fraction=0.5)).leakage.overlapping > 0


@pytest.mark.parametrize("wanted", [{}, {"test": 3, "test_fraction": 0.2}, {"test": 0}, {"test_fraction": 1.0}])
async def test_a_split_that_leaves_a_part_empty_is_refused(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async with a_store(tmp_path) as store:
        await make_version(store, [row("a"), row("b")], freeze=True)
        with pytest.raises(SplitError):
            await split_rows(store, NAME, **wanted)
        assert len(await store.versions(NAME)) == 1
