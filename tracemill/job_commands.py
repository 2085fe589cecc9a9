"""`tracemill jobs`: the jobs that were filed with a server, from the machine itself and with or without the server."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from store import job_control
from store.data_files import WORK_FILE
from store.errors import DatabaseMissingError
from store.filed_job import Bounds, FiledJob, FiledJobs
from store.job import JobStatus
from store.job_folder import Event, EventKind, JobFolder
from tracemill.count_text import counted
from tracemill.terminal_text import one_line

_DEFAULT_DATA_DIR = Path("tracemill-data")
_T = TypeVar("_T")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or the one name that it has.")]

jobs = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look at jobs that were filed with a server, cancel, resume and delete them. docs/jobs.md tells the whole.",
)


@jobs.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most jobs to list.")] = 20,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List jobs, the latest first."""
    found = _run(_page(data_dir, limit))
    if as_json:
        typer.echo("".join(json.dumps(job_control.job_json(filed)) + "\n" for filed in found), nl=False)
        return
    for filed in found:
        told = (filed.job.run_id, f"{filed.kind:<8}", f"{filed.job.status:<12}", filed.job.created_at)
        typer.echo("  ".join([*map(str, told), one_line(filed.job.name)]))


@jobs.command()
def show(job: JobId, data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show where a job stands."""
    _show(_run(_find(data_dir, job)), data_dir, as_json=as_json)


@jobs.command()
def cancel(job: JobId, data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Stop a job; what it has paid for is kept."""
    _show(_run(_cancel(data_dir, job)), data_dir, as_json=as_json)


@jobs.command()
def resume(
    job: JobId,
    max_calls: Annotated[
        int | None, typer.Option(min=0, help="Most calls of models that all its attempts may buy together.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="Most money that all its attempts may spend together.")
    ] = None,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have a job that stopped or failed go on, now or when a server runs on the data directory."""
    _show(_run(_resume(data_dir, job, Bounds(max_calls, max_cost))), data_dir, as_json=as_json)


@jobs.command()
def delete(job: JobId, data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Forget a job that has ended, with all that lies in its folder; versions of datasets that it made are kept."""
    filed = _run(_delete(data_dir, job))
    typer.echo(json.dumps(job_control.job_json(filed)) if as_json else f"{filed.job.run_id}: deleted")


async def _page(data_dir: Path, limit: int) -> list[FiledJob]:
    try:
        async with await FiledJobs.open_to_read(data_dir / WORK_FILE) as work:
            return await work.page(None, limit)
    except DatabaseMissingError:
        return []


async def _find(data_dir: Path, named: str) -> FiledJob:
    try:
        async with await FiledJobs.open_to_read(data_dir / WORK_FILE) as work:
            job = await work.job(named)
            filed = None if job is None else await work.filed(job.run_id)
    except DatabaseMissingError:
        filed = None
    if filed is None:
        _fail(f'{data_dir / WORK_FILE} knows no filed job "{named}". See `tracemill jobs list`.')
    return filed


async def _cancel(data_dir: Path, named: str) -> FiledJob:
    filed = await _find(data_dir, named)
    async with await FiledJobs.open(data_dir / WORK_FILE) as work:
        return await job_control.cancel(work, JobFolder(data_dir, filed.job.run_id), filed)


async def _delete(data_dir: Path, named: str) -> FiledJob:
    filed = await _find(data_dir, named)
    async with await FiledJobs.open(data_dir / WORK_FILE) as work:
        if not await job_control.delete(work, JobFolder(data_dir, filed.job.run_id), filed):
            _fail(f"job {filed.job.name} is {filed.job.status}; cancel it first.")
    return filed


async def _resume(data_dir: Path, named: str, bounds: Bounds) -> FiledJob:
    filed = await _find(data_dir, named)
    if filed.job.status is JobStatus.SUCCESS:
        _fail(f"job {filed.job.name} is done; file another one.")
    async with await FiledJobs.open(data_dir / WORK_FILE) as work:
        return await job_control.resume(work, JobFolder(data_dir, filed.job.run_id), filed, bounds)


def _show(filed: FiledJob, data_dir: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(job_control.job_json(filed)))
        return
    job = filed.job
    folder = JobFolder(data_dir, job.run_id)
    lines = [f"job     {job.run_id} ({one_line(job.name)})", f"kind    {filed.kind}", f"status  {job.status}"]
    if job.error:
        lines.append(f"error   {one_line(job.error)}")
    if not filed.has_ended and not filed.is_wanted:
        lines.append("        it is being stopped")
    lines.append(f"bought  {counted(filed.calls, 'call')} for {filed.cost:g}; {_bounds(filed.bounds)}")
    last = next((one.facts for one in reversed(_all_events(folder)) if one.facts["type"] == EventKind.STAGE), None)
    if job.status is JobStatus.RUNNING and last is not None:
        lines.append(f"stage   {last['stage']}: {last['done']} of {last['total']}")
    lines += [f"result  {name}: {one_line(_plain(value))}" for name, value in (filed.result or {}).items()]
    for name, rows in (job.counts or {}).get("rows", {}).items():
        lines.append(f"rows    {rows:>7}  {name}")
    if filed.erased is not None:
        lines.append(f"erased  {filed.erased.traces} of its traces by {filed.erased.erased_at}")
    lines.append(f"folder  {folder.dataset}")
    typer.echo("\n".join(lines))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _all_events(folder: JobFolder) -> list[Event]:
    found: list[Event] = []
    while more := folder.events(found[-1].id if found else 0):
        found += more
    return found


def _bounds(bounds: Bounds) -> str:
    told = [f"{value:g} {what}" for value, what in zip(bounds, ("calls", "of money"), strict=True) if value is not None]
    return f"it may buy up to {' and '.join(told)}" if told else "nothing bounds it"


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    try:
        return asyncio.run(work)
    except OSError as exc:
        _fail(f"{exc.filename or 'the folder of the job'}: {exc.strerror}.")


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    sys.exit(1)
