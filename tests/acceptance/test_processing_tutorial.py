"""The tutorial works by following it alone."""

import json
import os
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter
from tests.processing.teachers import serving
from tests.server import tracemill

PAGE = (Path(__file__).parents[2] / "docs" / "processing.md").read_text()
FILES = re.findall(r"^`(bank/[\w.]+)`:.*?^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("tracemill ")
]


async def store_the_lines(folder: Path, lines: list[str]) -> None:
    """Put the conversations where `tracemill serve` would have put them."""
    captured = [
        Trace(
            id=UUID(int=number + 1),
            created_at=datetime(2026, 1, 1, 12, number, tzinfo=UTC),
            method="POST",
            path="/v1/chat/completions",
            route="default",
            upstream="http://x/v1",
            outcome=Outcome.COMPLETED,
            endpoint="chat.completions",
            status=200,
            messages=tuple(json.dumps(message).encode() for message in json.loads(line)["messages"][:-1]),
            replies=(Reply(0, json.dumps(json.loads(line)["messages"][-1]).encode(), "stop"),),
        )
        for number, line in enumerate(lines)
    ]
    async with await TraceWriter.open(folder / "tracemill-data" / "traces.db") as writer:
        await writer.write(captured, [], [])


async def test_every_command_of_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    names = ["traces.jsonl", "job_description.json", "config.yaml", "stricter.yaml"]
    assert [name for name, _ in FILES] == [f"bank/{name}" for name in names]
    for name, content in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    await store_the_lines(tmp_path, FILES[0][1].splitlines())
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")}
    with serving() as teachers:
        environ["TRACEMILL_TEACHER_BASE_URL"] = teachers.base_url
        done = [tracemill(*words[1:], cwd=tmp_path, env=environ) for words in COMMANDS]
    assert [one.returncode for one in done] == [0] * len(COMMANDS), [one.stderr for one in done]
    assert {body["model"] for body in teachers.requests} == {"big-teacher", "teacher-a", "teacher-b", "teacher-c"}

    made = {path.name for path in (tmp_path / "bank-v1").iterdir() if not path.name.startswith(".")}
    named = set(re.findall(r"`([a-z]+\.(?:jsonl|json|md|html))`", PAGE.partition("| file in `bank-v1`")[2]))
    assert made == named
    rows = [*(tmp_path / "bank-v1" / name for name in ("train.jsonl", "test.jsonl"))]
    assert sum(len(path.read_text().splitlines()) for path in rows) == 5
    assert "JOB_SUCCESS" in done[3].stdout
    assert (tmp_path / "bank-v1-traces-predictions.jsonl").read_text()
