"""Filing a job: what was asked goes into a folder, is checked by a process of its own, and gets its row in `work.db`.

The check is the reading that the job itself does, so what is taken is what will run. It stands in a process of its own
because nothing that serves knows the processing.
"""

import asyncio
import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.shapes.job import JobTaken
from proxy.job_teacher import JobTeacher, teachers_line
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.filter import parse_filter
from store.job_folder import EventKind, JobFolder
from store.uuid7 import uuid7
from store.work import JobStatus

WORK_FILE = "work.db"
_CHECKS_AT_ONCE = 2
_CHECK_S = 60.0


class JobFiling:
    """Takes jobs for one data directory.

    Args:
        data_dir: The data directory.
        command: What checks and runs jobs; without one none are taken.
        teachers: Servers that jobs may ask.
    """

    def __init__(self, data_dir: Path, command: Sequence[str], teachers: Sequence[JobTeacher]) -> None:
        self._data_dir = data_dir
        self._command = tuple(command)
        self._teachers = tuple(teachers)
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._at_work: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def refuse_if_off(self) -> None:
        """Refuse what would have a job run where none does.

        Raises:
            AdminRefusal: The server runs no jobs.
        """
        if not self._command:
            raise AdminRefusal(Code.STORE_UNAVAILABLE, "The server runs no jobs: it was started with no_capture.")

    async def file(self, asked: JobTaken, who: str) -> FiledJob:
        """Check and file a job; one that was filed before under the same id is given back.

        Raises:
            AdminRefusal: It cannot be run as asked, or its id is of another job.
            FilterError: `where` cannot be understood.
        """
        self.refuse_if_off()
        if asked.where is not None:
            parse_filter(asked.where)
        run_id = str(uuid7()) if asked.id is None else _read_id(asked.id)
        given = asked.model_dump(mode="json", exclude={"id"})
        request = hashlib.blake2b(_written(given), digest_size=20).hexdigest()
        # One after the other under one id: the loser would take the winner's folder away.
        async with self._at_work.setdefault(run_id, asyncio.Lock()):
            filed = await self._earlier(run_id, request)
            return filed or await self._file(run_id, asked, given, request, who)

    async def _file(self, run_id: str, asked: JobTaken, given: dict[str, Any], request: str, who: str) -> FiledJob:
        folder = JobFolder(self._data_dir, run_id)
        try:
            await asyncio.to_thread(folder.make, _files(folder, given))
            await self._check(folder)
        except OSError as exc:
            await asyncio.to_thread(shutil.rmtree, folder.path, ignore_errors=True)
            raise AdminRefusal(Code.STORE_UNAVAILABLE, f"The job cannot be written ({exc.strerror}).") from exc
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder.path, ignore_errors=True))
            raise
        bounds = Bounds(asked.max_calls, asked.max_cost)
        folder.tell(EventKind.STATUS, status=JobStatus.PENDING, error=None)
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            return await work.file(
                run_id,
                folder.dataset,
                name=asked.name or run_id,
                config=given["config"],
                filed_by=who,
                request=request,
                bounds=bounds,
            )

    async def _earlier(self, run_id: str, request: str) -> FiledJob | None:
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            filed = await work.filed(run_id)
            other = await work.job(run_id) if filed is None else None
        if (filed is not None and filed.request != request) or other is not None:
            raise AdminRefusal(Code.CONFLICT, f"The id {run_id} is of another job.", param="id")
        return filed

    async def _check(self, folder: JobFolder) -> None:
        async with self._checks:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "check",
                str(folder.path),
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


def _read_id(given: str) -> str:
    try:
        id_ = UUID(given)
    except ValueError:
        id_ = UUID(int=0)
    if id_.version != 7:
        raise AdminRefusal(Code.INVALID_BODY, f"id is {given[:80]!r}; expected a UUIDv7.", param="id")
    return str(id_)


def _files(folder: JobFolder, given: dict[str, Any]) -> dict[Path, bytes]:
    bounds = {name: given[name] for name in ("where", "max_calls", "max_cost")}
    files = {
        folder.request: _written(bounds),
        folder.config: _written(given["config"]),
        folder.job_description: _written(given["job_description"]),
    }
    if given["test"] is not None:
        files[folder.test] = b"".join(_written(row) + b"\n" for row in given["test"])
    return files


def _written(value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError as exc:
        raise AdminRefusal(Code.INVALID_BODY, "The body holds a number that is too large to be one.") from exc
