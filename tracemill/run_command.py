"""What every command about runs does alike: finding the run, working to the end, errors as sentences and exit codes."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from processing.errors import BudgetError, ProcessingError, TeacherError
from processing.output import is_running
from store.data_files import WORK_FILE
from store.errors import DatabaseMissingError, FilterError, StoreError
from store.job import Job, JobStatus
from store.work import WorkStore
from tracemill.terminal_text import many_lines

BAD_INPUT, USAGE, UPSTREAM, PARTIAL, INTERRUPTED = 1, 2, 3, 4, 130
DEFAULT_DATA_DIR = Path("tracemill-data")
_T = TypeVar("_T")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="Folder of traces.db and work.db.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", min=0, help="Buy at most so many calls of models.")]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, help="Spend at most so much, in the currency of the configured prices."),
]
RunName = Annotated[str, typer.Argument(help="Run id, name, or folder of the dataset.")]


async def find_run(run: str, data_dir: Path) -> Job:
    """Find a run by its id, its folder, or its name; without one, say so and leave."""
    try:
        async with await WorkStore.open_to_read(data_dir / WORK_FILE) as work:
            job = await work.job(run)
    except DatabaseMissingError:
        job = None
    if job is None:
        fail(f'{data_dir / WORK_FILE} knows no run "{run}". Name its id, its folder, or another --data-dir.')
    if job.status is JobStatus.RUNNING and not is_running(Path(job.out_dir)):
        return replace(job, status=JobStatus.STOPPED, error="it was killed; run the same command to go on")
    return job


def run_to_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end; every error becomes one sentence and an exit code."""
    try:
        return asyncio.run(_until_stopped(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted. Run the same command to go on: what was paid for is kept.", INTERRUPTED)
    except TeacherError as exc:
        fail(str(exc), UPSTREAM)
    except BudgetError as exc:
        fail(str(exc), PARTIAL)
    except FilterError as exc:
        usage(f"--where: {exc}")
    except (ProcessingError, StoreError) as exc:
        fail(str(exc))
    except OSError as exc:
        fail(f"{exc.filename or 'the output'}: {exc.strerror or exc}. Nothing was published; what was paid is kept.")


async def _until_stopped(work: Coroutine[Any, Any, _T]) -> _T:
    """Let SIGTERM end the work as Ctrl-C does: in order, with the job marked as stopped."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def usage(message: str) -> NoReturn:
    """Leave because the command was given wrongly."""
    fail(message, USAGE)


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Say why on standard error, and leave."""
    typer.echo(f"error: {many_lines(message)}", err=True)
    sys.exit(code)
