"""A run as a version of a dataset: the same rows, whatever order, parallelism and folder they were made in."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from processing.datasets.run_version import Made, version_of_run
from processing.errors import InputError
from processing.inputs import Inputs
from processing.pipeline import process
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, RowState
from store.datasets.version import Birth
from store.errors import DatasetError
from tests.processing.teachers import Body, Teachers
from tests.processing.test_pipeline import chat, inputs, traces

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
