"""How the demo looks: progress bars on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tracemill.demo.dataset_files import ChangedRow
from tracemill.terminal_text import one_line

_SHOWN_CHARACTERS = 110


def step(console: Console, text: str) -> None:
    """Say in one line what happens now."""
    console.print(f"[bold]{escape(text)}[/bold]", soft_wrap=True)


def note(console: Console, text: str) -> None:
    """Say a detail of the step."""
    console.print(f"  {escape(text)}", soft_wrap=True, highlight=False)


@contextmanager
def progress(console: Console, title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs; without a terminal, one line at its end.

    Yields:
        What to call when one more of `total` is done.
    """
    done = 0
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(title, total=total)

        def advance() -> None:
            nonlocal done
            done += 1
            bars.advance(bar)

        yield advance
    if not console.is_terminal:
        note(console, f"{title}: {done} of {total}")


def counts(console: Console, title: str, numbers: Mapping[str, Any] | None) -> None:
    """Show names with their numbers, one to a line."""
    note(console, title)
    table = Table(show_header=False, box=None, padding=(0, 0, 0, 3))
    table.add_column()
    table.add_column(justify="right")
    for name, number in (numbers or {"none": ""}).items():
        table.add_row(
            escape(name), "" if number is None else f"{number:.3f}" if isinstance(number, float) else str(number)
        )
    console.print(table)


def funnel(console: Console, stages: Sequence[Mapping[str, Any]]) -> None:
    """Show what entered and left each stage, and why the rest ended there."""
    note(console, "the funnel")
    for stage in stages:
        ended = [f"{state} as {why}: {n}" for state, reasons in stage["ended"].items() for why, n in reasons.items()]
        passed = f"{stage['in']:>4} in, {stage['out']:>4} on   {'; '.join(ended)}"
        note(console, f" {stage['stage']:<11}{stage['of']:<14}{passed.rstrip()}")


def rows(console: Console, changed: Sequence[ChangedRow]) -> None:
    """Show rows as the customer's message, the base model's reply and the label that replaced it."""
    for number, row in enumerate(changed, 1):
        note(console, f"{number}. asked     {one_line(row.asked, _SHOWN_CHARACTERS)}")
        note(console, f"   recorded  {one_line(row.recorded, _SHOWN_CHARACTERS)}")
        note(console, f"   label     {one_line(row.label, _SHOWN_CHARACTERS)}")


def files(console: Console, paths: Mapping[str, Path]) -> None:
    """Show where the files are, relative to the current folder where they lie below it."""
    for path in paths.values():
        note(console, str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
