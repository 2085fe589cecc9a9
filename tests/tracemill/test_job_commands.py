"""`tracemill jobs` without a server: what it says holds for the next one."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from store.filed_job import Bounds, FiledJobs
from store.job import JobStatus
from store.job_folder import EventKind, JobFolder
from store.uuid7 import uuid7
from tracemill.cli import load_all
from tracemill.job_commands import jobs


def asked(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(jobs, [*arguments, "--data-dir", str(data_dir)])


def shown(data_dir: Path, *arguments: str) -> dict[str, object]:
    result = asked(data_dir, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.output)
    return found


def file(data_dir: Path, name: str) -> str:
    run_id = str(uuid7())
    folder = JobFolder(data_dir, run_id)
    folder.make({folder.config: b"{}"})

    async def write() -> None:
        async with await FiledJobs.open(data_dir / "work.db") as work:
            await work.file(
                run_id, folder.dataset, name=name, config={}, filed_by="local", request="", bounds=Bounds(max_calls=9)
            )

    asyncio.run(write())
    return run_id


def statuses(data_dir: Path, run_id: str) -> list[str]:
    return [event.facts["status"] for event in JobFolder(data_dir, run_id).events(0)]


def test_the_command_is_part_of_the_command_line() -> None:
    assert set(load_all().commands["jobs"].commands) == {"list", "show", "cancel", "resume", "delete"}  # type: ignore[attr-defined]


def test_jobs_are_listed_the_latest_first(tmp_path: Path) -> None:
    assert asked(tmp_path, "list").output == ""
    first, second = file(tmp_path, "one"), file(tmp_path, "two\x1b[31m")
    lines = asked(tmp_path, "list").output.splitlines()
    assert [line.split()[0] for line in lines] == [second, first]
    assert "JOB_PENDING" in lines[0]
    assert "\x1b" not in lines[0]
    told = [json.loads(line) for line in asked(tmp_path, "list", "--json", "--limit", "1").output.splitlines()]
    assert [one["id"] for one in told] == [second]


def test_a_job_is_cancelled_and_resumed_by_its_id_or_name(tmp_path: Path) -> None:
    run_id = file(tmp_path, "evens")
    assert shown(tmp_path, "cancel", "evens")["status"] == "JOB_STOPPED"
    assert shown(tmp_path, "cancel", run_id)["error"] == "cancelled"
    resumed = shown(tmp_path, "resume", run_id, "--max-calls", "12")
    assert (resumed["status"], resumed["is_wanted"], resumed["max_calls"]) == ("JOB_PENDING", True, 12)
    assert statuses(tmp_path, run_id) == ["JOB_STOPPED", "JOB_PENDING"]
    text = asked(tmp_path, "show", "evens").output
    assert "JOB_PENDING" in text
    assert "it may buy up to 12 calls" in text


def test_a_running_job_that_is_cancelled_is_left_to_its_runner(tmp_path: Path) -> None:
    run_id = file(tmp_path, "busy")
    folder = JobFolder(tmp_path, run_id)
    with folder.held():
        folder.tell(EventKind.STATUS, status=JobStatus.RUNNING)
        told = shown(tmp_path, "cancel", run_id)
        assert "it is being stopped" in asked(tmp_path, "show", run_id).output
    assert (told["status"], told["is_wanted"]) == ("JOB_PENDING", False)
    assert statuses(tmp_path, run_id) == ["JOB_RUNNING"]


@pytest.mark.parametrize("command", ["show", "cancel", "resume"])
def test_a_job_that_is_none_is_one_sentence(tmp_path: Path, command: str) -> None:
    result = asked(tmp_path, command, "nobody")
    assert result.exit_code == 1
    assert 'knows no filed job "nobody"' in result.output
