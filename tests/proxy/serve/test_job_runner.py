"""Who runs jobs, with a scripted process in place of the one that runs them."""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from proxy.job_teacher import JobTeacher
from proxy.serve.job_runner import JobRunner
from proxy.settings import ServeSettings
from store.errors import OlderSchemaError
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.job import JobStatus
from store.job_folder import EventKind, JobFolder
from store.uuid7 import uuid7

DIES = "import sys; sys.stdin.readline(); sys.exit(7)"
WAITS_FOR_THE_END = "import sys; sys.stdin.read()"
NOTES = "import os, sys; open(os.environ['NOTE'], 'a').write(sys.stdin.readline()); sys.stdin.read()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({path!r}, 'a').close(); signal.pause()"


async def file(data_dir: Path, name: str = "a") -> str:
    run_id = str(uuid7())
    folder = JobFolder(data_dir, run_id)
    folder.make({folder.config: b"{}"})
    async with await FiledJobs.open(data_dir / "work.db") as work:
        await work.file(run_id, folder.dataset, name=name, config={}, filed_by="local", request="", bounds=Bounds())
    return run_id


async def filed(data_dir: Path, run_id: str) -> FiledJob:
    async with await FiledJobs.open_to_read(data_dir / "work.db") as work:
        found = await work.filed(run_id)
    assert found is not None
    return found


def runner(data_dir: Path, script: str, max_jobs: int = 1, **environ: str) -> JobRunner:
    settings = ServeSettings(
        upstream="http://127.0.0.1:9/v1", max_jobs=max_jobs, job_teachers=(JobTeacher(base_url="http://t/v1"),)
    )
    command = [sys.executable, "-c", script]
    return JobRunner(data_dir, command, lambda: settings, {**os.environ, **environ}, pauses_s=(0.0,))


async def until(what: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + 20
    while not await what():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_job_whose_process_dies_again_and_again_rests_until_it_is_resumed(tmp_path: Path) -> None:
    run_id = await file(tmp_path)
    jobs = runner(tmp_path, DIES)
    jobs.start()
    await until(lambda: has_status(tmp_path, run_id, JobStatus.STOPPED))
    rests = await filed(tmp_path, run_id)
    assert (rests.is_wanted, rests.starts, rests.has_ended) == (False, 4, True)
    assert "died 4 times" in (rests.job.error or "")
    told = [event.facts for event in JobFolder(tmp_path, run_id).events(0)]
    assert [(one["type"], one["status"]) for one in told] == [("status", "JOB_PENDING")] * 3 + [
        ("status", "JOB_STOPPED")
    ]
    assert all("code 7" in one["error"] for one in told[:3])
    async with await FiledJobs.open(tmp_path / "work.db") as work:
        resumed = await work.resume(run_id, Bounds(max_calls=3))
        assert (resumed.starts, resumed.is_wanted, resumed.bounds) == (0, True, Bounds(3, None))
    await until(lambda: has_status(tmp_path, run_id, JobStatus.STOPPED))
    await jobs.end(asyncio.Event(), 5)


async def has_status(data_dir: Path, run_id: str, status: JobStatus) -> bool:
    return (await filed(data_dir, run_id)).job.status is status


async def has_started(data_dir: Path, run_id: str) -> bool:
    return (await filed(data_dir, run_id)).starts > 0


async def test_no_more_run_at_once_than_may(tmp_path: Path) -> None:
    ids = [await file(tmp_path, name) for name in "abc"]
    jobs = runner(tmp_path, WAITS_FOR_THE_END, max_jobs=2)
    jobs.start()
    await until(lambda: has_started(tmp_path, ids[1]))
    await asyncio.sleep(0.8)  # long enough for two more looks
    assert [(await filed(tmp_path, run_id)).starts for run_id in ids] == [1, 1, 0]
    async with await FiledJobs.open(tmp_path / "work.db") as work:
        await work.cancel(ids[0])
    await until(lambda: has_started(tmp_path, ids[2]))
    assert await has_status(tmp_path, ids[0], JobStatus.STOPPED)
    await jobs.end(asyncio.Event(), 5)


async def test_a_job_is_told_the_servers_of_the_settings_and_no_token_of_the_admin_side(tmp_path: Path) -> None:
    run_id = await file(tmp_path)
    note = tmp_path / "note"
    script = "import os\nif 'TRACEMILL_ADMIN_TOKEN' in os.environ: raise SystemExit(3)\n" + NOTES
    jobs = runner(tmp_path, script, NOTE=str(note), TRACEMILL_ADMIN_TOKEN="a-token-of-sixteen-or-more")
    jobs.start()

    async def has_noted() -> bool:
        return note.exists() and note.read_bytes().endswith(b"\n")

    await until(has_noted)
    assert json.loads(note.read_text())["teachers"] == [{"base_url": "http://t/v1", "api_key_env": None}]
    await jobs.end(asyncio.Event(), 5)
    assert (await filed(tmp_path, run_id)).is_wanted


async def test_a_process_that_does_not_end_in_time_is_ended(tmp_path: Path) -> None:
    await file(tmp_path)
    jobs = runner(tmp_path, DEAF.format(path=str(tmp_path / "up")))
    jobs.start()

    async def is_up() -> bool:
        return (tmp_path / "up").exists()

    await until(is_up)
    began = time.monotonic()
    await jobs.end(asyncio.Event(), 0.3)
    assert 0.3 <= time.monotonic() - began < 5


async def test_a_cancelled_job_that_no_process_runs_comes_to_rest(tmp_path: Path) -> None:
    run_id = await file(tmp_path)
    async with await FiledJobs.open(tmp_path / "work.db") as work:
        await work.cancel(run_id)
    jobs = runner(tmp_path, DIES)
    jobs.start()
    await until(lambda: has_status(tmp_path, run_id, JobStatus.STOPPED))
    assert (await filed(tmp_path, run_id)).starts == 0
    await jobs.end(asyncio.Event(), 5)


async def test_a_job_that_another_process_runs_is_left_alone_until_that_has_ended(tmp_path: Path) -> None:
    run_id = await file(tmp_path)
    jobs = runner(tmp_path, WAITS_FOR_THE_END)
    with JobFolder(tmp_path, run_id).held():
        jobs.start()
        await asyncio.sleep(0.8)
        assert (await filed(tmp_path, run_id)).starts == 0
    await until(lambda: has_started(tmp_path, run_id))
    await jobs.end(asyncio.Event(), 5)


async def test_a_job_without_its_folder_comes_to_rest(tmp_path: Path) -> None:
    """As after going back to a backup of the databases alone."""
    gone, there = await file(tmp_path), await file(tmp_path)
    shutil.rmtree(JobFolder(tmp_path, gone).path)
    jobs = runner(tmp_path, WAITS_FOR_THE_END)
    jobs.start()
    await until(lambda: has_started(tmp_path, there))
    assert await has_status(tmp_path, gone, JobStatus.STOPPED)
    assert "is gone" in ((await filed(tmp_path, gone)).job.error or "")
    await jobs.end(asyncio.Event(), 5)


async def test_a_work_db_of_an_earlier_version_is_migrated_at_the_start(tmp_path: Path) -> None:
    released = Path(__file__).parents[2] / "store" / "released" / "work-1.sql"
    with closing(sqlite3.connect(tmp_path / "work.db")) as database:
        database.executescript(released.read_text("utf-8"))
        database.execute("PRAGMA journal_mode = WAL")
    jobs = runner(tmp_path, DIES)
    jobs.start()

    async def can_be_read() -> bool:
        try:
            async with await FiledJobs.open_to_read(tmp_path / "work.db") as work:
                return await work.page(None, 5) == []
        except OlderSchemaError:
            return False

    await until(can_be_read)
    await jobs.end(asyncio.Event(), 5)


async def test_a_broken_work_db_ends_nobody_and_is_looked_at_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "work.db").write_bytes(b"not a database" * 100)
    jobs = runner(tmp_path, DIES)
    jobs.start()

    async def is_told() -> bool:
        return "jobs cannot be looked after" in caplog.text

    await until(is_told)
    await jobs.end(asyncio.Event(), 5)
    assert (tmp_path / "work.db").read_bytes() == b"not a database" * 100


def test_an_event_is_found_by_the_id_of_the_one_before(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, "j")
    folder.make({})
    assert folder.events(0) == []
    for number in range(3):
        folder.tell(EventKind.WARNING, message=f"{number}\r\u2028\n")
    with (tmp_path / "jobs" / "j" / "events.jsonl").open("ab") as file_:
        file_.write(b'{"type": "stage", "cut')
    assert [event.facts["message"][0] for event in folder.events(0)] == ["0", "1", "2"]
    folder.tell(EventKind.WARNING, message="3")
    told = folder.events(0)
    assert [event.facts["message"][0] for event in told] == ["0", "1", "2", "3"]
    assert all(folder.events(event.id) == told[number + 1 :] for number, event in enumerate(told))
    assert all(folder.is_event(event.id) and not folder.is_event(event.id - 1) for event in told)
