"""A run whose disk is full says so, publishes nothing, keeps what it paid for, and goes on when there is room."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.disks import full_disk, small_disk
from tests.faults.drill import NotPossibleHereError
from tests.faults.killed_runs import PARALLEL, text, upload
from tests.faults.load import wait_until
from tests.processing.teachers import Body, Fault, serving

CALLS = 40
"""So many answers find room; then there is none."""


async def test_a_run_on_a_full_disk_publishes_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    upload(tmp_path / "traces", 60)
    disk = tmp_path / "disk"
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(disk, "64m"))
        except NotPossibleHereError as error:
            pytest.skip(str(error))
        teachers = stack.enter_context(serving())
        stalled = True

        def stall(number: int, _body: Body) -> None:
            if stalled and number > CALLS:
                raise Fault(429, headers={"retry-after": "1"})

        teachers.fault = stall
        run = start(tmp_path, teachers.base_url, disk)
        await wait_until(lambda: len(teachers.requests) > CALLS, 30)
        with full_disk(disk):
            stalled = False
            _, said = run.communicate(timeout=60)
        assert run.returncode == 1, said
        assert "full" in said
        assert "Traceback" not in said
        assert not (disk / "out" / "manifest.json").exists()

        paid_for = {text(body) for body in teachers.requests[: CALLS - PARALLEL]}
        teachers.requests.clear()
        run = start(tmp_path, teachers.base_url, disk)
        _, said = run.communicate(timeout=60)
        assert run.returncode == 0, said
        assert (disk / "out" / "manifest.json").exists()
        assert not paid_for & {text(body) for body in teachers.requests}


def start(folder: Path, base_url: str, disk: Path) -> "subprocess.Popen[str]":
    arguments = ["process", "--data", "traces", "--out", str(disk / "out"), "--data-dir", str(disk / "data")]
    return subprocess.Popen(
        [sys.executable, "-m", "tracemill.cli", *arguments],
        cwd=folder,
        env={**os.environ, "TRACEMILL_TEACHER_BASE_URL": base_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
