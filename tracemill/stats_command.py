"""`tracemill stats`: what calls used and cost, how fast they were, and how many failed."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from store.data_files import TRACES_FILE
from store.errors import FilterError
from store.traces import TraceReader
from store.usage_stats import Dimension, Selection, UsageReport, read_usage
from tracemill.count_text import counted
from tracemill.fitted_table import Column, fitted_lines, terminal_width
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_commands import check_folder

_DEFAULT_DATA_DIR = Path("tracemill-data")
_WIDTH = 48


def stats(
    by: Annotated[str, typer.Option(help=f"What to group by, with commas between: {', '.join(Dimension)}.")] = "model",
    since: Annotated[str | None, typer.Option(help="First day, such as 2026-01-31, or how long ago: 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day, such as 2026-01-31.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Only traces that this filter selects; all of them have to be read then.")
    ] = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
    ] = _DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell calls, tokens, cost, latency and errors. Days are those of UTC."""
    selection = Selection(_day(since, "--since"), _day(until, "--until"), where)
    report = asyncio.run(_read(data_dir, _dimensions(by), selection))
    if as_json:
        sys.stdout.buffer.write(report.to_json() + b"\n")
        return
    lines = usage_lines(report, terminal_width())
    sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode())
    total = report.total.to_json()
    if report.uncounted:
        typer.echo(f"Of an earlier version still to be counted: at most {counted(report.uncounted, 'call')}.", err=True)
    if total["unpriced_calls"]:
        unpriced = counted(total["unpriced_calls"], "call")
        typer.echo(f"{unpriced} without a price, so not in the cost: see docs/cost.md.", err=True)
    if total["unreported_calls"]:
        unreported = counted(total["unreported_calls"], "call")
        typer.echo(f"{unreported} without usage: the upstream did not report it.", err=True)


async def _read(data_dir: Path, by: list[Dimension], selection: Selection) -> UsageReport:
    try:
        selection.filter()
    except FilterError as error:
        raise typer.BadParameter(many_lines(str(error)), param_hint="--where") from error
    async with await TraceReader.open(check_folder(data_dir) / TRACES_FILE) as reader:
        return await read_usage(reader, by, selection)


def _dimensions(given: str) -> list[Dimension]:
    try:
        return [Dimension(name.strip()) for name in given.split(",") if name.strip()]
    except ValueError as error:
        message = f"{error}; expected names with commas between them: {', '.join(Dimension)}."
        raise typer.BadParameter(message, param_hint="--by") from error


def _day(given: str | None, option: str) -> date | None:
    if given is None:
        return None
    try:
        if given.endswith("d") and given[:-1].isdigit() and len(given) < 6:
            return datetime.now(UTC).date() - timedelta(days=int(given[:-1]))
        return date.fromisoformat(given)
    except (ValueError, OverflowError) as error:
        message = f'"{one_line(given, 20)}"; expected a day such as 2026-01-31, or 7d.'
        raise typer.BadParameter(message, param_hint=option) from error


def usage_lines(report: UsageReport, width: int | None) -> Iterator[str]:
    """Give the lines of a table of the groups, then of their total; what is no name stands to the right.

    Args:
        report: What the store tells.
        width: Of the terminal, in cells; None for no bound.
    """
    groups = list(report.rows())
    names = [
        Column(by.value, [*(_name(row[by.value]) for row in groups), "" if place else "total"])
        for place, by in enumerate(report.by)
    ]
    counted = [_cells(row) for row in (*groups, report.total.to_json())]
    numbers = [Column(name, [cells[name] for cells in counted], is_number=True) for name in counted[-1]]
    return fitted_lines([*names, *numbers], width)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """Give cells by column; what one looks for first stands first."""
    rate = "" if not row["errors"] else f" ({row['error_rate']:.1%})"
    return {
        "calls": f"{row['calls']:,}",
        "errors": f"{row['errors']:,}{rate}",
        "input": f"{row['input_tokens']:,}",
        "output": f"{row['output_tokens']:,}",
        "cost $": "-" if row["cost_usd"] is None else f"{row['cost_usd']:.4f}",
        "no price": f"{row['unpriced_calls'] + row['unreported_calls']:,}",
        "p50 ms": _milliseconds(row["duration_ms"]["p50"]),
        "p95 ms": _milliseconds(row["duration_ms"]["p95"]),
        "ttft p50": _milliseconds(row["ttft_ms"]["p50"]),
        "cached": f"{row['cached_tokens']:,}",
        "reasoning": f"{row['reasoning_tokens']:,}",
    }


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _name(value: str | None) -> str:
    return "-" if value is None else one_line(value, _WIDTH)
