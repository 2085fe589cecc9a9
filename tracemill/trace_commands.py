"""`tracemill traces list|show` and `tracemill export`: reading what was captured, also while the server runs."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn, Protocol

import typer
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from store import json_text
from store.errors import FilterError, StoreError
from store.export import ExportFile, ExportFormat, export_lines
from store.filter import Filter, parse_filter
from store.json_text import JsonValue
from store.trace import Trace
from store.trace_json import summary_json, trace_json
from store.trace_lookup import find_trace
from store.traces import TracePage, TraceReader, TraceSummary
from tracemill.terminal_text import many_lines, one_line

traces = typer.Typer(no_args_is_help=True, help="Look at captured traces.")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
Where = Annotated[str | None, typer.Option("--where", help="Only traces that this filter expression selects.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_DATA_DIR = Path("tracemill-data")
_PIPE_WIDTH = 200
_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("id", "left"),
    ("arrived (UTC)", "left"),
    ("model", "left"),
    ("outcome", "left"),
    ("status", "right"),
    ("messages", "right"),
    ("tokens", "right"),
    ("ms", "right"),
)


@traces.command("list")
def list_traces(
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on after the page that gave this cursor.")] = None,
    as_json: AsJson = False,
) -> None:
    """List traces, newest first."""
    page = asyncio.run(_read_page(data_dir, _read_where(where), cursor, limit))
    if as_json:
        data = b",".join(summary_json(summary) for summary in page.summaries)
        _print_bytes(b'{"data":[' + data + b'],"next_cursor":' + json_text.dumps(page.next_cursor) + b"}\n")
        return
    if not page.summaries:
        typer.echo("No traces." if where is None else "No traces that this filter selects.")
        return
    _console().print(_table(page.summaries))
    if page.next_cursor is not None:
        typer.echo(f"More: --cursor {page.next_cursor}")


@traces.command("show")
def show_trace(
    trace_id: Annotated[str, typer.Argument(help="A trace id, a completion's id, or an answer's x-request-id.")],
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one trace with its messages."""
    trace = asyncio.run(_read_trace(data_dir, trace_id))
    if trace is None:
        _fail(f"No trace, completion or request in {data_dir} has the id {one_line(trace_id, 80)!r}.")
    if as_json:
        _print_bytes(trace_json(trace) + b"\n")
        return
    for line in _lines_of(trace):
        _console().print(Text(line), soft_wrap=True)


def export(
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write; - for standard output.")],
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    export_format: Annotated[
        ExportFormat,
        typer.Option("--format", help="traces: what `process --traces` reads; openai: for fine-tuning."),
    ] = ExportFormat.TRACES,
    include_incomplete: Annotated[
        bool, typer.Option("--all", help="Also traces that are not whole, with metadata.outcome.")
    ] = False,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Write traces as JSON lines, oldest first."""
    selection = _read_where(where)
    with _output(output) as target:
        tally = asyncio.run(_write(data_dir, selection, target, export_format, include_incomplete=include_incomplete))
    # With `-o -` the lines have standard output to themselves.
    typer.echo(json.dumps(tally.to_json()) if as_json else tally.sentence(output), err=output == "-")


class _Target(Protocol):
    def write(self, line: bytes, /) -> object: ...


@dataclass
class _Tally:
    """Where every trace of the selection went."""

    lines: int = 0
    exported: int = 0
    incomplete: int = 0
    metadata_only: int = 0

    def to_json(self) -> dict[str, int]:
        return {
            "lines": self.lines,
            "traces": self.exported,
            "left_out_incomplete": self.incomplete,
            "left_out_metadata_only": self.metadata_only,
        }

    def sentence(self, output: str) -> str:
        where = "standard output" if output == "-" else output
        text = f"Wrote {self.lines} lines from {self.exported} traces to {where}."
        if self.incomplete:
            text += f" Left out: {self.incomplete} incomplete; --all adds them."
        if self.metadata_only:
            text += f" Left out: {self.metadata_only} kept as metadata only, with nothing to export."
        return text


async def _write(
    data_dir: Path, where: Filter | None, target: _Target, export_format: ExportFormat, *, include_incomplete: bool
) -> _Tally:
    tally = _Tally()
    async with await _open(data_dir) as reader:
        async for trace in reader.traces(where):
            if not trace.messages and not trace.replies:
                tally.metadata_only += 1
            elif not trace.is_complete and not include_incomplete:
                tally.incomplete += 1
            else:
                tally.exported += 1
                for line in export_lines(trace, export_format):
                    tally.lines += 1
                    target.write(line)
    return tally


async def _read_page(data_dir: Path, where: Filter | None, cursor: str | None, limit: int) -> TracePage:
    async with await _open(data_dir) as reader:
        return await reader.page(where, cursor, limit)


async def _read_trace(data_dir: Path, trace_id: str) -> Trace | None:
    async with await _open(data_dir) as reader:
        return await find_trace(reader, trace_id)


async def _open(data_dir: Path) -> TraceReader:
    return await TraceReader.open(_check_folder(data_dir) / "traces.db")


def _check_folder(data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise StoreError(
            f"{data_dir}: there is no such data directory. Name the one that `tracemill serve` uses with --data-dir "
            "or TRACEMILL_DATA_DIR.",
            data_dir,
        )
    return data_dir


def _fail(message: str) -> NoReturn:
    typer.echo(many_lines(message), err=True)
    raise typer.Exit(1)


def _read_where(text: str | None) -> Filter | None:
    if text is None:
        return None
    try:
        return parse_filter(text)
    except FilterError as error:
        raise typer.BadParameter(many_lines(str(error)), param_hint="--where") from error


@contextmanager
def _output(output: str) -> Iterator[_Target]:
    """Open what the lines go to; a file appears only when all of them were written."""
    try:
        if output == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:
            with ExportFile(Path(output)) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(f"{output}: cannot be written: {error.strerror or error}.")


def _console() -> Console:
    """Make the console: as wide as the terminal, and wide enough for any table where there is none."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _table(summaries: list[TraceSummary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, justify in _COLUMNS:
        # An id that is cut short cannot be copied into `traces show`.
        table.add_column(name, justify=justify, no_wrap=True, min_width=36 if name == "id" else None)
    for summary in summaries:
        cells = (
            str(summary.id),
            f"{summary.created_at:%Y-%m-%d %H:%M:%S}",
            one_line(summary.requested_model or "-", 24),
            summary.outcome.value if summary.is_complete or summary.outcome.value != "completed" else "incomplete",
            str(summary.status or "-"),
            str(summary.message_count),
            _tokens(summary.prompt_tokens, summary.completion_tokens),
            "-" if summary.duration_ms is None else f"{summary.duration_ms:.0f}",
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _tokens(prompt: int | None, completion: int | None) -> str:
    if prompt is None and completion is None:
        return "-"
    return f"{'?' if prompt is None else prompt}+{'?' if completion is None else completion}"


def _lines_of(trace: Trace) -> Iterator[str]:
    yield f"trace     {trace.id}"
    yield f"arrived   {trace.created_at.isoformat()}"
    yield f"call      {one_line(trace.method)} {one_line(trace.path)} to {one_line(trace.upstream)}"
    yield f"outcome   {trace.outcome.value}, status {trace.status or '-'}, {_duration(trace)}"
    yield f"model     {one_line(trace.requested_model or '-')}, served as {one_line(trace.served_model or '-')}"
    yield f"tokens    {_tokens(trace.prompt_tokens, trace.completion_tokens)}"
    labels = {"session": trace.session, "user": trace.user, **trace.tags}
    if any(labels.values()):
        yield "labels    " + ", ".join(f"{one_line(name)}={one_line(value)}" for name, value in labels.items() if value)
    if trace.flags:
        yield f"flags     {', '.join(sorted(trace.flags))}"
    if trace.error is not None:
        yield f"error     {one_line(trace.error, 2000)}"
    for message in trace.messages:
        yield from _message_lines(json_text.loads(message))
    for reply in trace.replies:
        finish_reason = one_line(reply.finish_reason or "no finish reason")
        yield from _message_lines(json_text.loads(reply.message), f" (reply {reply.index}, {finish_reason})")


def _message_lines(message: dict[str, JsonValue], note: str = "") -> Iterator[str]:
    yield ""
    yield f"── {one_line(str(message.get('role')))}{note}"
    for name, value in message.items():
        if name == "role" or value is None:
            continue
        text = value if isinstance(value, str) else json_text.dumps(value).decode()
        yield many_lines(text) if name == "content" else f"{one_line(name)}: {many_lines(text)}"


def _duration(trace: Trace) -> str:
    return "no duration" if trace.duration_ms is None else f"{trace.duration_ms:.0f} ms"


def _print_bytes(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
