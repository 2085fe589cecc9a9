"""A version is derived again of what it was made of, whatever its birth and steps, with no teacher to be reached."""

import os
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from processing.budget import Budget
from processing.config_file import parse
from processing.datasets.choice import Keep
from processing.datasets.curation_stages import filter_rows, judge
from processing.datasets.generate import Wanted, generate
from processing.datasets.prompt_file import Setting
from processing.datasets.rebuild import Rebuilt, rebuild
from processing.datasets.row_filter import FilterRules
from processing.datasets.row_split import split_rows
from processing.datasets.upload import UploadSettings, upload
from processing.errors import InputError
from processing.model_client import ModelClient
from processing.teachers import Teachers as Askers
from store import json_text
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import DecisionKind
from store.datasets.kept_folder import KEPT_FOLDER
from store.datasets.review import decide, undo
from store.datasets.row import RowState
from store.datasets.version import Version
from tests.processing.clusters.test_promotion import promote
from tests.processing.datasets.curating import row
from tests.processing.teachers import Body, Teachers, row_scores, serving
from tests.store.clusters.test_opening import call

NAME = "up"
_SCORES = [(5, 5, 5, 5), (5, 5, 5, 3), (4, 4, 4, 4), (2, 1, 2, 2)]


def words(number: int) -> str:
    """A text that is like no other."""
    drawn = random.Random(number)
    return " ".join("".join(drawn.choices("abcdefghijklmnopqrstuvwxyz", k=drawn.randint(4, 7))) for _ in range(7))


def scored(shown: Body) -> Body | str:
    """Score by the number in the question; one of them gets no verdict."""
    number = sum(map(ord, str(shown["messages"][0]["content"])))
    return "I cannot tell." if number % 11 == 0 else row_scores(*_SCORES[number % 4])


def no_email(text: str) -> list[str]:
    return ["email"] if "@" in text else []


class Work:
    """A dataset that is worked on while teachers can be reached."""

    def __init__(self, store: DatasetStore, folder: Path, teachers: Teachers) -> None:
        self.store = store
        self.folder = folder
        self.teachers = teachers

    async def asking(self, work: Callable[[Askers], Awaitable[Any]], parallel: int = 4, **config: Any) -> Any:
        base = {"task": "chat-completion", "llm_num_parallel_requests": parallel}
        environ = {"TRACEMILL_TEACHER_BASE_URL": self.teachers.base_url}
        async with ModelClient(parallel, first_wait_s=0.001) as client:
            found = parse({"base": base, **config}, source="c")
            return await work(Askers(client, self.store, found, environ, budget=Budget()))

    async def judge(self, reference: str = NAME, model: str = "critic", **how: Any) -> None:
        async def asked(teachers: Askers) -> None:
            await judge(self.store, reference, model, teachers, find_personal=no_email, **how)

        await self.asking(asked)

    async def generate(self, text: str, *, parallel: int = 4, ending: str = "txt", **how: Any) -> None:
        path = self.folder / f"prompts.{ending}"
        path.write_text(text)
        add = how.pop("add", False)
        wanted = Wanted(teacher="teacher", judge="critic", setting=Setting("Be brief."), **how)
        traced = {"with_trace": True, "trace_processing": {"max_correction_steps": 0}}

        async def asked(teachers: Askers) -> None:
            await generate(path, NAME, self.store, teachers, wanted, add=add)

        await self.asking(asked, parallel, **traced)
        path.unlink()

    async def every_stage(self, reference: str = NAME, most: int = 55) -> None:
        """Every stage more than once, and decisions of every kind between them."""
        store = self.store
        await filter_rows(store, reference, FilterRules(max_chars=most, duplicates="near"))
        await self.judge(reference, threshold=0.6, task="Sort tickets.")
        active = await store.version(NAME, wants="active")
        kept = [one.row_id async for one in store.rows(active, state=RowState.KEPT)]
        dropped = [one.row_id async for one in store.rows(active, state=RowState.DROPPED) if one.content["messages"]]
        await decide(store, active, kept[0], DecisionKind.REJECT, who="ann")
        await decide(store, active, dropped[0], DecisionKind.ACCEPT, who="ann")
        await split_rows(store, NAME, test=3, seed=7)
        await filter_rows(store, NAME, FilterRules(duplicates="near", pii="review"), find_personal=no_email)
        found = await store.row(active, kept[1])
        assert found is not None
        messages = [*found.content["messages"]]
        messages[-1] = {**messages[-1], "content": "As it should be."}
        await decide(store, active, kept[1], DecisionKind.EDIT, who="ann", messages=messages)
        await undo(store, active, kept[0], who="ann")
        await self.judge(threshold=0.9, criteria="Be strict.", model="other")
        await judge(store, NAME, None, None, threshold=0.8, find_personal=no_email)
        await judge(store, NAME, None, None, threshold=0.7, find_personal=no_email)
        await split_rows(store, NAME)
        await decide(store, active, kept[2], DecisionKind.REJECT, who="ben")

    async def freeze(self) -> Version:
        return await self.store.freeze(await self.store.version(NAME, wants="active"))


async def made(folder: Path, work: Callable[[Work], Awaitable[Any]], name: str = NAME) -> Version:
    """Make and freeze a version; the teachers are gone afterwards."""
    with serving() as teachers:
        teachers.judge_row = scored
        async with await DatasetStore.open(folder / "work.db") as store:
            await work(Work(store, folder, teachers))
            return await store.freeze(await store.version(name, wants="active"))


async def rebuilt(version: Version, folder: Path, **how: Any) -> Rebuilt:
    async with await DatasetStore.open(folder / "work.db") as store:
        return await rebuild(store, version, data_dir=folder, environ={}, find_personal=no_email, **how)


def data_file(folder: Path, first: int = 0, name: str = "rows.csv") -> Path:
    path = folder / name
    lines = [f"{words(n)},answer {n}\n" for n in range(first, first + 30)]
    path.write_text("".join(["prompt,response\n", *lines, lines[0], "mail me at a@b.example,yes\n"]))
    return path


def prompts(count: int = 14) -> str:
    return "".join(f"{words(n)}\n" for n in [*range(count), 1])


async def is_derived_again(version: Version, folder: Path, **how: Any) -> None:
    before = (folder / "work.db").stat().st_size, _dump(folder)
    found = await rebuilt(version, folder, **how)
    assert (found.added, found.removed, found.changed, found.notes) == ((), (), (), ())
    assert (found.is_equal, found.hash) == (True, version.hash)
    assert ((folder / "work.db").stat().st_size, _dump(folder)) == before


def _dump(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "work.db")) as work:
        return list(work.iterdump())


async def test_an_upload_with_all_that_followed_is_derived_again(tmp_path: Path) -> None:
    file = data_file(tmp_path)

    async def work(at: Work) -> None:
        await upload(file, NAME, at.store, UploadSettings(test_fraction=0.3))
        await at.every_stage()

    version = await made(tmp_path, work)
    assert {"kept", "dropped"} <= {name for name, count in version.counts.as_json().items() if count}
    await is_derived_again(version, tmp_path, files=[file])
    with pytest.raises(InputError, match=r"of the file its hash alone is kept. Name it by --from: rows.csv \(SHA-256"):
        await rebuilt(version, tmp_path)


async def test_what_was_generated_with_all_that_followed_is_derived_again(tmp_path: Path) -> None:
    async def work(at: Work) -> None:
        await at.generate(prompts(), n_samples=3, threshold=0.3, keep=Keep.ALL)
        await at.every_stage(most=122)

    version = await made(tmp_path, work)
    assert not (tmp_path / "prompts.txt").exists()
    kept = list((tmp_path / KEPT_FOLDER).iterdir())
    assert [(path.name, path.stat().st_mode & 0o777) for path in kept] == [
        (f"{version.manifest['source']['sha256']}.gz", 0o600)
    ]
    await is_derived_again(version, tmp_path)
    for path in kept:
        path.unlink()
    with pytest.raises(InputError, match=r"of which no copy is there. Name them by --from: prompts.txt \(SHA-256"):
        await rebuilt(version, tmp_path)
    named = tmp_path / "elsewhere.md"
    named.write_text(prompts())
    await is_derived_again(version, tmp_path, files=[named])
    named.write_text(prompts(3))
    with pytest.raises(InputError, match="its SHA-256 is another"):
        await rebuilt(version, tmp_path, files=[named])


async def test_the_number_of_parallel_requests_and_of_the_prompts_order_changes_nothing(tmp_path: Path) -> None:
    lines = [f"{words(n)}\n" for n in range(12)]
    hashes = set()
    for number, parallel in enumerate((1, 8)):
        folder = tmp_path / str(number)
        folder.mkdir()
        shuffled = "".join(random.Random(number).sample(lines, len(lines)))

        async def work(at: Work, text: str = shuffled, lanes: int = parallel) -> None:
            await at.generate(text, parallel=lanes, n_samples=1, threshold=0.3)

        version = await made(folder, work)
        await is_derived_again(version, folder)
        hashes.add(tuple(sorted((await _learned(version, folder)).values())))
    assert len(hashes) == 1


async def _learned(version: Version, folder: Path) -> dict[str, str]:
    async with await DatasetStore.open_to_read(folder / "work.db") as store:
        return {one.row_id: one.learned_hash async for one in store.rows(version, state=RowState.KEPT)}


@pytest.mark.parametrize("first", ["what was asked", "another thing"])
async def test_prompts_that_name_a_trace_are_not_kept_since_a_copy_would_outlive_it(tmp_path: Path, first: str) -> None:
    named = '{"prompt": "what was asked", "metadata": {"source_trace_id": "t1"}}\n'
    text = f'{{"prompt": "{first}"}}\n{named}'

    async def work(at: Work) -> None:
        await at.generate(text, ending="jsonl", threshold=0.0, n_samples=1)

    version = await made(tmp_path, work)
    assert not (tmp_path / KEPT_FOLDER).exists()
    with pytest.raises(InputError, match="its prompts name traces, and a copy would outlive them"):
        await rebuilt(version, tmp_path)
    file = tmp_path / "again.jsonl"
    file.write_text(text)
    await is_derived_again(version, tmp_path, files=[file])


async def test_copies_that_no_version_needs_go_after_a_day(tmp_path: Path) -> None:
    async def work(at: Work) -> None:
        await at.generate(prompts(3), n_samples=1, threshold=0.0)
        await at.store.discard(await at.store.version(NAME))
        (left,) = (tmp_path / KEPT_FOLDER).iterdir()
        await at.generate(prompts(4), n_samples=1, threshold=0.0)
        assert left.exists()
        for path in (tmp_path / KEPT_FOLDER).iterdir():
            os.utime(path, (0, 0))
        await at.generate(prompts(5), n_samples=1, threshold=0.0, add=True)
        assert not left.exists()

    await is_derived_again(await made(tmp_path, work), tmp_path)
    assert len(list((tmp_path / KEPT_FOLDER).iterdir())) == 2


async def test_a_curated_version_is_derived_again_from_its_parent(tmp_path: Path) -> None:
    file = data_file(tmp_path)

    async def first(at: Work) -> None:
        await upload(file, NAME, at.store)
        await at.judge(threshold=0.5)
        active = await at.store.version(NAME)
        kept = [one.row_id async for one in at.store.rows(active, state=RowState.KEPT)]
        await decide(at.store, active, kept[5], DecisionKind.REJECT, who="ann")

    async def second(at: Work) -> None:
        await at.every_stage()

    one = await made(tmp_path, first)
    two = await made(tmp_path, second)
    three = await made(tmp_path, second)
    assert [version.birth for version in (one, two, three)] == ["upload", "curate", "curate"]
    file.unlink()
    for version in (two, three):
        await is_derived_again(version, tmp_path)


async def test_a_decision_that_was_carried_onto_a_version_is_carried_again(tmp_path: Path) -> None:
    file = data_file(tmp_path)

    async def first(at: Work) -> None:
        await upload(file, NAME, at.store)
        active = await at.store.version(NAME)
        shown = [one.row_id async for one in at.store.rows(active) if one.content.get("response") == "answer 0"]
        await decide(at.store, active, min(shown, key=len), DecisionKind.REJECT, who="ann")

    async def second(at: Work) -> None:
        await filter_rows(at.store, NAME, FilterRules(duplicates="keep"))
        active = await at.store.version(NAME)
        twins = [one.row_id async for one in at.store.rows(active) if one.content.get("response") == "answer 0"]
        await decide(at.store, active, min(twins, key=len), DecisionKind.ACCEPT, who="ann")

    async def third(at: Work) -> None:
        await filter_rows(at.store, NAME, FilterRules(duplicates="keep"))

    versions = [await made(tmp_path, work) for work in (first, second, third)]
    for version in versions:
        await is_derived_again(version, tmp_path, files=[file])


async def test_rows_that_were_added_come_from_each_of_their_sources(tmp_path: Path) -> None:
    first, more = data_file(tmp_path), data_file(tmp_path, 100, "more.csv")

    async def begin(at: Work) -> None:
        await upload(first, NAME, at.store)
        await at.judge(threshold=0.5)

    async def go_on(at: Work) -> None:
        await upload(more, NAME, at.store, add=True)
        await at.every_stage()
        await at.generate(prompts(5), n_samples=2, threshold=0.0, add=True)
        await split_rows(at.store, NAME)

    await made(tmp_path, begin)
    version = await made(tmp_path, go_on)
    assert version.manifest["begins_with"]["version"] == "up-v1"
    await is_derived_again(version, tmp_path, files=[more])


async def test_a_version_of_clusters_is_derived_again_from_the_traces_in_the_store(tmp_path: Path) -> None:
    traces = [call(number, ("user", words(number % 10)), served_model="m") for number in range(1, 15)]
    await promote(tmp_path, *traces, name=NAME, rows=9)

    async def work(at: Work) -> None:
        await at.every_stage(most=100)

    version = await made(tmp_path, work)
    await is_derived_again(version, tmp_path)
    with sqlite3.connect(tmp_path / "traces.db") as db:
        db.execute("PRAGMA foreign_keys = off")
        db.execute("DELETE FROM traces WHERE id = ?", (UUID(int=12).bytes,))
    db.close()
    with pytest.raises(InputError, match=f"1 of which are no longer in the store: {UUID(int=12)}"):
        await rebuilt(version, tmp_path)


async def test_a_version_without_erased_rows_is_derived_again_from_the_one_before_it(tmp_path: Path) -> None:
    async def work(at: Work) -> None:
        async with at.store.birth(NAME, birth="upload", manifest={}) as born:  # type: ignore[arg-type]
            await born.add_rows([row(f"q{n}", f"a{n}", source_trace_id=f"t{n}") for n in range(6)])

    version = await made(tmp_path, work)
    _erase(tmp_path, version, 2)
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        new = await store.freeze_without_erased(await store.version(version.label))
    assert new.counts.kept == 4
    await is_derived_again(new, tmp_path)

    async def curated(at: Work) -> None:
        await filter_rows(at.store, NAME, FilterRules())

    third = await made(tmp_path, curated)
    _erase(tmp_path, third, 1)
    await is_derived_again(new, tmp_path)
    found = await rebuilt(third, tmp_path)
    assert (found.is_equal, found.is_equal_but_for_erased, found.erased) == (False, True, 1)
    assert found.notes[0].startswith("1 rows of up-v2 were erased and are left out: ")


def _erase(folder: Path, version: Version, count: int) -> None:
    with sqlite3.connect(folder / "work.db") as work:
        sql = "SELECT row_hash FROM version_rows WHERE version = ? ORDER BY row_id LIMIT ?"
        for (hash_,) in work.execute(sql, (version.id, count)).fetchall():
            work.execute("INSERT INTO erased_rows VALUES (?, 1, strftime('%Y-%m-%dT%H:%M:%fZ'))", (hash_,))
            work.execute("DELETE FROM row_contents WHERE row_hash = ?", (hash_,))
    work.close()


async def test_an_answer_that_is_missing_is_told_and_nothing_is_asked(tmp_path: Path) -> None:
    async def work(at: Work) -> None:
        await at.generate(prompts(4), n_samples=1, threshold=0.0)

    version = await made(tmp_path, work)
    with sqlite3.connect(tmp_path / "work.db") as db:
        db.execute("DELETE FROM calls WHERE purpose = 'generate'")
    db.close()
    with pytest.raises(InputError, match="4 answers are missing, the first of teacher for generate"):
        await rebuilt(version, tmp_path)


async def test_answers_that_a_failing_model_never_gave_are_no_hindrance(tmp_path: Path) -> None:
    async def work(at: Work) -> None:
        def reply(body: Body) -> Body:
            said = str(body["messages"][-1]["content"])
            return {"content": "" if said == words(3) else f"About {said}"}

        at.teachers.reply = reply
        await at.generate(prompts(6), n_samples=1, threshold=0.0)

    version = await made(tmp_path, work)
    assert version.counts.failed == 1
    await is_derived_again(version, tmp_path)


async def test_a_threshold_that_was_forged_in_the_manifest_shows_row_by_row(tmp_path: Path) -> None:
    file = data_file(tmp_path)

    async def work(at: Work) -> None:
        await upload(file, NAME, at.store)
        await at.judge(threshold=0.9)

    version = await made(tmp_path, work)
    await is_derived_again(version, tmp_path, files=[file])
    manifest = dict(version.manifest)
    manifest["curation"] = {"judge": {**manifest["curation"]["judge"], "threshold": 0.7}}
    with sqlite3.connect(tmp_path / "work.db") as work_db:
        work_db.execute("DROP TRIGGER frozen_versions_stay")
        work_db.execute("UPDATE versions SET manifest = ?", (json_text.dumps(manifest).decode(),))
    work_db.close()
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        version = await store.version(NAME)
        dropped = {one.row_id async for one in store.rows(version, state=RowState.DROPPED)}
    found = await rebuilt(version, tmp_path, files=[file])
    assert (found.removed, found.changed) == ((), ())
    assert found.added
    assert set(found.added) <= dropped


async def test_what_was_decided_after_the_freezing_does_not_count(tmp_path: Path) -> None:
    file = data_file(tmp_path)

    async def first(at: Work) -> None:
        await upload(file, NAME, at.store)

    async def second(at: Work) -> None:
        await filter_rows(at.store, NAME, FilterRules())
        active = await at.store.version(NAME)
        kept = [one.row_id async for one in at.store.rows(active, state=RowState.KEPT)]
        for name in kept[:3]:
            await decide(at.store, active, name, DecisionKind.REJECT, who="ann")

    one = await made(tmp_path, first)
    two = await made(tmp_path, second)
    assert two.manifest["decisions_at_freeze"] == 3
    await is_derived_again(one, tmp_path, files=[file])
    await is_derived_again(two, tmp_path)
