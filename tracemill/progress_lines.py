"""Progress of a run: one line per stage, moving on a terminal and plain elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from processing.progress import Progress, StageProgress, silent

_STEPS_PER_STAGE = 10
"""Plain lines per stage: enough to see it move, few enough to read in a log."""
_QUIET_S = 30.0
"""A plain line comes at least so often while calls come and go: a slow stage is not a dead one."""
_RATE_AFTER_S = 1.0
"""A rate of less time than that is chance."""
_MINUTE, _HOUR = 60, 3600


@contextmanager
def show_progress(*, is_quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Show progress on standard error for as long as the block runs; standard output stays for results."""
    console = Console(stderr=True)
    if is_quiet:
        yield silent
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _BarProgress(bars, clock)
    else:
        yield _LineProgress(console, clock)


def _bars(console: Console) -> Bars:
    columns = (
        TextColumn("{task.description:>19}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[calls]}", style="dim"),
        TimeElapsedColumn(),
    )
    return Bars(*columns, console=console)


@dataclass(slots=True)
class _Stage:
    """When a stage began, and with how much done: what was known already says nothing of its pace."""

    began: float
    done: int


class _Pace:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stages: dict[str, _Stage] = {}

    def words(self, progress: StageProgress) -> str:
        """Say how fast a stage goes and how long it will take; nothing before that can be told."""
        now = self._clock()
        stage = self._stages.setdefault(progress.stage, _Stage(now, progress.done))
        passed, done = now - stage.began, progress.done - stage.done
        if passed < _RATE_AFTER_S or done <= 0:
            return ""
        told = f", {done / passed:.1f}/s"
        left = progress.total - progress.done
        return f"{told}, {_duration(left * passed / done)} left" if left > 0 else told


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _MINUTE} min {whole % _MINUTE:02} s" if whole >= _MINUTE else f"{whole} s"


def _calls(progress: StageProgress) -> str:
    told = f"{progress.paid} paid, {progress.cached} cached"
    told += f", {progress.failed} failed" if progress.failed else ""
    told += f", {progress.in_flight} in flight" if progress.in_flight else ""
    return told + (f", cost {progress.cost:.4g}" if progress.cost else "")


class _BarProgress:
    def __init__(self, bars: Bars, clock: Callable[[], float]) -> None:
        self._bars = bars
        self._pace = _Pace(clock)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: StageProgress, /) -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=progress.total, calls="")
        told = _calls(progress) + self._pace.words(progress)
        self._bars.update(self._tasks[progress.stage], completed=progress.done, calls=told)


class _LineProgress:
    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._pace = _Pace(clock)
        self._said: dict[str, int] = {}
        self._said_at = clock()

    def __call__(self, progress: StageProgress, /) -> None:
        pace = self._pace.words(progress)
        step = progress.done * _STEPS_PER_STAGE // progress.total if progress.total else _STEPS_PER_STAGE
        if self._said.get(progress.stage, -1) >= step and self._clock() - self._said_at < _QUIET_S:
            return
        self._said[progress.stage] = step
        self._said_at = self._clock()
        told = f"{progress.stage}: {progress.done}/{progress.total} ({_calls(progress)}{pace})"
        self._console.print(told, highlight=False, soft_wrap=True)
