"""The processing's word on what somebody asks for, given by a process of its own: nothing that serves knows it."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.admin.refusal import AdminRefusal, Code
from proxy.job_teacher import JobTeacher, teachers_line

_CHECKS_AT_ONCE = 2
_CHECK_S = 60.0


class JobCheck:
    """Holds what a job is given against what it can be.

    Args:
        command: What checks and runs jobs.
        teachers: Servers that jobs may ask.
    """

    def __init__(self, command: Sequence[str], teachers: Sequence[JobTeacher]) -> None:
        self._command = tuple(command)
        self._teachers = tuple(teachers)
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def check(self, folder: Path) -> None:
        """Check the job of a folder as its run will read it.

        Raises:
            AdminRefusal: It cannot be run as asked, or could not be checked.
        """
        async with self._checks:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "check",
                str(folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(_CHECK_S):
                    said, _ = await process.communicate(teachers_line(self._teachers))
                found: dict[str, Any] = json.loads(said)
            except (TimeoutError, ValueError) as exc:
                raise AdminRefusal(
                    Code.STORE_UNAVAILABLE, "The job could not be checked; the server's log says why. Ask again."
                ) from exc
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if found["problem"] is not None:
            raise AdminRefusal(Code.INVALID_BODY, found["problem"], param=found["param"])
