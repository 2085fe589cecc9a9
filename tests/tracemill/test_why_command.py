"""`tracemill why` and `tracemill where`, over the files of real runs and their call table."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from store.datasets.dataset_store import DatasetStore
from store.datasets.decision import Decision, DecisionKind
from tests.processing.teachers import GOOD, Body, Teachers
from tests.tracemill.test_erase_command import captured, fill, process, store
from tests.tracemill.test_process_commands import SEED_LINES, many, teachers, tracemill, upload

__all__ = ["teachers"]


def lines(path: Path) -> list[Body]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(arguments: list[str], folder: Path) -> Any:
    done = tracemill([*arguments, "--json"], folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def bank(teachers: Teachers, tmp_path: Path) -> Path:
    upload(tmp_path, many(8))
    teachers.relevance = lambda one: (1 if "Recorded 3" in json.dumps(one) else 5, 5)
    teachers.reply = lambda body: {
        "content": "Something else." if body["model"].startswith("zai") else f"{GOOD}{body['messages'][-1]['content']}"
    }
    done = tracemill(["process", "--data", "traces", "--out", "bank"], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    teachers.requests.clear()
    return tmp_path / "bank"


def test_every_row_is_told_from_its_trace_to_its_line(teachers: Teachers, bank: Path, tmp_path: Path) -> None:
    row = lines(bank / "test.jsonl")[1]
    found = told(["why", row["row_id"][:12]], tmp_path)
    assert (found["id"], found["file"], found["line"]) == (row["row_id"], "test.jsonl", 2)
    assert found["source"] == row["metadata"]["source"]
    assert found["scores"]["relevance"] == 5
    assert found["scores"]["reason"] == "as scripted"
    assert found["row"] == row
    purposes = [call["purpose"] for call in found["calls"]]
    assert purposes[:5] == ["filter", "relabel", "relabel", "relabel", "relabel"]
    assert "judge" in purposes
    assert len({call["model"] for call in found["calls"] if call["purpose"] == "relabel"}) == 4
    assert found["judge"][0]["reason"] == "compared"
    text = tracemill(["why", row["row_id"]], tmp_path).stdout
    said = ["relevance 5", "vote     differs  zai.glm-5: Something else.", "label    by", "judge    recorded answer"]
    for words in (*said, "call     filter", "line     test.jsonl:2", "traces.jsonl:"):
        assert words in text
    assert teachers.requests == []


def test_what_was_dropped_tells_why_too(bank: Path, tmp_path: Path) -> None:
    dropped = lines(bank / "dropped.jsonl")[0]
    found = told(["why", dropped["id"], "--run", "bank"], tmp_path)
    assert (found["kind"], found["reason"], found["scores"]["relevance"]) == ("conversation", "low_relevance", 1)
    assert (found["file"], found["line"]) == ("dropped.jsonl", 1)
    row = lines(bank / "train.jsonl")[0]
    whole = told(["why", row["metadata"]["conversation_id"]], tmp_path)
    assert [one["id"] for one in whole["examples"]] == [row["row_id"]]


def test_every_line_of_every_file_stands_in_the_lineage_at_its_place(bank: Path) -> None:
    entries = lines(bank / "lineage.jsonl")
    places = {(entry["file"], entry["line"]): entry for entry in entries if entry["file"]}
    for name in ("train.jsonl", "test.jsonl", "dropped.jsonl", "failed.jsonl", "review.jsonl"):
        for number, line in enumerate(lines(bank / name), 1):
            assert places.pop((name, number))["id"] == line.get("row_id", line.get("id"))
    assert {name for name, _ in places} <= {"unstructured.jsonl"}
    assert len([entry for entry in entries if entry["kind"] == "conversation"]) == 8


def test_a_row_that_nobody_knows_or_too_many_do_is_said(bank: Path, tmp_path: Path) -> None:
    for arguments, says in (
        (["why", "ffffffffffff"], 'has an id that begins with "ffffffffffff"'),
        (["why", "ab"], "too short to look for"),
        (["why", "ffffffff", "--run", "nobody"], 'knows no run "nobody"'),
        (["where", "traces.jsonl:999"], 'nothing of a trace "traces.jsonl:999"'),
    ):
        done = tracemill(arguments, tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr
    (bank / "lineage.jsonl").unlink()
    assert "Run `tracemill process` into it once more" in tracemill(["where", "traces.jsonl:1"], tmp_path).stderr


def test_without_its_inputs_a_row_is_told_from_the_files_alone(bank: Path, tmp_path: Path) -> None:
    shutil.rmtree(bank / ".tracemill-inputs")
    row = lines(bank / "train.jsonl")[0]
    found = told(["why", row["row_id"]], tmp_path)
    assert found["row"] == row
    assert found["calls"] == []
    assert "calls behind it cannot be told" in found["problem"]


def test_a_captured_trace_is_found_in_all_runs_and_rows(teachers: Teachers, tmp_path: Path) -> None:
    fill(tmp_path)
    asyncio.run(store(tmp_path, [captured(7, json.loads(SEED_LINES[0]))]))
    process(tmp_path, "one", teachers)
    process(tmp_path, "two", teachers)
    trace = str(UUID(int=2))
    found = told(["where", trace, "--data-dir", "data"], tmp_path)
    assert [run["name"] for run in found["runs"]] == ["two", "one"]
    rows = {row["id"]: row for row in found["runs"][0]["rows"]}
    example = next(row for row in rows.values() if row["kind"] == "example")
    assert lines(tmp_path / "two" / example["file"])[example["line"] - 1]["metadata"]["source_trace_id"] == trace
    back = told(["why", example["id"], "--data-dir", "data"], tmp_path)
    assert back["traces"] == [{"trace_id": trace, "is_stored": True}]
    assert back["also_in"] == ["one"]
    assert {call["purpose"] for call in back["calls"]} >= {"filter", "relabel"}
    twin = told(["where", str(UUID(int=7)), "--data-dir", "data"], tmp_path)
    first = told(["where", str(UUID(int=1)), "--data-dir", "data"], tmp_path)
    assert [run["rows"] for run in twin["runs"]] == [[], []]
    assert first["runs"][0]["rows"]
    nothing = tracemill(["where", str(UUID(int=7)), "--data-dir", "data"], tmp_path).stdout
    assert "it was read and stands in no row" in nothing
    erase = ["erase", "--trace", trace, "--data-dir", "data", "--yes"]
    assert tracemill(erase, tmp_path).returncode == 0
    gone = told(["where", trace, "--data-dir", "data"], tmp_path)
    assert [run["erased_traces"] for run in gone["runs"]] == [1, 1]
    text = tracemill(["where", trace, "--data-dir", "data"], tmp_path).stdout
    assert "erased since: 1 of its traces" in text
    assert f"{example['file']}:{example['line']}" in text
    assert [one["trace_id"] for one in gone["erased"]] == [trace]
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "two")
    left = tracemill(["where", trace.replace("-", "")[:31], "--data-dir", "data"], tmp_path)
    assert left.returncode == 0, left.stderr
    assert f"{trace} was erased, as was asked at 20" in left.stdout
    assert str(tmp_path / "one") in left.stdout


def test_an_erased_trace_is_told_as_erased_where_no_run_was_ever_made(tmp_path: Path) -> None:
    fill(tmp_path)
    trace = str(UUID(int=2))
    assert tracemill(["erase", "--trace", trace, "--data-dir", "data", "--yes"], tmp_path).returncode == 0
    found = tracemill(["where", trace, "--data-dir", "data"], tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert f"{trace} was erased" in found.stdout


def test_versions_of_datasets_that_have_a_row_are_told_with_what_people_decided(bank: Path, tmp_path: Path) -> None:
    row = lines(bank / "train.jsonl")[0]
    made = told(["datasets", "from-run", "bank", "--name", "banking"], tmp_path)
    asyncio.run(decide(tmp_path / "tracemill-data" / "work.db", row["row_id"]))
    found = told(["why", row["row_id"][:12]], tmp_path)
    assert (found["file"], found["line"], found["problem"]) == ("train.jsonl", 1, None)
    assert [(one["version"], one["part"], one["state"]) for one in found["versions"]] == [
        ("banking-v1", "train", "kept")
    ]
    assert [(one["kind"], one["who"], one["note"]) for one in found["decisions"]] == [("accept", "ann", "fine")]
    text = tracemill(["why", row["row_id"]], tmp_path).stdout
    assert "version  banking-v1 (frozen): train, kept at output: train" in text
    assert "decided  accept by ann at " in text
    place = row["metadata"]["source"]
    held = told(["where", place], tmp_path)
    assert [(one["version"], one["row_id"]) for one in held["versions"]] == [("banking-v1", row["row_id"])]
    assert [one["name"] for one in held["runs"]] == ["bank"]
    assert (
        f"banking-v1 (frozen): train, kept at output: train: row {row['row_id']}"
        in tracemill(["where", place], tmp_path).stdout
    )
    assert made["label"] == "banking-v1"


def test_a_row_of_a_version_is_told_without_any_run(bank: Path, tmp_path: Path) -> None:
    row = lines(bank / "test.jsonl")[0]
    told(["datasets", "from-run", "bank", "--name", "banking"], tmp_path)
    shutil.rmtree(bank)
    found = told(["why", row["row_id"][:12]], tmp_path)
    assert (found["kind"], found["part"], found["row"]["messages"]) == ("row", "test", row["messages"])
    assert [one["trace_id"] for one in found["traces"]] == [row["metadata"]["source"]]
    assert found["ends"][-1]["reason"] == "test"
    text = tracemill(["why", row["row_id"]], tmp_path).stdout
    for said in ("row ", "asked    ", "answer   ", "vote     differs  zai.glm-5", "version  banking-v1 (frozen): test"):
        assert said in text
    assert [one["version"] for one in told(["where", row["metadata"]["source"]], tmp_path)["versions"]] == [
        "banking-v1"
    ]
    missing = tracemill(["why", "ffffffffffff"], tmp_path)
    assert (missing.returncode, missing.stdout) == (1, "")


async def decide(work: Path, row_id: str) -> None:
    async with await DatasetStore.open(work) as store:
        row = await store.row(await store.version("banking"), row_id)
        assert row is not None
        await store.note_decision(Decision("banking", row.learned_hash, DecisionKind.ACCEPT, "ann", row_id, "fine"))
