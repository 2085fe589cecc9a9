"""An upload directory that was exported goes straight back into the processor."""

import json
from pathlib import Path
from typing import Any

import pytest

from processing.errors import InputError
from processing.exports.export import export_version
from processing.exports.wanted import Wanted
from processing.inputs import find_files, read_inputs
from processing.run import process
from store.datasets.dataset_store import DatasetStore
from store.job import JobStatus
from store.work import WorkStore
from tests.processing.datasets.test_run_version import SETTINGS, made
from tests.processing.exports.versions import call, calls, dataset, tool, user
from tests.processing.exports.versions import made as row_made
from tests.processing.teachers import Teachers
from tests.processing.test_pipeline import BANKING, inputs, traces


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.parametrize("name", ["distil", "distil-messages"])
async def test_what_a_run_made_is_processed_again_from_its_export(
    teachers: Teachers, tmp_path: Path, name: str
) -> None:
    version = (await made(inputs(traces(50), **SETTINGS), teachers, tmp_path / "one")).version
    async with await DatasetStore.open_to_read(tmp_path / "one" / "work.db") as store:
        found = await export_version(store, "bank", Wanted(name, tmp_path / "upload"))

    given = read_inputs(find_files(tmp_path / "upload"), strict=True)
    async with await WorkStore.open(tmp_path / "work.db") as work:
        environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url}
        job, _ = await process(given, tmp_path / "again", work, environ, first_wait_s=0.001)

    assert job.status is JobStatus.SUCCESS
    assert found.manifest["left_out"] == {}
    assert given.description.task_description == BANKING
    assert given.config.trace_processing.observation_format == "openai_messages"
    assert given.config.trace_processing.num_traces_as_training_base == SETTINGS["num_traces_as_training_base"]
    assert (tmp_path / "again" / "test.jsonl").read_bytes() == (tmp_path / "upload" / "test.jsonl").read_bytes()
    assert len(lines(tmp_path / "upload" / "train.jsonl")) == version.counts.train
    asked = {row["prompt"] for row in lines(tmp_path / "again" / "train.jsonl")}
    assert asked == {trace["messages"][-2]["content"] for trace in lines(tmp_path / "upload" / "traces.jsonl")}
    contexts = lines(tmp_path / "upload" / "unstructured.jsonl")
    assert len(contexts) == version.counts.unstructured > 0
    assert all(json.loads(context["context"])[-1]["role"] == "assistant" for context in contexts)


async def test_a_version_without_a_job_description_asks_for_one(tmp_path: Path) -> None:
    rows = [row_made(user("w"), calls(call("get", "{}")), tools=[tool("get")])]
    (tmp_path / "job.json").write_text('{"task_description": "Weather."}')
    async with dataset(tmp_path, rows) as store:
        with pytest.raises(InputError, match=r"made without a job description.*--job-description"):
            await export_version(store, "set", Wanted("distil", tmp_path / "upload"))
        given = Wanted("distil", tmp_path / "upload", job_description=tmp_path / "job.json")
        await export_version(store, "set", given)

    found = read_inputs(find_files(tmp_path / "upload"), strict=True)

    assert found.description.task_description == "Weather."
    assert found.config.base.task == "tool-calling-closed-book"


async def test_what_is_handed_on_names_no_folder_of_this_machine(teachers: Teachers, tmp_path: Path) -> None:
    await made(inputs(traces(50), **SETTINGS), teachers, tmp_path / "one")
    async with await DatasetStore.open_to_read(tmp_path / "one" / "work.db") as store:
        await export_version(store, "bank", Wanted("openai", tmp_path / "out"))

    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}

    assert not [name for name, text in written.items() if str(tmp_path) in text or teachers.base_url in text]
    assert "## Stages of the run" in written["README.md"]
    assert "relevance" in written["README.md"]
