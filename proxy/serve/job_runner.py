"""Runs the jobs that were filed, each in a process of its own, at most so many at once.

What is to run stands in `work.db`; nothing is known here that is not there, so that a job goes on whatever ended the
server. A process that dies is started again after a pause, three times; then the job rests until it is resumed. One
that is told to end says itself how it ended.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.job_teacher import teachers_line
from proxy.settings import ServeSettings
from store.data_files import WORK_FILE
from store.errors import DatabaseMissingError, StoreError
from store.filed_job import FiledJob, FiledJobs
from store.job import JobStatus
from store.job_folder import JOBS_FOLDER, EventKind, JobBusyError, JobFolder

_log = logging.getLogger("tracemill.jobs")

MOST_STARTS: Final = 4
"""Without an end in order: the first one and three more."""
BUSY: Final = 75
"""Exit code of a process that found another one running its job."""
_PAUSES_S: Final = (1.0, 5.0, 25.0)
_LOOK_S: Final = 0.3
_LOOK_ALL_THE_SAME_S: Final = 5.0
"""File times are coarse: a change just after a look may not show in them."""
_TROUBLE_S: Final = 5.0
_PATIENCE_S: Final = 10.0
_KEPT_BACK: Final = frozenset({"TRACEMILL_ADMIN_TOKEN", "TRACEMILL_ADMIN_READ_TOKEN"})


@dataclass(slots=True)
class _Running:
    process: asyncio.subprocess.Process
    folder: JobFolder
    ended: asyncio.Task[int]
    told_at: float | None = None

    def tell_to_end(self) -> None:
        """Ask the process to stop; when it does not in time, end it."""
        now = time.monotonic()
        if self.told_at is None:
            self.told_at = now
            self.signal(signal.SIGTERM)
        elif now - self.told_at > _PATIENCE_S:
            self.signal(signal.SIGKILL)

    def signal(self, signum: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)


class JobRunner:
    """The jobs of one data directory.

    Args:
        data_dir: The data directory.
        command: What runs a job; `run`, the data directory and the job's id are put behind it.
        settings: Gives the settings in force.
        environ: What jobs find their keys in.
        pauses_s: Before a process that died is started again; the last one holds from then on.
    """

    def __init__(
        self,
        data_dir: Path,
        command: Sequence[str],
        settings: Callable[[], ServeSettings],
        environ: Mapping[str, str],
        *,
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        self._pauses_s = pauses_s
        self._data_dir = data_dir
        self._command = tuple(command)
        self._settings = settings
        self._environment = {name: value for name, value in environ.items() if name not in _KEPT_BACK}
        self._running: dict[str, _Running] = {}
        self._not_before: dict[str, float] = {}
        self._stop = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0

    def start(self) -> None:
        """Begin to look for jobs."""
        self._keeper = asyncio.create_task(self._keep_running(), name="run jobs")

    async def end(self, is_forced: asyncio.Event, patience_s: float) -> None:
        """Stop all jobs in order, those that take longer at once; they go on when the server is back.

        Args:
            is_forced: Set when nothing is to be waited for any more.
            patience_s: Longest time they may take.
        """
        self._stop.set()
        if self._keeper is not None:
            await self._keeper
        for running in self._running.values():
            running.tell_to_end()
        ends = [running.ended for running in self._running.values()]
        if not ends:
            return
        forced = asyncio.create_task(is_forced.wait())
        ending = asyncio.create_task(asyncio.wait(ends))
        await asyncio.wait({forced, ending}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        for running in self._running.values():
            running.signal(signal.SIGKILL)
        await ending

    async def _keep_running(self) -> None:
        await self._migrate()
        while not self._stop.is_set():
            pause_s = _LOOK_S
            try:
                await self._look()
            except (StoreError, OSError) as exc:
                _log.error("jobs cannot be looked after (%s); trying again in %g s", exc, _TROUBLE_S)
                pause_s = _TROUBLE_S
            except Exception:  # noqa: BLE001 - the server goes on without its jobs: calls matter more
                _log.exception("jobs cannot be looked after; trying again in %g s", _TROUBLE_S)
                pause_s = _TROUBLE_S
            waits = [asyncio.create_task(self._stop.wait()), *(each.ended for each in self._running.values())]
            await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            waits[0].cancel()

    async def _migrate(self) -> None:
        """Lead an older `work.db` to today's schema, so that everybody can read it."""
        path = self._data_dir / WORK_FILE
        try:
            if path.exists():
                async with await FiledJobs.open(path):
                    _log.debug("%s is of today's schema", WORK_FILE)
        except (StoreError, OSError) as exc:
            _log.error("%s cannot be used: %s", WORK_FILE, exc)

    async def _look(self) -> None:
        is_quiet = not any(each.ended.done() or each.told_at for each in self._running.values())
        if is_quiet and not self._not_before and not self._has_changed():
            return
        # These first: what is read then knows how they ended.
        for run_id, running in list(self._running.items()):
            if running.ended.done():
                del self._running[run_id]
                await self._after(run_id, running.ended.result())
                self._seen = ()
        for filed in await self._unsettled():
            await self._attend_to(filed)

    async def _unsettled(self) -> list[FiledJob]:
        path = self._data_dir / WORK_FILE
        try:
            async with await FiledJobs.open_to_read(path) as work:
                return await work.unsettled()
        except DatabaseMissingError:
            return []

    def _has_changed(self) -> bool:
        """Whether there may be something new: an idle server asks the system for two file times and no more."""
        if not (self._data_dir / JOBS_FOLDER).is_dir():
            return False
        now = time.monotonic()
        seen = tuple(_times(self._data_dir / name) for name in (WORK_FILE, f"{WORK_FILE}-wal"))
        if seen == self._seen and now - self._seen_at < _LOOK_ALL_THE_SAME_S:
            return False
        self._seen, self._seen_at = seen, now
        return True

    async def _attend_to(self, filed: FiledJob) -> None:
        run_id = filed.job.run_id
        running = self._running.get(run_id)
        if running is not None:
            if not filed.is_wanted:
                running.tell_to_end()
            return
        folder = JobFolder(self._data_dir, run_id)
        if not folder.path.is_dir():
            async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
                await work.give_up(run_id, f"its folder {folder.path} is gone; file it again")
        elif not filed.is_wanted:
            await self._rest(filed, folder, "cancelled")
        elif filed.starts >= MOST_STARTS:
            await self._rest(filed, folder, f"its process died {filed.starts} times; the server's log has more")
        elif self._is_due(filed):
            if folder.is_held():
                # The process of an earlier server is on its way out.
                self._seen = ()
            else:
                await self._start(filed, folder)

    def _is_due(self, filed: FiledJob) -> bool:
        run_id = filed.job.run_id
        if time.monotonic() < self._not_before.get(run_id, 0.0):
            return False
        if len(self._running) >= self._settings().max_jobs:
            # Looked at again as soon as another one ends.
            self._not_before.pop(run_id, None)
            return False
        return True

    async def _rest(self, filed: FiledJob, folder: JobFolder, error: str) -> None:
        self._not_before.pop(filed.job.run_id, None)
        try:
            with folder.held():
                async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
                    await work.give_up(filed.job.run_id, error)
                folder.tell(EventKind.STATUS, status=JobStatus.STOPPED, error=error)
        except JobBusyError:
            return

    async def _start(self, filed: FiledJob, folder: JobFolder) -> None:
        run_id = filed.job.run_id
        self._not_before.pop(run_id, None)
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            await work.note_start(run_id, folder.dataset)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "run",
                str(self._data_dir),
                run_id,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        except OSError:
            # No memory, process or descriptor to be had now: nothing of the job's died.
            async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
                await work.note_end(run_id)
            raise
        ended = asyncio.create_task(process.wait(), name=f"job {run_id}")
        self._running[run_id] = _Running(process, folder, ended)
        _log.info("job %s runs in process %d", run_id, process.pid)
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        settings = self._settings()
        line = teachers_line(settings.job_teachers, log_level=settings.log_level, log_format=settings.log_format)
        with contextlib.suppress(ConnectionError):
            process.stdin.write(line)
            await process.stdin.drain()

    async def _after(self, run_id: str, code: int) -> None:
        """See to a job whose process has ended."""
        folder = JobFolder(self._data_dir, run_id)
        async with await FiledJobs.open(self._data_dir / WORK_FILE) as work:
            filed = await work.filed(run_id)
            if filed is None or not filed.is_wanted or filed.has_ended:
                return
            if code in (0, BUSY):
                await work.note_end(run_id)
                return
            pause_s = self._pauses_s[min(filed.starts, len(self._pauses_s)) - 1]
            _log.error("the process of job %s ended with code %d", run_id, code)
            if filed.starts < MOST_STARTS:
                self._not_before[run_id] = time.monotonic() + pause_s
                await work.note_death(run_id)
                folder.tell(EventKind.STATUS, status=JobStatus.PENDING, error=f"its process ended with code {code}")


def _times(path: Path) -> object:
    try:
        found = os.stat(path)  # noqa: PTH116 - the same, and asked for all the time
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
