"""The process of one filed job, or of the check before one is filed: `python -m tracemill.job_process run|check …`.

It reads one line of JSON from its standard input, which servers it may ask, and then watches that pipe: when it closes,
the server is gone, and the job is stopped in order. It exits with 0 whenever the job came to an end of which `work.db`
tells; any other code is a death.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from processing import config_file, curated, job_description
from processing.budget import Budget
from processing.config import Config, Model, without_credentials
from processing.endpoint import endpoint
from processing.errors import BudgetError, InputError, ProcessingError
from processing.inputs import Files, Inputs, read_inputs
from processing.pipeline import models_of
from processing.pipeline import process as run_process
from processing.progress import StageProgress
from processing.sources import Intake
from processing.sources import from_store as read_store
from proxy.serve.logs import log_the_unforeseen, set_up_logging
from store.errors import StoreError
from store.filed_job import FiledJob, OneFiledJob
from store.filter import parse_filter
from store.job_folder import EventKind, JobBusyError, JobFolder
from store.traces import TraceReader
from store.work import JobStatus

_log = logging.getLogger("tracemill.job")

_LIFELINE = 0
_GENERAL_URL, _GENERAL_KEY = "TRACEMILL_TEACHER_BASE_URL", "TRACEMILL_TEACHER_API_KEY"
_BUSY = 75
_NICENESS = 10
_OOM_SCORE = "500"
_STAGE_EVERY_S = 0.5

Teachers = Sequence[Mapping[str, str | None]]
"""`base_url` and `api_key_env` of each server that may be asked."""


def main(arguments: Sequence[str]) -> int:
    """Run or check one job; return the exit code."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = json.loads(_read_line())
    set_up_logging(told["log_level"], told["log_format"])
    log_the_unforeseen()
    teachers: Teachers = told["teachers"]
    what, *rest = arguments
    if what == "check":
        print(json.dumps(_problem_of(Path(rest[0]), teachers)))
        return 0
    _stand_back()
    try:
        return asyncio.run(_run(Path(rest[0]), rest[1], teachers))
    except asyncio.CancelledError:
        return 0


# What is asked -------------------------------------------------------------------------------------------------------


def allowed(config: Config, teachers: Teachers, environ: Mapping[str, str]) -> Config:
    """Give the configuration with the keys that belong to its servers.

    Whoever may file jobs could otherwise have this machine ask any address it reaches, or send any variable of its
    environment to one.

    Raises:
        InputError: It names a server, or a key for one, that is not among those that may be asked.
    """
    general = environ.get(_GENERAL_URL)
    keys: dict[str, str | None] = {str(each["base_url"]).rstrip("/"): each["api_key_env"] for each in teachers}
    models: dict[str, Model] = {}
    for name, model in config.models.items():
        url = (model.base_url or "").rstrip("/")
        is_general = not url or (general is not None and url == general.rstrip("/") and url not in keys)
        if not is_general and url not in keys:
            raise InputError(
                f"config: models.{name}.base_url",
                f"is {without_credentials(url)}, which the server's setting job_teachers does not list.",
            )
        key = _GENERAL_KEY if is_general else keys[url]
        if model.api_key_env not in (None, key):
            raise InputError(
                f"config: models.{name}.api_key_env",
                "names another variable than the server has for these models; leave it out.",
            )
        # A name for the general key would make it needed; without one it is sent where it is set.
        shown = {"base_url": None, "api_key_env": None} if is_general else {"api_key_env": key}
        models[name] = model.model_copy(update=shown)
    return config.model_copy(update={"models": models})


def _problem_of(folder: Path, teachers: Teachers) -> dict[str, Any]:
    """Say what is wrong with what a job is given, before anybody takes it for filed."""
    given = JobFolder(folder.parent.parent, folder.name)
    request = json.loads(given.request.read_bytes())
    param = "config"
    try:
        config = allowed(config_file.load(given.config), teachers, os.environ)
        param = "job_description"
        description = job_description.load(given.job_description, task=config.base.task)
        param = "test"
        test = curated.load(given.test) if given.test.exists() else None
        param = "config"
        budget = Budget(request["max_calls"], request["max_cost"])
        for model in models_of(Inputs(Intake(), config, description, test)):
            budget.check(endpoint(model, config, os.environ))
    except ProcessingError as exc:
        return {
            "problem": str(exc).replace("--max-cost", "max_cost").replace("--max-calls", "max_calls"),
            "param": param,
        }
    return {"problem": None}


# The run -------------------------------------------------------------------------------------------------------------


async def _run(data_dir: Path, run_id: str, teachers: Teachers) -> int:
    folder = JobFolder(data_dir, run_id)
    running = asyncio.create_task(_attempt(data_dir, folder, run_id, teachers), name="job")
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


async def _attempt(data_dir: Path, folder: JobFolder, run_id: str, teachers: Teachers) -> int:
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(folder.held())
        work = await stack.enter_async_context(await OneFiledJob.open(data_dir / "work.db"))
        work.run_id = run_id
        filed = await work.filed(run_id)
        if filed is None or not filed.is_wanted:
            return 0
        folder.tell(EventKind.STATUS, status=JobStatus.RUNNING, start=filed.starts)
        error = await _process(data_dir, folder, work, filed, teachers)
        await work.note_end(run_id)
        await _tell_end(folder, work, run_id, error)
    return 0


async def _process(
    data_dir: Path, folder: JobFolder, work: OneFiledJob, filed: FiledJob, teachers: Teachers
) -> str | None:
    """Run to the end, and see that `work.db` tells of it; return why it is no good one."""
    run_id = filed.job.run_id
    try:
        inputs = await _read_inputs(data_dir, folder, teachers)
        progress = _EventProgress(folder)
        _, dataset = await run_process(
            inputs, folder.dataset, work, os.environ, budget=Budget(*filed.left), progress=progress
        )
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
        await work.end_job(run_id, JobStatus.FAILURE, error=str(exc))
        return str(exc)
    for warning in dataset.report["warnings"]:
        folder.tell(EventKind.WARNING, message=warning)
    return None


async def _read_inputs(data_dir: Path, folder: JobFolder, teachers: Teachers) -> Inputs:
    request = json.loads(folder.request.read_bytes())
    where = request["where"]
    selection = None if where is None else parse_filter(where)
    async with await TraceReader.open(data_dir / "traces.db") as reader:
        intake = await read_store(reader, selection)
    files = Files(folder.job_description, folder.config, None, folder.test if folder.test.exists() else None)
    inputs = read_inputs(files, intake=intake, where=where)
    return replace(inputs, config=allowed(inputs.config, teachers, os.environ))


async def _tell_end(folder: JobFolder, work: OneFiledJob, run_id: str, error: str | None) -> None:
    filed = await work.filed(run_id)
    assert filed is not None, "a job that ran is in work.db"  # noqa: S101
    rows = (filed.job.counts or {}).get("rows")
    folder.tell(EventKind.STATUS, status=filed.job.status, error=error, rows=rows, calls=filed.calls, cost=filed.cost)
    _log.info("job %s: %s%s", run_id, filed.job.status, f" ({error})" if error else "")


class _EventProgress:
    """Writes progress down, at most twice a second unless a stage begins or ends."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._stage = ""
        self._told_at = 0.0

    def __call__(self, progress: StageProgress, /) -> None:
        now = time.monotonic()
        is_same = progress.stage == self._stage and progress.done < progress.total
        if is_same and now - self._told_at < _STAGE_EVERY_S:
            return
        self._stage, self._told_at = progress.stage, now
        facts = {name: getattr(progress, name) for name in StageProgress.__dataclass_fields__}
        # A run does not end because nobody can be told how far it is.
        with contextlib.suppress(OSError):
            self._folder.tell(EventKind.STAGE, **facts)


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
