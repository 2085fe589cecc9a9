"""Parquet files and folders of data sets, as pyarrow and `datasets` write them."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processing.datasets.data_set import Format, find_data
from processing.datasets.mapping import read_map
from processing.datasets.upload import UploadSettings, upload
from processing.datasets.upload_report import UploadReport
from processing.errors import InputError
from store.datasets.dataset_store import DatasetStore
from store.datasets.row import Part, Row, RowState

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TALK = [
    [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1", "tool_calls": None}],
    [{"role": "user", "content": "q2"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DatasetStore]:
    async with await DatasetStore.open(tmp_path / "data" / "work.db") as opened:
        yield opened


async def rows_of(store: DatasetStore, report: UploadReport) -> list[Row]:
    assert report.version is not None
    rows = [row async for row in store.rows(report.version, state=RowState.KEPT)]
    return sorted(rows, key=lambda row: str(row.content["prompt"]))


async def test_parquet_gives_rows_without_the_nulls_of_its_types(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "talk.parquet"
    tools = [[{"type": "function", "function": {"name": "look", "description": None}}]] * 2
    columns = {
        "messages": TALK,
        "tools": tools,
        "big": pa.array([2**62 + 1, None], pa.int64()),
        "extra": pa.array(['{"a": 12345678901234567890}', '[1, "x"]']).cast(pa.json_()),
        "at": pa.array([0, 1], pa.timestamp("s", "UTC")),
    }
    pq.write_table(pa.table(columns), path, row_group_size=1)
    report = await upload(path, "talk", store)
    first, second = await rows_of(store, report)
    assert first.content["messages"] == [TALK[0][0], {"role": "assistant", "content": "a1", "weight": 1}]
    assert second.content["messages"][1]["tool_calls"] == [CALL]
    assert first.content["tools"] == [{"type": "function", "function": {"name": "look"}}]
    assert first.content["metadata"]["big"] == 2**62 + 1
    assert "big" not in second.content["metadata"]
    assert first.content["metadata"]["extra"] == {"a": 12345678901234567890}
    assert second.content["metadata"]["at"] == "1970-01-01T00:00:01+00:00"


async def test_a_damaged_parquet_file_is_told_as_such(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="is not Parquet that can be read"):
        await upload(path, "x", store)


async def test_numbers_that_json_does_not_have_fail_their_rows_alone(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "nan.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"], "response": ["1", "2"], "n": [float("nan"), 0.5]}), path)
    report = await upload(path, "nan", store)
    assert report.counts()["reasons"] == {"failed": {"not_json": 1}, "kept": {"uploaded": 1}}


async def test_what_datasets_saves_comes_in_with_its_splits(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    train = datasets.Dataset.from_dict({"question": [f"q{n}" for n in range(1200)], "answer": ["a"] * 1200})
    test = datasets.Dataset.from_dict({"question": ["t1", "t2"], "answer": ["a", "b"]})
    saved = tmp_path / "saved"
    datasets.DatasetDict({"train": train, "test": test.select([1, 0])}).save_to_disk(
        str(saved), num_shards={"train": 2, "test": 1}
    )
    report = await upload(saved, "saved", store)
    assert report.format is Format.HF
    assert report.counts()["parts"] == {"test": 2, "train": 1200}
    assert report.version is not None
    assert [file["name"] for file in report.version.manifest["source"]["files"]] == [
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
        "test/data-00000-of-00001.arrow",
    ]
    alone = tmp_path / "alone"
    test.save_to_disk(str(alone))
    assert (await upload(alone, "alone", store)).counts()["parts"] == {"unsplit": 2}
    hub = tmp_path / "hub"
    (hub / "data").mkdir(parents=True)
    train.to_parquet(str(hub / "data" / "train-00000-of-00001.parquet"))
    test.to_parquet(str(hub / "data" / "test-00000-of-00001.parquet"))
    by_names = await upload(hub, "hub", store, note="by names")
    assert by_names.counts()["parts"] == {"test": 2, "train": 1200}
    ids = [{row.row_id for row in await rows_of(store, found)} for found in (report, by_names)]
    assert ids[0] == ids[1]


def hub_folder(folder: Path, configs: Any) -> Path:
    (folder / "en").mkdir(parents=True)
    (folder / "de").mkdir()
    for place, text in (("en/a.jsonl", "e"), ("de/b.jsonl", "d"), ("en/held.jsonl", "h")):
        (folder / place).write_text(json.dumps({"prompt": text, "response": "r"}))
    (folder / "README.md").write_text(f"---\nlicense: mit\nconfigs: {json.dumps(configs)}\n---\n# Card\n")
    return folder


async def test_a_folder_is_read_as_its_card_describes_it(store: DatasetStore, tmp_path: Path) -> None:
    english = [{"split": "train", "path": "en/a*.jsonl"}, {"split": "validation", "path": ["en/held.jsonl"]}]
    configs = [{"config_name": "en", "data_files": english}, {"config_name": "de", "data_files": "de/*.jsonl"}]
    folder = hub_folder(tmp_path / "card", configs)
    with pytest.raises(InputError, match=r"several subsets: en, de\. Name one by --subset"):
        await upload(folder, "card", store)
    with pytest.raises(InputError, match='no subset "fr"; there are: en, de'):
        await upload(folder, "card", store, UploadSettings(subset="fr"))
    report = await upload(folder, "card", store, UploadSettings(subset="en"))
    assert {row.content["prompt"]: row.part for row in await rows_of(store, report)} == {
        "e": Part.TRAIN,
        "h": Part.TEST,
    }
    assert [file.name for file in find_data(folder, subset="de").files] == ["de/b.jsonl"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("../*.jsonl", "outside"),
        ("en/../../*.jsonl", "outside"),
        ("/etc/*", "outside"),
        ("no/*.jsonl", "no such data file"),
    ],
)
async def test_a_card_names_only_files_of_its_folder(tmp_path: Path, pattern: str, problem: str) -> None:
    (tmp_path / "secret.jsonl").write_text("{}")
    folder = hub_folder(tmp_path / "card", [{"config_name": "default", "data_files": pattern}])
    with pytest.raises(InputError, match=problem):
        find_data(folder)


async def test_a_saved_table_names_only_files_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}))
    with pytest.raises(InputError, match="outside of its folder"):
        find_data(folder)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]})
    )
    with pytest.raises(InputError, match="Load it and save it again"):
        find_data(folder)


async def test_what_is_no_data_is_refused_with_what_could_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        find_data(tmp_path / "nothing.jsonl")
    (tmp_path / "x.docx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"none of the known endings .* Give --format"):
        find_data(tmp_path / "x.docx")
    assert find_data(tmp_path / "x.docx", Format.CSV).format is Format.CSV
    with pytest.raises(InputError, match="takes a file"):
        find_data(tmp_path, Format.CSV)
    with pytest.raises(InputError, match="takes a folder"):
        find_data(tmp_path / "x.docx", Format.HF)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with pytest.raises(InputError, match="holds no data files"):
        find_data(tmp_path)


async def test_two_columns_of_one_name_are_refused_since_one_would_be_lost(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    cells = [pa.array(["p"]), pa.array(["one"]), pa.array(["other"])]
    pq.write_table(pa.table(cells, names=["prompt", "response", "response"]), path)
    with pytest.raises(InputError, match="two columns of one name: response"):
        await upload(path, "twice", store)


def test_a_pipe_is_told_from_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError, match=r"is a pipe or a device.*write it to a file first"):
        find_data(tmp_path / "pipe.jsonl")


def test_files_are_found_in_folders_of_their_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "0000.jsonl").write_text("{}")
    found = find_data(tmp_path)
    assert [(file.name, file.split) for file in found.files] == [
        ("data/test/0000.jsonl", "test"),
        ("data/train/0000.jsonl", "train"),
    ]


async def test_classes_come_in_by_their_names_and_old_columns_as_messages(store: DatasetStore, tmp_path: Path) -> None:
    features = {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["billing", "technical"]}}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    path = tmp_path / "classes.parquet"
    columns = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    pq.write_table(columns.replace_schema_metadata(told), path)
    report = await upload(path, "classes", store)
    assert [row.content["response"] for row in await rows_of(store, report)] == ["technical", "billing"]
    assert report.counts()["reasons"]["failed"] == {"no_response": 1}
    old = {"from": ["human", "gpt"], "value": ["q", "a"]}
    pq.write_table(pa.table({"conversations": [old]}), tmp_path / "old.parquet")
    (row,) = await rows_of(store, await upload(tmp_path / "old.parquet", "old", store))
    assert (row.content["prompt"], row.content["response"]) == ("q", "a")


async def test_of_a_folder_with_splits_other_files_are_left_out_and_said(store: DatasetStore, tmp_path: Path) -> None:
    folder = tmp_path / "distil"
    folder.mkdir()
    for name in ("train", "test", "dev", "job_description"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"question": name, "answer": "a"}))
    report = await upload(folder, "distil", store)
    assert report.counts()["parts"] == {"test": 2, "train": 1}
    assert report.warnings == [
        "The splits dev, test stand together in test.",
        "Left out, since their names tell no split: job_description.jsonl.",
    ]


async def test_a_column_can_say_the_part(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"q": ["a", "b"], "r": ["1", "2"], "split": ["train", "test"]}), path)
    report = await upload(path, "p", store, UploadSettings(told=read_map("prompt=q,response=r")))
    assert report.counts()["parts"] == {"test": 1, "train": 1}
    assert (
        await upload(path, "q", store, UploadSettings(told=read_map("prompt=q,response=r"), part=Part.TEST))
    ).counts()["parts"] == {"test": 2}
