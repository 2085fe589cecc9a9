"""Versions of datasets: opened, filled, frozen, and never changed after that."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from store.datasets.row import Part, Row, RowEnd, RowState
from store.datasets.version import Birth, Version, VersionState
from store.errors import DatasetError
from store.schema_version import WORK
from tests.store.datasets.rows import DROPPED, KEPT, content, row


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(tmp_path / "work.db") as opened:
        yield opened


async def made(store: DatasetStore, rows: list[Row], name: str = "set", **how: object) -> Version:
    async with store.birth(name, birth=Birth.UPLOAD, manifest={"file": "x"}, **how) as born:  # type: ignore[arg-type]
        await born.add_rows(rows)
    assert born.version is not None
    return born.version


async def listed(store: DatasetStore, version: Version) -> list[Row]:
    return [found async for found in store.rows(version)]


async def test_a_version_is_active_with_the_rows_it_was_born_with_and_then_frozen(store: DatasetStore) -> None:
    version = await made(store, [row(2), row(1, part=None), row(3, part=Part.TEST), row(4, end=DROPPED)])
    assert (version.label, version.state, version.parent, version.hash) == ("set-v1", VersionState.ACTIVE, None, None)
    assert (version.counts.entered, version.counts.kept, version.counts.dropped) == (4, 3, 1)
    rows = await listed(store, version)
    assert [found.row_id for found in rows] == ["r_0000001", "r_0000002", "r_0000003", "r_0000004"]
    assert [found.part for found in rows] == [None, Part.TRAIN, Part.TEST, Part.TRAIN]
    assert rows[3].end == DROPPED
    assert rows[0].content == content(1)
    frozen = await store.freeze(version, note="first")
    assert (frozen.state, frozen.note, frozen.counts) == (VersionState.FROZEN, "first", version.counts)
    assert frozen.hash is not None
    assert frozen.test_hash is not None
    assert await store.freeze(frozen) == frozen
    with pytest.raises(DatasetError, match="its note too"):
        await store.freeze(frozen, note="second")
    for change in (
        store.add_rows(frozen, [row(9)]),
        store.replace_rows(frozen, [row(2, "no")]),
        store.set_ends(frozen, {"r_0000002": DROPPED}),
        store.set_parts(frozen, {"r_0000002": None}),
        store.set_manifest(frozen, {}),
        store.discard(frozen),
    ):
        with pytest.raises(DatasetError, match="never changes"):
            await change
    assert await store.version("set") == frozen
    assert await listed(store, frozen) == rows


async def test_the_hash_is_of_the_kept_rows_and_of_nothing_else(store: DatasetStore) -> None:
    rows = [row(number, part=Part.TEST if number % 3 else Part.TRAIN) for number in range(20)]
    one = await made(store, rows, "one", freeze=True)
    shuffled = await made(store, [*rows[::-1], row(99, end=DROPPED)], "two", freeze=True, note="other")
    assert (one.hash, one.test_hash) == (shuffled.hash, shuffled.test_hash)
    moved = await made(store, [Row(rows[0].content, None, KEPT), *rows[1:]], "three", freeze=True)
    assert (moved.hash == one.hash, moved.test_hash) == (False, one.test_hash)
    said = await made(store, [row(0, "no"), *rows[1:]], "four", freeze=True)
    assert (said.hash == one.hash, said.test_hash) == (False, one.test_hash)
    scored = await made(store, [row(1, part=Part.TEST, judge_score=0.5), *rows[2:], rows[0]], "five", freeze=True)
    assert (scored.hash == one.hash, scored.test_hash) == (False, one.test_hash)


async def test_there_is_one_active_version_and_it_has_to_end_or_be_added_to(store: DatasetStore) -> None:
    first = await made(store, [row(1), row(2)])
    with pytest.raises(DatasetError, match=r"freeze set.*discard set.*--add"):
        await made(store, [row(3)])
    same = await made(store, [row(2, "other"), row(3)], add=True)
    assert (same.label, same.counts.entered) == ("set-v1", 3)
    assert (await listed(store, same))[1].content == content(2)
    await store.freeze(first)
    grown = await made(store, [row(4)], add=True)
    assert (grown.label, grown.parent, grown.counts.kept) == ("set-v2", 1, 4)
    await store.discard(grown)
    alone = await made(store, [row(4)])
    assert (alone.label, alone.parent, alone.counts.kept) == ("set-v2", 1, 1)
    assert [version.label for version in await store.versions("set")] == ["set-v1", "set-v2"]


async def test_curating_opens_the_next_version_with_all_rows_and_their_ends(store: DatasetStore) -> None:
    with pytest.raises(DatasetError, match="there is no dataset"):
        await store.open_version("set", birth=Birth.CURATE, manifest={})
    frozen = await made(store, [row(1), row(2, end=DROPPED), row(3, part=Part.TEST)], freeze=True)
    version = await store.open_version("set", birth=Birth.CURATE, manifest={"curation": {"judge": {}}})
    assert await listed(store, version) == await listed(store, frozen)
    await store.set_ends(version, {"r_0000001": RowEnd(RowState.REVIEW, "judge", "below_threshold", {"score": 0.4})})
    await store.set_parts(version, {"r_0000003": Part.TRAIN})
    await store.replace_rows(version, [row(2, "rewritten")])
    rows = await listed(store, version)
    assert [found.end.state for found in rows] == [RowState.REVIEW, RowState.KEPT, RowState.KEPT]
    assert (rows[0].end.detail, rows[1].content["response"], rows[2].part) == ({"score": 0.4}, "rewritten", Part.TRAIN)
    assert await store.diff(frozen, await store.version("set-v2")) == (
        ["r_0000002"],
        ["r_0000001"],
        [],
        ["r_0000003"],
    )
    for change in (
        store.replace_rows(version, [row(9)]),
        store.set_ends(version, {"r_0000009": DROPPED}),
        store.set_parts(version, {"r_0000009": None}),
    ):
        with pytest.raises(DatasetError, match="no row 'r_0000009'"):
            await change
    assert await listed(store, version) == rows


async def test_a_birth_that_fails_leaves_nothing(store: DatasetStore, tmp_path: Path) -> None:
    async def fail() -> None:
        async with store.birth("set", birth=Birth.UPLOAD, manifest={}) as born:
            await born.add_rows([row(1), row(2)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.datasets() == []
    with pytest.raises(DatasetError, match="no row of it is kept"):
        await made(store, [row(1, end=DROPPED)], freeze=True)
    assert await store.datasets() == []
    counts = await store._row(
        "SELECT (SELECT count(*) FROM row_contents), (SELECT count(*) FROM birth_rows), (SELECT count(*) FROM births)",
        {},
    )
    assert counts == (0, 0, 0)
    assert list((tmp_path / "births").iterdir()) == []


async def test_a_second_birth_of_the_same_dataset_waits_for_its_turn(store: DatasetStore) -> None:
    async with store.birth("set", birth=Birth.UPLOAD, manifest={}) as born:
        await born.add_rows([row(1)])
        with pytest.raises(DatasetError, match="another process is making"):
            await made(store, [row(2)])
        await made(store, [row(2)], "other")
    assert born.version is not None
    assert born.version.counts.kept == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "-a",
        "a/b",
        "a b",
        "../a",
        "a\n",
        "a\0",
        "é",
        "a-v0",
        "a-v01",
        "a-v1-v2",
        "x" * 101,
        "a" + "-v" + "9" * 30,
    ],
)
async def test_names_that_could_be_mistaken_are_refused(store: DatasetStore, name: str) -> None:
    with pytest.raises(DatasetError, match="names no"):
        await made(store, [row(1)], name)
    assert await store.datasets() == []


async def test_a_version_is_found_by_what_people_write_and_else_told_what_there_is(store: DatasetStore) -> None:
    with pytest.raises(DatasetError, match=r"there is no dataset 'set'\. There is none yet"):
        await store.version("set")
    with pytest.raises(DatasetError, match="the next version of set is set-v1"):
        await made(store, [row(1)], "set-v2")
    one = await made(store, [row(1)], "set-v1")
    with pytest.raises(DatasetError, match=r"no frozen version.*set-v1 \(active\)"):
        await store.version("set", wants="frozen")
    with pytest.raises(DatasetError, match="still active"):
        await store.version("set-v1", wants="frozen")
    one = await store.freeze(one)
    with pytest.raises(DatasetError, match="no active version"):
        await store.version("set", wants="active")
    with pytest.raises(DatasetError, match="never changes"):
        await store.version("set-v1", wants="active")
    with pytest.raises(DatasetError, match=r"no version 7; there are set-v1 \(frozen\)"):
        await store.version("set-v7")
    two = await made(store, [row(1)])
    assert await store.version("set", wants="frozen") == one
    assert await store.version("set", wants="active") == two
    assert [(summary.name, summary.active) for summary in await store.datasets()] == [("set", two)]


async def test_rows_are_read_from_a_place_and_by_kind(store: DatasetStore) -> None:
    rows = [row(number, part=(Part.TRAIN, Part.TEST, None)[number % 3]) for number in range(700)]
    version = await made(store, rows)
    assert [found.row_id async for found in store.rows(version)] == [one.row_id for one in rows]
    assert [found async for found in store.rows(version, after="r_0000003", limit=2)] == rows[4:6]
    assert [found async for found in store.rows(version, part=Part.TEST)] == rows[1::3]
    assert [found async for found in store.rows(version, unsplit=True)] == rows[2::3]
    assert [found async for found in store.rows(version, state=RowState.REVIEW)] == []
    assert await store.row(version, "r_0000005") == rows[5]
    assert await store.row(version, "nothing") is None


async def test_decisions_are_added_and_the_last_that_was_not_undone_stands(store: DatasetStore) -> None:
    one = row(1)
    with pytest.raises(DatasetError, match="there is no dataset"):
        await store.note_decision(Decision("set", one.learned_hash, DecisionKind.ACCEPT, "ann"))
    await made(store, [one])
    with pytest.raises(DatasetError, match="no decision about that row"):
        await store.note_decision(Decision("set", one.learned_hash, DecisionKind.UNDO, "ann"))
    edited = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", "weight": 1}]
    accept = await store.note_decision(Decision("set", one.learned_hash, DecisionKind.ACCEPT, "ann"))
    edit = await store.note_decision(
        Decision("set", one.learned_hash, DecisionKind.EDIT, "bob", one.row_id, "better", edited)
    )
    assert await store.decisions("set") == {one.learned_hash: edit}
    await store.note_decision(Decision("set", one.learned_hash, DecisionKind.UNDO, "bob"))
    assert await store.decisions("set") == {one.learned_hash: accept}
    await store.note_decision(Decision("set", one.learned_hash, DecisionKind.UNDO, "bob"))
    assert await store.decisions("set") == {}
    assert [decision.kind for decision in await store.decision_log("set")] == ["accept", "edit", "undo", "undo"]


async def test_what_was_judged_can_be_looked_up_after_an_edit(store: DatasetStore) -> None:
    """Or an edit could not be undone in a version that follows none."""
    version = await made(store, [row(1)])
    await store.note_decision(Decision("set", row(1).learned_hash, DecisionKind.EDIT, "ann", messages=[]))
    await store.replace_rows(version, [row(1, "edited")])
    assert await store.decided_row(row(1).learned_hash) == content(1)
    assert await store.decided_row(row(2).learned_hash) is None


async def test_an_active_version_tells_what_is_new_in_it(store: DatasetStore) -> None:
    """As in `invoice-extraction-v3  (active, 1240 rows + 312 newly reviewed)`."""
    waiting = RowEnd(RowState.REVIEW, "judge", "below_threshold")
    await made(store, [row(1), row(2), row(3, end=waiting), row(4, end=waiting)], freeze=True)
    version = await store.open_version("set", birth=Birth.CURATE, manifest={})
    await store.note_decision(Decision("set", row(3).learned_hash, DecisionKind.ACCEPT, "ann", row(3).row_id))
    await store.set_ends(version, {row(3).row_id: KEPT})
    await store.add_rows(version, [row(5)])
    assert await store.progress(await store.version("set-v2")) == (2, 1, 1)


async def test_what_speaks_against_a_version_is_told_and_kept(store: DatasetStore) -> None:
    version = await made(store, [row(1, cluster_id=1), row(2, cluster_id=2), row(3, part=None)])
    found = await store.warnings(version)
    assert [text.split(":")[0].split(",")[0] for text in found] == [
        "3 rows to learn from",
        "its rows come from 2 clusters",
        "curation was skipped",
        "1 rows are in no part; exports count them as train. `datasets split` shares them out.",
    ]
    assert (await store.freeze(version)).manifest == {"file": "x", "warnings": found}
    fine = [row(number) for number in range(200)]
    async with store.birth("fine", birth=Birth.UPLOAD, manifest={"curation": {"judge": {}}}, freeze=True) as born:
        await born.add_rows(fine)
    assert born.version is not None
    assert born.version.manifest["warnings"] == []


async def test_rows_that_were_only_shared_out_were_not_curated_and_those_of_a_curated_parent_were(
    store: DatasetStore,
) -> None:
    found: list[dict[str, Any]] = [{}, {"curation": {"split": {}}}, {"review": {}}, {"curation": {"judge": {}}}]
    for number, manifest in enumerate(found):
        is_told = number < 3
        async with store.birth(f"set{number}", birth=Birth.UPLOAD, manifest=manifest, freeze=True) as born:
            await born.add_rows([row(1)])
        assert born.version is not None
        assert any("curation was skipped" in text for text in born.version.manifest["warnings"]) is is_told
        opened = await store.open_version(f"set{number}", birth=Birth.CURATE, manifest={"curation": {"split": {}}})
        told = (await store.freeze(opened)).manifest["warnings"]
        assert any("curation was skipped" in text for text in told) is is_told
        reviewed = await store.open_version(f"set{number}", birth=Birth.CURATE, manifest={})
        await store.set_ends(reviewed, {row(1).row_id: RowEnd(RowState.KEPT, "review", "accepted")})
        assert not any("curation was skipped" in text for text in await store.warnings(reviewed))


async def test_what_a_row_holds_is_kept_once_and_as_long_as_somebody_has_it(store: DatasetStore) -> None:
    async def contents() -> int:
        return int((await store._row("SELECT count(*) FROM row_contents", {}))[0])

    rows = [row(number) for number in range(5)]
    await made(store, rows, freeze=True)
    await made(store, rows, "other")
    version = await store.open_version("set", birth=Birth.CURATE, manifest={})
    assert await contents() == 5
    await store.replace_rows(version, [row(1, "first"), row(1, "second"), row(2, "x")])
    assert await contents() == 7
    await store.add_rows(version, [row(1, "again"), row(6), row(6, "twice")])
    assert await contents() == 8
    found = await store.row(version, "r_0000001")
    assert found is not None
    assert found.content["response"] == "second"
    await store.discard(version)
    await store.discard(await store.version("other"))
    assert await contents() == 5
    left = await store._row("SELECT count(*) FROM row_sources", {})
    assert left == (0,)


async def test_a_discarded_version_leaves_no_byte_of_its_rows_in_any_file(store: DatasetStore, tmp_path: Path) -> None:
    """Where SQLite had moved rows between pages, whole packed rows of it stayed until the next erasure."""
    chance, packed = random.Random(1), set()

    def some(first: int) -> list[Row]:
        count = chance.choice((5, 30, 60))
        lengths = [chance.randrange(chance.choice((6, 40, 200, 1000, 1500))) + 5 for _ in range(count)]
        return [row(first + at, chance.randbytes(length).hex()) for at, length in enumerate(lengths)]

    for number in range(6):
        for name in ("kept", "gone"):
            version = await made(store, some(100 * number), name, add=number > 0)
        touched = [Row({**one.content, "prompt": "anew"}, one.part, one.end) for one in await listed(store, version)]
        found = "SELECT c.body FROM row_contents c JOIN version_rows r USING (row_hash) WHERE r.version = :id"
        packed |= {body for (body,) in await store._rows(found, {"id": version.id})}
        await store.replace_rows(version, chance.sample(touched, min(20, len(touched))))
    packed |= {body for (body,) in await store._rows(found, {"id": version.id})}
    assert await store.discard(version)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert [name for name, held in files.items() if any(body[12:40] in held for body in packed)] == []
    assert (await store.version("kept")).counts.kept == len(await listed(store, await store.version("kept")))


async def test_where_somebody_reads_meanwhile_discarding_says_that_the_pages_are_left(
    store: DatasetStore, tmp_path: Path
) -> None:
    version = await made(store, [row(1)])
    with closing(sqlite3.connect(tmp_path / "work.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM version_rows").fetchone()
        assert not await store.discard(version, patience_s=0.1)
    assert await store.datasets() == []


async def test_the_schema_that_is_shown_guards_as_the_database_does(store: DatasetStore) -> None:
    with closing(sqlite3.connect(":memory:")) as shown:
        shown.executescript(WORK.sql())
        question = "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
        there = await store._rows(question, {})
        assert {name: _plain(sql) for name, sql in shown.execute(question)} == {
            name: _plain(sql) for name, sql in there
        }


def _plain(sql: str) -> str:
    return " ".join(sql.split())
