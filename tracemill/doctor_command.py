"""`tracemill doctor`: is everything as it should be, and if not, what mends it."""

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from store.finding import GROUPS, Finding, Severity
from store.verify import Progress
from tracemill.doctor.checkup import examine
from tracemill.terminal_text import one_line

_COLOURS = {Severity.OK: "green", Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_SEVERITY_WIDTH = max(map(len, Severity))
_LEAST_WIDTH = 40


def doctor(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
    ] = Path("tracemill-data"),
    config: Annotated[
        Path | None, typer.Option("--config", help="The YAML file of settings that `tracemill serve` is given.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also derive every id again and follow every reference.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a data directory and the server on it, and tell what mends what is wrong.

    Nothing is changed. The exit code is 0 unless a finding is an error. docs/doctor.md tells what each finding means.
    """
    with _progress(is_shown=not as_json) as progress:
        findings = examine(data_dir, config, progress=progress if verify else None)
    is_healthy = all(each.kind.severity is not Severity.ERROR for each in findings)
    if as_json:
        counts = Counter(each.kind.severity for each in findings)
        told = {
            "data_dir": str(data_dir),
            "is_healthy": is_healthy,
            "is_verified": verify,
            "counts": {severity.value: counts[severity] for severity in Severity},
            "findings": [each.to_json() for each in findings],
        }
        typer.echo(json.dumps(told))
    else:
        for line in report_lines(data_dir, findings, shutil.get_terminal_size().columns if _is_terminal() else None):
            typer.echo(line)
    if not is_healthy:
        raise typer.Exit(1)


def report_lines(data_dir: Path, findings: Iterable[Finding], width: int | None) -> Iterator[str]:
    """Give the report for people, grouped and aligned; `typer.echo` takes the colours out off a terminal.

    Args:
        data_dir: Named in the first line.
        findings: In the order of the groups.
        width: Of the terminal; None to leave lines as long as they are.
    """
    found = list(findings)
    names = max((len(each.kind.name) for each in found), default=0)
    yield typer.style(one_line(f"tracemill doctor {data_dir}"), bold=True)
    for group in GROUPS:
        of_group = [each for each in found if each.kind.group == group]
        if of_group:
            yield f"\n{group}"
        for each in of_group:
            yield from _finding_lines(each, names, width)
    yield f"\n{_sum(found)}."


def _sum(found: Iterable[Finding]) -> str:
    counts = Counter(each.kind.severity for each in found)
    bad = [(counts[severity], severity.value) for severity in (Severity.ERROR, Severity.WARNING) if counts[severity]]
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in bad) or "Nothing is wrong"


def _finding_lines(each: Finding, names: int, width: int | None) -> Iterator[str]:
    kind = each.kind
    margin = 2 + _SEVERITY_WIDTH + 2 + names + 2
    severity = typer.style(f"{kind.severity.value:<{_SEVERITY_WIDTH}}", fg=_COLOURS[kind.severity])
    first, *rest = _wrapped(each.what, margin, width)
    yield f"  {severity}  {kind.name:<{names}}  {first}"
    yield from (" " * margin + line for line in rest)
    if kind.remedy and kind.severity is not Severity.OK:
        for number, line in enumerate(_wrapped(kind.remedy, margin + 2, width)):
            yield " " * margin + ("→ " if number == 0 else "  ") + line


def _wrapped(text: str, margin: int, width: int | None) -> list[str]:
    safe = one_line(text)
    if width is None:
        return [safe]
    return textwrap.wrap(safe, max(_LEAST_WIDTH, width - margin), break_on_hyphens=False) or [""]


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[Progress]:
    """Show how far the verification is, on a terminal."""
    console = Console(stderr=True)
    if not is_shown or not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("verifying", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
