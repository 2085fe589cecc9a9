"""`tracemill process`, `status` and `predictions` against scripted teachers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from store.trace import Outcome, Reply, Trace
from store.traces import TraceWriter
from tests.command_line import run_here
from tests.processing.teachers import Teachers, serving

TRACEMILL = [sys.executable, "-m", "tracemill.cli"]
SEED_LINES = [
    """{"messages": [{"role": "system", "content": "You are a helpful banking assistant."}, \
{"role": "user", "content": "What is my account balance?"}, \
{"role": "assistant", "content": "Your current account balance is $1,234.56."}]}""",
    """{"messages": [{"role": "system", "content": "You are a helpful banking assistant."}, \
{"role": "user", "content": "Transfer $100 to savings."}, \
{"role": "assistant", "content": "I've transferred $100 from your checking to your savings account."}]}""",
]
CONFIG = """\
base:
  task: question-answering
  student_model_name: Llama-3.2-3B-Instruct
  llm_num_parallel_requests: {parallel}
trace_processing:
  observation_format: openai_messages
  convert_to_single_turn: true
  relabel: true
  min_generated_examples: 1
  num_traces_as_training_base: 10
  num_traces_as_testing_base: 10
"""


@pytest.fixture
def teachers() -> Iterator[Teachers]:
    with serving() as found:
        yield found


def environ(teachers: Teachers | None) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("TRACEMILL")}
    return known if teachers is None else {**known, "TRACEMILL_TEACHER_BASE_URL": teachers.base_url}


def command(arguments: list[str], folder: Path, teachers: Teachers | None = None) -> dict[str, Any]:
    return {"args": [*TRACEMILL, *arguments], "cwd": folder, "env": environ(teachers), "text": True}


def tracemill(arguments: list[str], folder: Path, teachers: Teachers | None = None) -> subprocess.CompletedProcess[str]:
    return run_here(arguments, folder, environ(teachers))


def upload(folder: Path, lines: list[str], parallel: int = 4) -> Path:
    data = folder / "traces"
    data.mkdir(exist_ok=True)
    (data / "traces.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (data / "job_description.json").write_text(
        json.dumps({"task_description": "You are a helpful banking assistant that answers customer questions."})
    )
    (data / "config.yaml").write_text(CONFIG.format(parallel=parallel))
    return data


def many(count: int) -> list[str]:
    return [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Item {number * 7919} of my list, about {'xyz'[number % 3] * 9}?"},
                    {"role": "assistant", "content": f"Recorded {number}"},
                ]
            }
        )
        for number in range(count)
    ]


async def store(database: Path, traces: list[Trace]) -> None:
    async with await TraceWriter.open(database) as writer:
        await writer.write(traces)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def test_the_seeds_directory_goes_in_and_status_and_predictions_come_out(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, SEED_LINES)
    done = tracemill(["process", "--data", "traces", "--out", "bank"], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert "2 conversations: 2 kept, 0 dropped, 0 failed, 0 to review" in done.stdout
    assert "relabel: " in done.stderr
    status = tracemill(["status", "bank", "--output", "json"], tmp_path)
    told = json.loads(status.stdout)
    assert told["status"] == "JOB_SUCCESS"
    assert told["base_model_performance"].keys() >= {"binary", "rouge", "meteor", "llm-as-a-judge"}
    by_id = tracemill(["status", told["run_id"], "--json"], tmp_path)
    assert json.loads(by_id.stdout) == told
    text = tracemill(["status", "bank"], tmp_path).stdout
    assert "JOB_SUCCESS" in text
    assert "llm-as-a-judge" in text
    assert tracemill(["predictions", "bank"], tmp_path).stdout == "bank-traces-predictions.jsonl\n"
    lines = [json.loads(line) for line in (tmp_path / "bank-traces-predictions.jsonl").read_text().splitlines()]
    assert lines
    assert all({"question", "answer", "prediction", "context"} <= line.keys() for line in lines)
    tracemill(["predictions", "bank", "--file-name", "p.jsonl"], tmp_path)
    told = json.loads(tracemill(["predictions", told["run_id"], "--file-name", "p.jsonl", "--json"], tmp_path).stdout)
    assert (told["name"], told["file"]) == ("bank", "p.jsonl")
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "bank-traces-predictions.jsonl").read_bytes()
    assert (tmp_path / "bank" / "train.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(teachers: Teachers, tmp_path: Path) -> None:
    parallel = 4
    upload(tmp_path, many(40), parallel)
    undisturbed = tracemill(["process", "--data", "traces", "--out", "whole", "--data-dir", "a"], tmp_path, teachers)
    assert undisturbed.returncode == 0, undisturbed.stderr
    needed = len(teachers.requests)

    kills = (3, needed // 3, 2 * needed // 3)
    arguments = ["process", "--data", "traces", "--out", "killed", "--data-dir", "b"]
    for kill_after in kills:
        teachers.held.clear()
        teachers.hold_from = needed + kill_after
        victim = subprocess.Popen(
            **command(arguments, tmp_path, teachers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert teachers.held.wait(30)
        told = json.loads(tracemill(["status", "killed", "--data-dir", "b", "--json"], tmp_path).stdout)
        assert told["status"] == "JOB_RUNNING"
        victim.kill()
        victim.wait(10)
        told = json.loads(tracemill(["status", "killed", "--data-dir", "b", "--json"], tmp_path).stdout)
        assert told["status"] == "JOB_STOPPED"
        assert not (tmp_path / "killed" / "manifest.json").exists()
    teachers.hold_from = None
    done = tracemill(arguments, tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert len(teachers.requests) - needed <= needed + parallel * 4 * len(kills)
    paid = len(teachers.requests)
    assert tracemill(arguments, tmp_path, teachers).returncode == 0
    assert len(teachers.requests) == paid


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_says_so_and_can_be_resumed(teachers: Teachers, tmp_path: Path, how: int) -> None:
    upload(tmp_path, many(10))
    teachers.hold_from = 8
    arguments = ["process", "--data", "traces", "--out", "out"]
    running = subprocess.Popen(
        **command(arguments, tmp_path, teachers), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert teachers.held.wait(30)
    running.send_signal(how)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 130, said
    assert "Run the same command to go on" in said
    assert json.loads(tracemill(["status", "out", "--json"], tmp_path).stdout)["status"] == "JOB_STOPPED"
    teachers.hold_from = None
    assert tracemill(arguments, tmp_path, teachers).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "traces", "--traces", "traces/traces.jsonl"], "give exactly one of --data DIR"),
        ([], "give exactly one of --data DIR"),
        (["--traces", "traces/traces.jsonl"], "--job-description and --config are needed"),
        (["--data", "traces", "--where", "model = x"], "needs --from-store"),
        (["--data", "traces", "--config", "traces/config.yaml"], "--data takes everything from its folder"),
    ],
)
def test_contradicting_options_are_a_usage_error(tmp_path: Path, arguments: list[str], says: str) -> None:
    upload(tmp_path, SEED_LINES)
    done = tracemill(["process", *arguments, "--out", "out"], tmp_path)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_filter_that_cannot_be_understood_is_a_usage_error(tmp_path: Path) -> None:
    data = upload(tmp_path, SEED_LINES)
    files = ["--job-description", str(data / "job_description.json"), "--config", str(data / "config.yaml")]
    done = tracemill(["process", "--from-store", "--where", "modle = x", *files, "--out", "out"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert '--where: filter, position 1: unknown field "modle"; did you mean "model"?' in done.stderr


def test_captured_traces_are_processed_from_the_store(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, SEED_LINES)
    captured = []
    for number, line in enumerate([*map(json.loads, SEED_LINES), *map(json.loads, many(3))]):
        *asked, reply = (json.dumps(message).encode() for message in line["messages"])
        captured.append(
            Trace(
                id=UUID(int=number + 1),
                created_at=datetime(2026, 1, 1, 12, number, tzinfo=UTC),
                method="POST",
                path="/v1/chat/completions",
                route="default",
                upstream="http://x/v1",
                outcome=Outcome.COMPLETED,
                endpoint="chat.completions",
                requested_model="base" if number < 2 else "other",
                messages=tuple(asked),
                replies=(Reply(0, reply, "stop"),),
            )
        )
    asyncio.run(store(tmp_path / "data" / "traces.db", captured))
    options = ["--job-description", "traces/job_description.json", "--config", "traces/config.yaml", "--out", "out"]
    options += ["--data-dir", "data", "--json"]
    done = tracemill(["process", "--from-store", *options], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["intake"]["conversations"] == 5
    where = ["--where", "model = 'base'"]
    chosen = tracemill(["process", "--from-store", *where, *options], tmp_path, teachers)
    assert chosen.returncode == 0, chosen.stderr
    assert json.loads(chosen.stdout)["report"]["intake"]["conversations"] == 2
    files_made = files(tmp_path / "out")
    lines = (files_made["train.jsonl"] + files_made["test.jsonl"]).splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 2
    assert {row["metadata"]["original_model"] for row in rows} == {"base"}
    assert {row["metadata"]["source_trace_id"] for row in rows} <= {str(trace.id) for trace in captured}


def test_files_can_be_given_one_by_one(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, SEED_LINES)
    one_by_one = ["--traces", "traces/traces.jsonl", "--job-description", "traces/job_description.json"]
    done = tracemill(
        ["process", *one_by_one, "--config", "traces/config.yaml", "--out", "out", "--json"], tmp_path, teachers
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "JOB_SUCCESS"
    assert told["report"]["intake"]["records"] == 2


def test_a_broken_line_is_counted_and_with_strict_an_error(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, [*SEED_LINES, "{broken"])
    done = tracemill(["process", "--data", "traces", "--out", "out", "--json"], tmp_path, teachers)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["intake"]["rejected"] == 1
    strict = tracemill(["process", "--data", "traces", "--out", "out", "--strict"], tmp_path, teachers)
    assert strict.returncode == 1
    assert "traces.jsonl:3: " in strict.stderr


def test_bad_input_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    data = upload(tmp_path, SEED_LINES)
    (data / "config.yaml").write_text("base: {task: classification}\ntrace_procesing: {}\n")
    done = tracemill(["process", "--data", "traces", "--out", "out"], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'error: config.yaml: trace_procesing is not a known key; did you mean "trace_processing".\n'
    (data / "config.yaml").unlink()
    done = tracemill(["process", "--data", "traces", "--out", "out"], tmp_path)
    assert "holds no config.yaml or config.yml or config.json" in done.stderr
    unknown = tracemill(["status", "nobody"], tmp_path)
    assert unknown.returncode == 1
    assert 'knows no run "nobody"' in unknown.stderr


def test_a_teacher_that_is_down_is_exit_code_3_and_no_key_is_ever_shown_or_stored(tmp_path: Path) -> None:
    upload(tmp_path, SEED_LINES)
    started = command(["process", "--data", "traces", "--out", "out"], tmp_path)
    started["env"] |= {
        "TRACEMILL_TEACHER_BASE_URL": "http://127.0.0.1:9/v1",
        "TRACEMILL_TEACHER_API_KEY": "sk-canary-1234",
    }
    done = subprocess.run(**started, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(tracemill(["status", "out", "--json"], tmp_path).stdout)
    assert told["status"] == "JOB_FAILURE"
    assert "cannot be reached" in told["error"]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"sk-canary" in content for content in [*written, done.stderr.encode(), done.stdout.encode()])


def test_failed_conversations_make_the_exit_code_4(teachers: Teachers, tmp_path: Path) -> None:
    upload(tmp_path, many(6))
    teachers.relevance = lambda one: None if "Recorded 3" in json.dumps(one) else (5, 5)
    done = tracemill(["process", "--data", "traces", "--out", "out"], tmp_path, teachers)
    assert done.returncode == 4, done.stderr
    assert "1 failed" in done.stdout
