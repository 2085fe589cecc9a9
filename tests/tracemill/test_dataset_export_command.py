"""`tracemill datasets export` as a person uses it."""

import asyncio
import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.command_line import run_here
from tests.processing.exports.versions import dataset, made, says, telling_rows, user


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()

    async def fill() -> None:
        async with dataset(folder, telling_rows(), [made(user("t"), says("u"))], note="first"):
            pass

    asyncio.run(fill())
    return folder


def run(data_dir: Path, *arguments: str) -> CompletedProcess[str]:
    return run_here(["datasets", "export", *arguments, "--data-dir", data_dir])


def test_a_version_is_written_and_what_became_of_its_rows_is_said(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    done = run(data_dir, "set-v1", "--format", "sharegpt", "-o", str(out))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"Wrote set-v1 as sharegpt to {out}: train 7 rows in 8 lines, test 1 row.",
        "Left out: turns_do_not_alternate 1",
        "Not carried: call_ids 2, metadata 3, response_format 1",
        f"Which rows were left out, and why: {out}.left-out.jsonl",
    ]
    assert {path.name for path in out.iterdir()} == {
        "README.md", "dataset_info.json", "manifest.json", "test.jsonl", "train.jsonl"
    }  # fmt: skip
    info = json.loads((out / "dataset_info.json").read_bytes())
    assert info["set-v1-train"] == {
        "file_name": "train.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
    }


def test_a_check_writes_nothing_and_gives_json_when_asked(data_dir: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())

    done = run(data_dir, "set", "--format", "openai", "--check", "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["out"], told["left_out"], told["parts"]["train"]) == (None, {}, {"rows": 8, "lines": 8})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["set", "--format", "sharegpt", "--check", "--strict"], 1, "cannot hold all rows (1 turns_do_not_alternate)"),
        (["set", "--format", "nonsense", "--check"], 2, '"nonsense" is none. There are rows, openai'),
        (["set", "--format", "openai"], 2, "give --output, or --check"),
        (["other", "--format", "openai", "--check"], 1, "other"),
        (["set", "--format", "openai", "-o", "OUT/all.jsonl"], 1, "has train, test. Name one of them with --part"),
        (["set", "--format", "openai", "-o", "OUT/missing/all"], 1, "is not a folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    data_dir: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run(data_dir, *(argument.replace("OUT", str(tmp_path)) for argument in arguments))

    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_one_part_goes_into_one_file(data_dir: Path, tmp_path: Path) -> None:
    done = run(data_dir, "set", "--format", "rows", "--part", "test", "-o", str(tmp_path / "test.jsonl"))

    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "test.jsonl").read_bytes().splitlines()
    assert json.loads(line) == made(user("t"), says("u"))
