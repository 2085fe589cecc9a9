"""Filing a job: what was asked goes into a folder, is checked by a process of its own, and gets its row in `work.db`.

The check is the reading that the job itself does, so what is taken is what will run.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakValueDictionary

from proxy.admin.refusal import AdminRefusal, Code
from proxy.admin.worker import Worker
from store.data_files import WORK_FILE
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.filter import parse_filter
from store.job import JobStatus
from store.job_folder import PROMPTS, EventKind, JobFolder, incoming
from store.job_kind import JobKind
from store.uuid7 import uuid7

if TYPE_CHECKING:
    from proxy.admin.shapes.job_taken import JobTaken

_FILES = {"config": "config.json", "job_description": "job_description.json"}
_LINES = {"test": "test.jsonl", "calibration": "calibration.jsonl"}
"""Members of a body that become files of the job, each named beside; so do prompts, and the rest is the request."""
_UNBOUND = Bounds()


@dataclass(frozen=True, slots=True)
class Filing:
    """A job as somebody asks for it.

    Attributes:
        given: All that tells it from another one.
        request: What its process reads of it as `request.json`, beside the files.
        files: Name in the job's folder to content.
        id: Of the job; None for a new one.
        name: For a person; None for the id.
        upload: Name in the job's folder and content of a file that is as long as it likes.
    """

    kind: JobKind
    given: Mapping[str, Any]
    request: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    id: str | None = None
    name: str | None = None
    bounds: Bounds = _UNBOUND
    upload: tuple[str, AsyncIterator[bytes]] | None = None


def read_filing(asked: "JobTaken") -> Filing:
    """Take a body apart.

    Raises:
        AdminRefusal: It holds a number that no file can hold, or a calibration that nobody gives.
        FilterError: `where` cannot be understood.
    """
    body = asked.root
    given = body.model_dump(mode="json", exclude={"id"}, exclude_none=True)
    if isinstance(given.get("where"), str):
        parse_filter(given["where"])
    files = {name: _written(given[member]) for member, name in _FILES.items() if member in given}
    # A split has a `test`, too, which is a number.
    lines = {member: name for member, name in _LINES.items() if isinstance(given.get(member), list)}
    files |= {name: _lines(given[member]) for member, name in lines.items()}
    if "config" in given:
        files["config.json"] = _written(_with_calibration(given["config"], has_rows="calibration" in given))
    if "prompts" in given:
        files |= _prompts(given["prompts"])
    return Filing(
        kind=JobKind(body.kind),
        given=given,
        request={name: value for name, value in given.items() if name not in {*_FILES, *lines, "prompts"}},
        files=files,
        id=body.id,
        name=body.name,
        bounds=Bounds(body.max_calls, body.max_cost),
    )


class JobFiling:
    """Takes jobs for one data directory.

    Args:
        data_dir: The data directory.
        worker: Checks them; where there is none, no jobs are taken.
    """

    def __init__(self, data_dir: Path, worker: Worker) -> None:
        self._data_dir = data_dir
        self._worker = worker
        self._at_work: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def refuse_if_off(self) -> None:
        """Refuse what would have a job run where none does.

        Raises:
            AdminRefusal: The server runs no jobs.
        """
        if not self._worker.is_there:
            raise AdminRefusal(Code.STORE_UNAVAILABLE, "The server runs no jobs: it was started with no_capture.")

    async def file(self, filing: Filing, who: str) -> FiledJob:
        """Check and file a job; one that was filed before under the same id is given back.

        Raises:
            AdminRefusal: It cannot be run as asked, or its id is of another job.
        """
        self.refuse_if_off()
        run_id = str(uuid7()) if filing.id is None else _read_id(filing.id)
        request = hashlib.blake2b(_written(filing.given), digest_size=20).hexdigest()
        # One after the other under one id: the loser would take the winner's folder away.
        async with self._at_work.setdefault(run_id, asyncio.Lock()):
            filed = await self._earlier(run_id, request)
            return filed or await self._file(run_id, filing, request, who)

    async def _file(self, run_id: str, filing: Filing, request: str, who: str) -> FiledJob:
        folder = JobFolder(self._data_dir, run_id)
        coming = incoming(self._data_dir, run_id)
        try:
            await asyncio.to_thread(_make, coming, filing)
            if filing.upload is not None:
                name, blocks = filing.upload
                await _receive(coming.path / name, blocks)
            await self._worker.check(coming.path)
            # One of that id that is there has no row: whoever filed it was killed over it.
            await asyncio.to_thread(shutil.rmtree, folder.path, ignore_errors=True)
            coming.path.rename(folder.path)
        except OSError as exc:
            await asyncio.to_thread(shutil.rmtree, coming.path, ignore_errors=True)
            raise AdminRefusal(Code.STORE_UNAVAILABLE, f"The job cannot be written ({exc.strerror}).") from exc
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, coming.path, ignore_errors=True))
            raise
        folder.tell(EventKind.STATUS, status=JobStatus.PENDING, error=None)
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            return await work.file(
                run_id,
                folder.dataset,
                name=filing.name or run_id,
                config=filing.given.get("config", {}),
                filed_by=who,
                request=request,
                bounds=filing.bounds,
                kind=filing.kind,
            )

    async def _earlier(self, run_id: str, request: str) -> FiledJob | None:
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            filed = await work.filed(run_id)
            other = await work.job(run_id) if filed is None else None
        if (filed is not None and filed.request != request) or other is not None:
            raise AdminRefusal(Code.CONFLICT, f"The id {run_id} is of another job.", param="id")
        return filed


def _make(folder: JobFolder, filing: Filing) -> None:
    files = {folder.path / name: content for name, content in filing.files.items()}
    folder.make({**files, folder.request: _written(filing.request)})


def _read_id(given: str) -> str:
    try:
        id_ = UUID(given)
    except ValueError:
        id_ = UUID(int=0)
    if id_.version != 7:
        raise AdminRefusal(Code.INVALID_BODY, f"id is {given[:80]!r}; expected a UUIDv7.", param="id")
    return str(id_)


def _with_calibration(config: Mapping[str, Any], *, has_rows: bool) -> Mapping[str, Any]:
    """Name the file of the judged answers, which has its own name here whatever the configuration calls it.

    Raises:
        AdminRefusal: The configuration names answers, and none are given.
    """
    evaluation = config.get("evaluation") or {}
    if not isinstance(evaluation, Mapping) or (not has_rows and evaluation.get("calibration") is None):
        return config
    if not has_rows:
        raise AdminRefusal(
            Code.INVALID_BODY,
            "config.evaluation.calibration names judged answers, and the body has none; give them as `calibration`.",
            param="calibration",
        )
    return {**config, "evaluation": {**evaluation, "calibration": _LINES["calibration"]}}


def _prompts(given: Any) -> dict[str, bytes]:  # noqa: ANN401 - one of the shapes of a body
    if isinstance(given, list):
        lines = [{"prompt": each} if isinstance(each, str) else each for each in given]
        return {f"{PROMPTS}/prompts.jsonl": _lines(lines)}
    return {f"{PROMPTS}/{given['name']}": given["text"].encode("utf-8", "surrogatepass")}


async def _receive(path: Path, blocks: AsyncIterator[bytes]) -> None:
    """Write a body of any length to a file as it comes; it is on the disk when this returns."""
    await asyncio.to_thread(path.parent.mkdir, mode=0o700, exist_ok=True)
    with await asyncio.to_thread(path.open, "xb") as file:
        async for block in blocks:
            await asyncio.to_thread(file.write, block)
        await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.fsync, file.fileno())


def _lines(values: Sequence[object]) -> bytes:
    return b"".join(_written(value) + b"\n" for value in values)


def _written(value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError as exc:
        raise AdminRefusal(Code.INVALID_BODY, "The body holds a number that is too large to be one.") from exc
