"""Progress of a run: bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from processing.progress import Progress, StageProgress, silent

_STEPS_PER_STAGE = 10
"""Plain lines per stage: enough to see it move, few enough to read in a log."""


@contextmanager
def show_progress(*, is_quiet: bool = False) -> Iterator[Progress]:
    """Show progress on standard error for as long as the block runs; standard output stays for results."""
    console = Console(stderr=True)
    if is_quiet:
        yield silent
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _BarProgress(bars)
    else:
        yield _LineProgress(console)


def _bars(console: Console) -> Bars:
    columns = (
        TextColumn("{task.description:>19}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[calls]}", style="dim"),
        TimeElapsedColumn(),
    )
    return Bars(*columns, console=console)


def _calls(progress: StageProgress) -> str:
    told = f"{progress.paid} paid, {progress.cached} cached"
    told += f", {progress.failed} failed" if progress.failed else ""
    return told + (f", {progress.in_flight} in flight" if progress.in_flight else "")


class _BarProgress:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: StageProgress, /) -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=progress.total, calls="")
        self._bars.update(self._tasks[progress.stage], completed=progress.done, calls=_calls(progress))


class _LineProgress:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, int] = {}

    def __call__(self, progress: StageProgress, /) -> None:
        step = progress.done * _STEPS_PER_STAGE // progress.total if progress.total else _STEPS_PER_STAGE
        if self._said.get(progress.stage, -1) >= step:
            return
        self._said[progress.stage] = step
        self._console.print(
            f"{progress.stage}: {progress.done}/{progress.total} ({_calls(progress)})", highlight=False, soft_wrap=True
        )
