"""A run as a version of a dataset: the same rows, whatever order, parallelism and folder they were made in."""

import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processing.datasets.rebuild import Rebuilt, compare, rebuild
from processing.datasets.run_version import Made, version_of_run
from processing.datasets.upload import UploadSettings, upload
from processing.errors import InputError
from processing.inputs import Inputs, find_files, read_inputs
from processing.run import process
from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import DecisionKind
from store.datasets.review import decide, open_to_curate, undo
from store.datasets.row import Part, Row, RowState
from store.datasets.version import Birth, Place, Version
from store.errors import DatasetError
from tests.processing.teachers import Body, Teachers
from tests.processing.test_pipeline import BANKING, chat, inputs, traces

SETTINGS: dict[str, Any] = {"num_traces_as_training_base": 25, "num_traces_as_testing_base": 10}


def calls() -> list[Body]:
    """Recorded calls as an application makes them: each turn its own, some twice, some no use."""
    lines = [{**line, "metadata": {"trace_id": f"t{number}"}} for number, line in enumerate(traces(50))]
    texts = [f"Turn {turn} of a chat about my mortgage" if turn % 2 == 0 else f"Reply {turn}" for turn in range(8)]
    lines += [{**chat(*texts[:turn]), "metadata": {"trace_id": f"c{turn}"}} for turn in (2, 4, 6, 8)]
    lines += [{**chat(*texts[:4], "I changed my mind", "Fine."), "metadata": {"trace_id": "f"}}]
    lines += [{**line, "metadata": {"trace_id": f"a-{number}"}} for number, line in enumerate(traces(5))]
    spaced = chat("Question 7 is about my overdraft of 5568 pounds", "A recorded answer with  number 7")
    return [*lines, spaced, chat("something off topic", "yes"), chat("lost", ""), chat("hear this", "No.")]


async def made(
    given: Inputs, teachers: Teachers, data_dir: Path, name: str = "bank", out: str = "out", **how: Any
) -> Made:
    async with await DatasetStore.open(data_dir / "work.db") as store:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
        job, _ = await process(given, data_dir / out, store, environ, first_wait_s=0.001)
        return await version_of_run(store, job, name, **how)


def split_opinions(body: Body) -> Body:
    """The committee differs on some rows, one of which nobody answers."""
    said = json.dumps(body["messages"])
    if "hear this" in said:
        return {"content": "", "finish_reason": "length"}
    if "3 pounds" in said:
        return {"content": f"{body['model']} thinks so"}
    return {"content": "The right answer to: " + str(len(said))}


async def test_order_parallelism_and_place_do_not_change_the_hash(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = split_opinions
    lines = calls()
    first = await made(inputs(lines, parallel=1, **SETTINGS), teachers, tmp_path / "one")
    asked = len(teachers.requests)
    for seed in (1, 2):
        shuffled = random.Random(seed).sample(lines, len(lines))
        again = await made(inputs(shuffled, parallel=16, **SETTINGS), teachers, tmp_path / f"two{seed}", "other", "o")
        assert again.version.hash == first.version.hash
        assert again.version.test_hash == first.version.test_hash
        assert again.version.counts == first.version.counts
    assert len(teachers.requests) == 3 * asked


async def test_a_version_holds_what_became_an_example_with_its_end(teachers: Teachers, tmp_path: Path) -> None:
    teachers.reply = split_opinions
    found, is_new = await made(inputs(calls(), **SETTINGS), teachers, tmp_path, note="first run")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (is_new, found.birth, found.parent, found.note, found.is_frozen) == (
        True,
        Birth.PROCESS,
        None,
        "first run",
        True,
    )
    totals = report["totals"]["examples"]
    counts = found.counts
    assert (counts.dropped, counts.failed, counts.review) == (totals["dropped"], totals["failed"], totals["review"])
    assert counts.failed + counts.review > 0
    for part in Part:
        assert getattr(counts, part) == report["rows"][f"{part}.jsonl"] > 0
    manifest = found.manifest
    assert manifest["funnel"] == report["funnel"]
    assert manifest["models"] == ["judge", "one", "teacher", "three", "two"]
    assert (manifest["seed"], manifest["run"]["out_dir"]) == (123, str(tmp_path / "out"))
    assert {"config", "prompts", "made_by", "inputs", "job_description", "calls", "cost", "warnings"} <= manifest.keys()
    async with await DatasetStore.open_to_read(tmp_path / "work.db") as store:
        rows = [row async for row in store.rows(found)]
    written = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    by_id = {row.row_id: row for row in rows}
    for line in written:
        row = by_id[line["row_id"]]
        assert row.content["messages"] == line["messages"]
        assert row.end.detail["source"] == line["metadata"]["source"]
        metadata = row.content["metadata"]
        assert {"source", "split"}.isdisjoint(metadata)
        assert {"teacher_model", "judge_score", "cluster_id", "tags", "votes"} <= metadata.keys()
    for row in rows:
        weights = [message.get("weight") for message in row.content["messages"] if message["role"] == "assistant"]
        is_learned = row.part is not Part.UNSTRUCTURED
        assert any(weights) is is_learned
        assert (row.part is None) is (row.end.state is not RowState.KEPT)


async def test_the_same_rows_make_no_second_version(teachers: Teachers, tmp_path: Path) -> None:
    first = await made(inputs(calls(), **SETTINGS), teachers, tmp_path)
    again = await made(inputs(calls(), **SETTINGS), teachers, tmp_path)
    assert again == (first.version, False)
    other = await made(inputs(calls(), **{**SETTINGS, "num_traces_as_training_base": 20}), teachers, tmp_path, out="b")
    assert (other.is_new, other.version.label, other.version.parent) == (True, "bank-v2", 1)


async def test_a_test_set_of_ones_own_is_the_test_part(teachers: Teachers, tmp_path: Path) -> None:
    own = tmp_path / "test.jsonl"
    asked = {"question": "What are your hours?", "answer": "9 to 5", "topic": "branch"}
    rows: Sequence[Body] = [asked, {**chat("And on Sunday?", "Closed."), "tools": None}, asked]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, _ = await made(inputs(calls(), test=own, **SETTINGS), teachers, tmp_path)
    own.write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    shuffled, _ = await made(inputs(calls()[::-1], test=own, **SETTINGS), teachers, tmp_path / "b")
    assert (shuffled.hash, shuffled.test_hash) == (found.hash, found.test_hash)
    async with await DatasetStore.open_to_read(tmp_path / "work.db") as store:
        test = [row async for row in store.rows(found, part=Part.TEST)]
    assert len(test) == 3
    assert {row.content["response"] for row in test} == {"9 to 5", "Closed."}
    assert sorted(row.content["metadata"].get("topic", "") for row in test) == ["", "branch", "branch"]


async def test_a_folder_that_is_not_what_the_run_wrote_is_refused(teachers: Teachers, tmp_path: Path) -> None:
    given = inputs(calls(), **SETTINGS)
    await made(given, teachers, tmp_path)
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        job = await store.job("out")
        assert job is not None
        with (tmp_path / "out" / "train.jsonl").open("ab") as file:
            file.write(b"{}\n")
        with pytest.raises(InputError, match=r"train\.jsonl.*is not what"):
            await version_of_run(store, job, "bank")
        assert len(await store.versions("bank")) == 1


async def test_an_open_version_is_in_the_way(teachers: Teachers, tmp_path: Path) -> None:
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        await store.open_version("bank", birth=Birth.UPLOAD, manifest={})
    with pytest.raises(DatasetError, match="bank-v1 is active"):
        await made(inputs(calls(), **SETTINGS), teachers, tmp_path)


async def keeping(tmp_path: Path, teachers: Teachers, **changes: Any) -> Inputs:
    """Inputs from files, which a run keeps."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    (folder / "traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in calls()))
    (folder / "job_description.json").write_text(json.dumps({"task_description": BANKING}))
    given = inputs([], **SETTINGS, **changes)
    written = given.config.model_dump(mode="json", exclude_unset=True, exclude={"not_used"})
    written["models"] = {"one": {"base_url": teachers.base_url, "api_key_env": "NOBODY_HAS_THIS"}}
    (folder / "config.json").write_text(json.dumps(written))
    return read_inputs(find_files(folder))


async def rebuilt(version: Version, data_dir: Path, **how: Any) -> Rebuilt:
    async with await DatasetStore.open(data_dir / "work.db") as store:
        return await rebuild(store, version, data_dir=data_dir, environ={}, **how)


async def test_a_version_is_derived_again_to_the_same_hash_and_nobody_is_asked(
    teachers: Teachers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOBODY_HAS_THIS", "a-key")
    teachers.reply = split_opinions
    given = await keeping(tmp_path, teachers)
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url, "NOBODY_HAS_THIS": "a-key"}
        job, _ = await process(given, tmp_path / "out", store, environ, first_wait_s=0.001)
        version = (await version_of_run(store, job, "bank")).version
    asked = len(teachers.requests)
    (tmp_path / "data" / "traces.jsonl").unlink()
    found = await rebuilt(version, tmp_path)
    assert (found.is_equal, found.hash, found.is_equal_but_for_erased) == (True, version.hash, True)
    assert "traces.jsonl is gone" in found.notes[0]
    assert len(teachers.requests) == asked
    with sqlite3.connect(tmp_path / "work.db") as work:
        work.execute("DELETE FROM calls WHERE key = (SELECT key FROM calls WHERE purpose = 'relabel' LIMIT 1)")
    work.close()
    with pytest.raises(InputError, match="not in the call table"):
        await rebuilt(version, tmp_path)
    (tmp_path / "out").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"is gone.*--run"):
        await rebuilt(version, tmp_path)
    assert len(teachers.requests) == asked


async def test_what_people_decided_holds_in_the_next_version_and_when_it_is_derived_again(
    teachers: Teachers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOBODY_HAS_THIS", "a-key")
    teachers.reply = split_opinions
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url, "NOBODY_HAS_THIS": "a-key"}
        job, _ = await process(await keeping(tmp_path, teachers), tmp_path / "out", store, environ)
        first = (await version_of_run(store, job, "bank")).version
        opened = await open_to_curate(store, "bank")
        kept = [row.row_id async for row in store.rows(opened, state=RowState.KEPT, part=Part.TRAIN)]
        await decide(store, opened, kept[0], DecisionKind.REJECT, who="ann")
        messages = [*(await _messages(store, opened, kept[1]))]
        messages[-1] = {**messages[-1], "content": "As it should be."}
        await decide(store, opened, kept[1], DecisionKind.EDIT, who="ann", messages=messages)
        await store.discard(opened)
        second = (await version_of_run(store, job, "bank")).version
        assert second.counts.kept == first.counts.kept - 1
        assert second.manifest["decisions"] == 2
        opened = await open_to_curate(store, "bank")
        await decide(store, opened, kept[2], DecisionKind.REJECT, who="ann")
        await undo(store, opened, kept[0], who="ann")
    for version in (first, second):
        found = await rebuilt(version, tmp_path)
        assert (found.is_equal, found.added, found.removed, found.changed) == (True, (), (), ())


async def _messages(store: DatasetStore, version: Version, row_id: str) -> list[Any]:
    row = await store.row(version, row_id)
    assert row is not None
    return list(row.content["messages"])


def places(rows: Sequence[Row]) -> dict[str, Place]:
    return {row.row_id: Place(row.part, row.end.state, row.row_hash) for row in rows}


async def test_what_differs_from_a_version_is_told_row_by_row(teachers: Teachers, tmp_path: Path) -> None:
    found = (await made(inputs(calls(), **SETTINGS), teachers, tmp_path)).version
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        rows = [row async for row in store.rows(found)]
        kept = [row.row_id for row in rows if row.end.state is RowState.KEPT]
        assert (await compare(store, found, places(rows[::-1]))).is_equal
        moved = [replace(row, part=Part.UNSTRUCTURED) if row.row_id == kept[0] else row for row in rows]
        other = Row({**rows[0].content, "row_id": "new"}, Part.TRAIN, rows[0].end)
        told = await compare(store, found, places([row for row in moved if row.row_id != kept[1]] + [other]))
    assert (told.added, told.removed, told.changed) == (("new",), (kept[1],), (kept[0],))
    assert not told.is_equal


async def test_a_folder_that_was_run_again_otherwise_is_not_taken_for_the_versions_own(
    teachers: Teachers, tmp_path: Path
) -> None:
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url, "NOBODY_HAS_THIS": "a-key"}
        job, _ = await process(await keeping(tmp_path, teachers), tmp_path / "out", store, environ)
        version = (await version_of_run(store, job, "bank")).version
        await process(await keeping(tmp_path, teachers, min_agreement=0.9), tmp_path / "out", store, environ)
    with pytest.raises(InputError, match="inputs of another run"):
        await rebuilt(version, tmp_path)
    async with (
        await DatasetStore.open(tmp_path / "work.db") as store,
        store.birth("up", birth=Birth.CLUSTERS, manifest={}, freeze=True) as born,
    ):
        await born.add_rows([row async for row in store.rows(version) if row.end.state is RowState.KEPT])
    assert born.version is not None
    with pytest.raises(InputError, match="was born by clusters, and its manifest does not tell of what"):
        await rebuilt(born.version, tmp_path)


async def test_an_uploaded_file_is_read_again_where_somebody_still_has_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "q,a,b,junk\n" + "".join(f"question {n},answer {n},{n},x\n" for n in range(20)) + "question 1,answer 1,1,x\n"
    )
    async with await DatasetStore.open(tmp_path / "work.db") as store:
        told = {"prompt": "q", "response": "a", "metadata.number": "b", "ignore": "junk"}
        report = await upload(file, "up", store, UploadSettings(told=told, test_fraction=0.3))
        assert report.version is not None
        version = await store.freeze(report.version)
    found = await rebuilt(version, tmp_path, files=[file])
    assert (found.is_equal, found.hash) == (True, version.hash)
    with pytest.raises(InputError, match=r"of the file its hash alone is kept. Name it by --from: rows.csv \(SHA-256"):
        await rebuilt(version, tmp_path)
    file.write_text(file.read_text().replace("answer 3", "another"))
    with pytest.raises(InputError, match="its SHA-256 is another"):
        await rebuilt(version, tmp_path, files=[file])
