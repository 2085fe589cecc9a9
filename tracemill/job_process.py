"""The process of one filed job, or of the check before one is filed: `python -m tracemill.job_process run|check …`.

`export` and `compare` are answered at once, without a job.

It reads one line of JSON from its standard input, which servers it may ask, and then watches that pipe: when it closes,
the server is gone, and the job is stopped in order. It exits with 0 whenever the job came to an end of which `work.db`
tells; any other code is a death. What a job of which kind does, `tracemill.job_kinds` tells.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processing.errors import BudgetError, ProcessingError
from proxy.admin.public_message import public_message
from proxy.serve.logs import log_the_unforeseen, set_up_logging
from store.data_files import WORK_FILE
from store.errors import StoreError
from store.filed_job import FiledJob, OneFiledJob
from store.job import JobStatus
from store.job_folder import EventKind, JobBusyError, JobFolder
from store.job_kind import JobKind
from tracemill.job_kinds.attempt import Asked, Attempt, Done, MemberError, as_members
from tracemill.job_kinds.servers import Servers
from tracemill.job_kinds.table import kind_of_work

_log = logging.getLogger("tracemill.job")

_LIFELINE = 0
_BUSY = 75
_NICENESS = 10
_OOM_SCORE = "500"
_ANSWERED = frozenset({"export", "compare"})


def main(arguments: Sequence[str]) -> int:
    """Run or check one job, or answer what is asked without one; return the exit code."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = json.loads(_read_line())
    set_up_logging(told["log_level"], told["log_format"])
    log_the_unforeseen()
    servers: Servers = told["teachers"]
    what, *rest = arguments
    if what == "check":
        print(json.dumps(_problem_of(Path(rest[0]), servers)))
        return 0
    if what in _ANSWERED:
        return asyncio.run(_answer(what, Path(rest[0]), rest[1:]))
    _stand_back()
    try:
        return asyncio.run(_run(Path(rest[0]), rest[1], servers))
    except asyncio.CancelledError:
        return 0


def _problem_of(folder: Path, servers: Servers) -> dict[str, Any]:
    """Say what is wrong with what a job is given, before anybody takes it for filed."""
    data_dir = folder.parent.parent
    asked = Asked(data_dir, JobFolder(data_dir, folder.name), servers)
    try:
        kind_of_work(JobKind(asked.request["kind"])).check(asked)
    except MemberError as exc:
        return {"problem": str(exc), "param": exc.member}
    except StoreError as exc:
        return {"problem": str(exc), "param": None}
    return {"problem": None}


async def _answer(what: str, data_dir: Path, rest: Sequence[str]) -> int:
    """Write the answer to standard output: a line of JSON, and what follows it."""
    try:
        if what == "export":
            from tracemill.job_kinds.export import export

            await export(data_dir, Path(rest[0]), json.loads(rest[1]), sys.stdout.buffer)
        else:
            from tracemill.job_kinds.evaluation import comparison

            print(json.dumps({"problem": None, "comparison": await comparison(data_dir, rest)}))
    except (ProcessingError, StoreError) as exc:
        print(json.dumps({"problem": as_members(str(exc)), "param": None}))
    except BrokenPipeError:
        # Whoever asked has gone; what is left to be flushed is nobody's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


# The run -------------------------------------------------------------------------------------------------------------


async def _run(data_dir: Path, run_id: str, servers: Servers) -> int:
    folder = JobFolder(data_dir, run_id)
    running = asyncio.create_task(_attempt(data_dir, folder, run_id, servers), name="job")
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Told once: a second time would stop what is done in order.
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        running.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    threading.Thread(target=_end_with_server, name="lifeline", daemon=True).start()
    try:
        return await running
    except JobBusyError as exc:
        _log.info("%s", exc)
        return _BUSY


async def _attempt(data_dir: Path, folder: JobFolder, run_id: str, servers: Servers) -> int:
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(folder.held())
        work = await stack.enter_async_context(await OneFiledJob.open(data_dir / WORK_FILE))
        work.run_id = run_id
        filed = await work.filed(run_id)
        if filed is None or not filed.is_wanted:
            return 0
        folder.tell(EventKind.STATUS, status=JobStatus.RUNNING, start=filed.starts)
        error = await _work(Attempt(data_dir, folder, servers, work, run_id, filed.left), filed)
        await work.note_end(run_id)
        await _tell_end(folder, work, run_id, error)
    return 0


async def _work(attempt: Attempt, filed: FiledJob) -> str | None:
    """Work to the end, and see that `work.db` tells of it; return why it is no good one."""
    work, run_id = attempt.work, attempt.run_id
    try:
        done = await _do(attempt, filed)
        await work.succeed(done.result)
        # Its rows are in their version now, where an erasure finds them.
        for given in (attempt.folder.uploaded, attempt.folder.unpacked):
            shutil.rmtree(given, ignore_errors=True)
    except asyncio.CancelledError:
        now = await work.filed(run_id)
        if now is not None and now.job.status is JobStatus.SUCCESS:  # it came too late
            return None
        is_wanted = now is not None and now.is_wanted
        error = "the server was stopped; it goes on when the server is back" if is_wanted else "cancelled"
        await work.rest(run_id, error)
        return error
    except BudgetError as exc:
        error = f"{str(exc).partition('. Raise it')[0]}. Resume it with more to go on: what was paid for is kept."
        await work.give_up(run_id, error)
        return error
    except (ProcessingError, StoreError, OSError) as exc:
        error = public_message(as_members(str(exc)), attempt.data_dir)
        await work.end_job(run_id, JobStatus.FAILURE, error=error)
        return error
    for warning in done.warnings:
        attempt.folder.tell(EventKind.WARNING, message=warning)
    return None


async def _do(attempt: Attempt, filed: FiledJob) -> Done:
    kind = kind_of_work(filed.kind)
    if not kind.publishes_itself:
        await attempt.work.start_job(attempt.folder.dataset, name=filed.job.name, config=filed.job.config)
    return await kind.run(attempt)


async def _tell_end(folder: JobFolder, work: OneFiledJob, run_id: str, error: str | None) -> None:
    filed = await work.filed(run_id)
    assert filed is not None, "a job that ran is in work.db"  # noqa: S101
    rows = (filed.job.counts or {}).get("rows")
    folder.tell(EventKind.STATUS, status=filed.job.status, error=error, rows=rows, calls=filed.calls, cost=filed.cost)
    _log.info("job %s: %s%s", run_id, filed.job.status, f" ({error})" if error else "")


# The process ---------------------------------------------------------------------------------------------------------


def _stand_back() -> None:
    """Have the calls that are served come first, and, where memory runs out, have the system end this process first."""
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        block = os.read(_LIFELINE, 65536)
        if not block:
            raise SystemExit("the server went away before it said what to do")
        line += block
    return line


def _end_with_server() -> None:
    while os.read(_LIFELINE, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
