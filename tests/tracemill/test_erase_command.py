"""`tracemill erase`: what processing made of a trace goes or is marked, and nothing else is paid for again."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter
from tests.processing.teachers import Teachers, serving
from tests.tracemill.test_process_commands import SEED_LINES, many, tracemill, upload

CANARY = "canary 4711"
OPTIONS = ["--job-description", "traces/job_description.json", "--config", "traces/config.yaml", "--data-dir", "data"]


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found


def captured(number: int, line: dict[str, Any]) -> Trace:
    *asked, reply = (json.dumps(message).encode() for message in line["messages"])
    return Trace(
        id=UUID(int=number), created_at=datetime(2026, 1, 1, 12, number, tzinfo=UTC), method="POST",
        path="/v1/chat/completions", route="default", upstream="http://x/v1", outcome=Outcome.COMPLETED,
        endpoint="chat.completions", messages=tuple(asked), replies=(Reply(0, reply, "stop"),),
    )  # fmt: skip


def fill(folder: Path) -> None:
    upload(folder, SEED_LINES)
    said = [
        {"role": "user", "content": f"What does {CANARY} mean for my account of savings?"},
        {"role": "assistant", "content": f"It means {CANARY} is yours."},
    ]
    lines = [*map(json.loads, [*SEED_LINES, *many(3)]), {"messages": said}]
    asyncio.run(store(folder, [captured(number, line) for number, line in enumerate(lines, 1)]))


async def store(folder: Path, traces: list[Trace]) -> None:
    async with await TraceWriter.open(folder / "data" / "traces.db") as writer:
        await writer.write(traces)


def process(folder: Path, out: str, teachers: Teachers) -> Any:
    done = tracemill(["process", "--from-store", *OPTIONS, "--out", out, "--json"], folder, teachers)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def calls(folder: Path) -> set[bytes]:
    with closing(sqlite3.connect(folder / "data" / "work.db")) as work:
        return {row[0] for row in work.execute("SELECT key FROM calls")}


def test_calls_of_teachers_go_and_runs_are_marked(teachers: Teachers, tmp_path: Path) -> None:
    fill(tmp_path)
    process(tmp_path, "out", teachers)
    before = calls(tmp_path)
    assert CANARY.encode() in (tmp_path / "data" / "work.db").read_bytes()
    shown = tracemill(["erase", "--trace", str(UUID(int=6)), "--data-dir", "data", "--dry-run", "--json"], tmp_path)
    assert json.loads(shown.stdout)["datasets"] == [str(tmp_path / "out")]
    done = tracemill(["erase", "--trace", str(UUID(int=6)), "--data-dir", "data", "--yes", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    assert (result["traces"], result["datasets"]) == (1, [str(tmp_path / "out")])
    assert result["teacher_calls"] == len(before) - len(calls(tmp_path)) > 0
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert json.loads((tmp_path / "out" / "erased.json").read_text())["traces"] == 1
    status = tracemill(["status", "out", "--data-dir", "data", "--json"], tmp_path)
    assert json.loads(status.stdout)["erased"]["traces"] == 1
    assert "erased  1 of its traces by 20" in tracemill(["status", "out", "--data-dir", "data"], tmp_path).stdout

    # Made again it holds nothing of it, and pays for nothing but neighbours of the call that went.
    left, asked = calls(tmp_path), len(teachers.requests)
    process(tmp_path, "out", teachers)
    assert left <= calls(tmp_path)
    assert len(teachers.requests) - asked < asked
    assert not (tmp_path / "out" / "erased.json").exists()
    assert json.loads(tracemill(["status", "out", "--data-dir", "data", "--json"], tmp_path).stdout)["erased"] is None
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_what_cannot_be_told_is_a_usage_error(tmp_path: Path) -> None:
    fill(tmp_path)
    for options in (
        ["--conversation", "x"],
        ["--where", "modle = x"],
        ["--user", "a", "--session", "b"],
        [],
    ):
        done = tracemill(["erase", *options, "--yes", "--data-dir", "data"], tmp_path)
        assert done.returncode == 2, (options, done.stderr)
        assert "Traceback" not in done.stderr
    assert tracemill(["audit", "--data-dir", "data"], tmp_path).stdout == "Nothing was asked of this store.\n"
