"""The programs that exports are for read them back: what they give equals the rows."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from processing.exports.formats import FORMATS
from processing.exports.wanted import Wanted
from processing.sources import read_traces
from store import json_text
from store.recorded.message_form import text_of
from tests.processing.exports.versions import (
    call,
    calls,
    export,
    in_order,
    made,
    picture,
    png,
    says,
    telling_rows,
    user,
)

pytestmark = pytest.mark.slow
JOB = {"job_description": {"task_description": "Answer."}}
BIG = made(user("x" * 5_000_000), says("five megabytes"))
EDGES = made(
    user("numbers"),
    calls(call("f", '{"big": 9223372036854775807, "half": 0.5, "none": null, "text": "7", "flag": true, "list": []}')),
)
ODD = made(user("n\x00ul\r\nand \\ back"), says("\x00 \x1f"), original_response="other")
ROWS = [*telling_rows(), BIG, EDGES, ODD]
PICTURED = made(user([{"type": "text", "text": "see"}, picture(png())]), says("red"), original_response="blue")


def loaded(folder: Path, tmp_path: Path) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def without_nulls(line: Mapping[str, Any]) -> dict[str, Any]:
    """A reader of columns gives null for a field that a line has not."""
    return {name: value for name, value in line.items() if value is not None}


def file_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.parametrize("name", [name for name, target in FORMATS.items() if str(target.folder) == ".jsonl"])
async def test_datasets_reads_a_folder_of_lines_as_they_were_written(tmp_path: Path, name: str) -> None:
    await export(tmp_path / "store", [*ROWS, PICTURED], Wanted(name, tmp_path / "out"), manifest=JOB)

    found = loaded(tmp_path / "out", tmp_path)

    # The empty parts are left out: a split without rows cannot be loaded.
    assert set(found) == {"train"}
    assert [without_nulls(line) for line in found["train"]] == file_lines(tmp_path / "out" / "train.jsonl")


async def test_datasets_reads_the_rows_with_whatever_shapes_they_hold(tmp_path: Path) -> None:
    test, left = made(user("t"), says("u")), made(user("l"), says("m"))
    columns = {"relabel__trace": [{"role": "user", "content": "1"}], "relabel__reasoning_content": "7"}
    rows = [*ROWS, {**made(user("with"), says("columns")), **columns}, PICTURED]
    await export(tmp_path / "store", rows, Wanted("hf", tmp_path / "out"), test=[test], unstructured=[left])

    found = loaded(tmp_path / "out", tmp_path)

    assert [without_nulls(row) for row in found["train"]] == in_order(rows)
    assert [without_nulls(row) for row in found["test"]] == [test]
    assert [without_nulls(row) for row in found["unstructured"]] == [left]


@pytest.mark.parametrize("name", ["trl", "trl-messages", "dpo"])
async def test_datasets_reads_what_trl_trains_on_arguments_of_mixed_types_included(tmp_path: Path, name: str) -> None:
    rows = [*ROWS, made(user("p"), says("good"), original_response="bad")]
    await export(tmp_path / "store", rows, Wanted(name, tmp_path / "out"))
    wanted = [dict(line) for row in in_order(rows) for line in _lines(name, row)]

    found = loaded(tmp_path / "out", tmp_path)["train"]

    assert [without_nulls(line) for line in found] == wanted
    assert len(wanted) == len(found) > 0


def _lines(name: str, row: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    if name != "dpo" or row["metadata"].get("original_response"):
        yield from FORMATS[name].convert(row).lines


@pytest.mark.parametrize("name", ["trl", "trl-messages", "dpo"])
async def test_datasets_decodes_the_pictures(tmp_path: Path, name: str) -> None:
    plain = made(user("p"), says("good"), original_response="bad")
    await export(tmp_path / "store", [PICTURED, plain], Wanted(name, tmp_path / "out"))

    found = {line["row_id"]: line["images"] for line in loaded(tmp_path / "out", tmp_path)["train"]}

    (image,) = found[PICTURED["row_id"]]
    assert image.getpixel((0, 0)) == (200, 0, 0)
    assert found[plain["row_id"]] == []


@pytest.mark.parametrize("reader", ["pandas", "polars", "pyarrow", "datasets"])
async def test_parquet_gives_every_value_back_letter_by_letter(tmp_path: Path, reader: str) -> None:
    huge = made(user("n"), calls(call("f", '{"n": 123456789012345678901234567890}')), number=10**30, tiny=5e-324)
    rows = [{**row, "relabel__trace": [{"role": "user", "content": 1}]} for row in [*ROWS, huge, PICTURED]]
    await export(tmp_path / "store", rows, Wanted("parquet", tmp_path / "all.parquet"))

    found = _table(reader, tmp_path / "all.parquet")

    assert [_row(record) for record in found] == in_order(rows)


@pytest.mark.parametrize("reader", ["csv", "pandas", "polars"])
async def test_csv_gives_every_value_back_letter_by_letter(tmp_path: Path, reader: str) -> None:
    rows = [*ROWS, PICTURED, made(user("="), says("+1"), number=10**30)]
    await export(tmp_path / "store", rows, Wanted("csv", tmp_path / "all.csv"))

    found = _table(reader, tmp_path / "all.csv")

    assert [_row({name: cell or None for name, cell in record.items()}) for record in found] == in_order(rows)


async def test_polars_reads_the_lines_of_openai(tmp_path: Path) -> None:
    import polars as pl

    rows = [row for row in ROWS if not row.get("tools")]
    await export(tmp_path / "store", rows, Wanted("openai", tmp_path / "all.jsonl"))

    found = pl.read_ndjson(tmp_path / "all.jsonl", infer_schema_length=None)

    assert [row["messages"][0]["content"] for row in found.to_dicts()] == [
        row["messages"][0]["content"] for row in in_order(rows)
    ]


async def test_our_own_reader_takes_the_traces(tmp_path: Path) -> None:
    await export(tmp_path / "store", ROWS, Wanted("traces", tmp_path / "traces.jsonl"))

    found = read_traces(tmp_path / "traces.jsonl", "openai_messages", strict=True)

    assert not found.rejected
    said = {text_of(message) for conversation in found.conversations for message in conversation.messages}
    assert {text for row in ROWS for text in (row["prompt"],) if text} <= said


def _table(reader: str, path: Path) -> list[dict[str, Any]]:
    if reader == "csv":
        import csv

        csv.field_size_limit(10_000_000)
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if reader == "pandas":
        import pandas as pd

        if path.suffix == ".csv":
            return list(pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"))
        return [
            {name: None if pd.isna(cell) else cell for name, cell in record.items()}
            for record in pd.read_parquet(path).to_dict("records")
        ]
    if reader == "polars":
        import polars as pl

        return list(
            (pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_parquet(path)).to_dicts()
        )
    if reader == "datasets":
        import datasets

        datasets.disable_progress_bars()
        cache = str(path.parent / "cache")
        return list(datasets.load_dataset("parquet", data_files=str(path), cache_dir=cache)["train"])
    from pyarrow import parquet

    return list(parquet.read_table(path).to_pylist())


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of a table as the row that it was."""
    plain = ("row_id", "prompt", "response")
    return {
        name: cell if name in plain else json_text.loads(cell.encode())
        for name, cell in record.items()
        if cell is not None
    }
