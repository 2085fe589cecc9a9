"""`tracemill traces list|show` and `tracemill export`: reading what was captured, also while the server runs."""

import asyncio
import json
import signal
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, Protocol
from uuid import UUID

import typer

from store.data_files import TRACES_FILE
from store.errors import FilterError, StoreError
from store.export import ExportFile, ExportFormat, export_lines
from store.feedback import Feedback, along, feedback_of
from store.filter import Filter, parse_filter
from store.gap import gap_sentences, gaps_between
from store.raw_calls import find_raw_call
from store.trace import Trace
from store.trace_json import page_json, trace_json
from store.trace_lookup import find_trace, ids_beginning
from store.trace_order import Order
from store.traces import TracePage, TraceReader
from store.unchanged_view import OrphanedLogError
from tracemill.count_text import counted
from tracemill.fitted_table import terminal_width
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_text import table_lines, trace_lines

traces = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at captured traces.")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        help='Only traces that this filter selects, such as "model = gpt-4o and complete", or '
        '"created_at >= 2026-01-31 and tag.team in (search, chat)". docs/filter.md has all of it.',
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_DATA_DIR = Path("tracemill-data")


@traces.command("list")
def list_traces(
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on after the page that gave this cursor.")] = None,
    order: Annotated[
        Order,
        typer.Option(help="What comes first; with a minus sign the largest. Traces without the value are left out."),
    ] = Order.NEWEST,
    as_json: AsJson = False,
) -> None:
    """List traces, newest first."""
    page = asyncio.run(_read_page(data_dir, read_where(where), cursor, limit, order))
    if as_json:
        _print_bytes(page_json(page) + b"\n")
        return
    if page.search_behind:
        typer.echo(f"{counted(page.search_behind, 'message')} not in the index for search yet.", err=True)
    if not page.summaries:
        typer.echo("No traces." if where is None else "No traces that this filter selects.")
        return
    _print_lines(table_lines(page.summaries, terminal_width()))
    for summary in page.summaries:
        if summary.id in page.snippets:
            _print_lines([f"{summary.id}  {one_line(page.snippets[summary.id], 200)}"])
    if page.next_cursor is not None:
        typer.echo(f"More: --cursor {page.next_cursor}")
    _tell_gaps(
        data_dir,
        page.summaries[-1].created_at if page.next_cursor is not None else None,
        page.summaries[0].created_at if cursor is not None else None,
    )


@traces.command("show")
def show_trace(
    trace_id: Annotated[
        str, typer.Argument(help="A trace id or its beginning, a completion's id, or an answer's x-request-id.")
    ],
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show the bytes that were sent and came back, while they are kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one trace with its messages."""
    trace, feedback = asyncio.run(_read_trace(data_dir, trace_id))
    if trace is None:
        _fail(
            f'no trace, completion or request in {data_dir} has the id "{one_line(trace_id, 80)}". '
            "`tracemill traces list` shows them."
        )
    if raw:
        _show_raw(data_dir, trace.id, as_json=as_json)
    elif as_json:
        _print_bytes(trace_json(trace, feedback) + b"\n")
    else:
        _print_lines(trace_lines(trace, feedback))


def _show_raw(data_dir: Path, trace_id: UUID, *, as_json: bool) -> None:
    kept = asyncio.run(_read_raw(data_dir, trace_id))
    if kept is None:
        _fail(
            f"the bytes of {trace_id} are not kept, or not any longer; raw_retention_days and raw_retention_bytes say "
            "for how long they are, and docs/trace-format.md of which calls."
        )
    # Imported here: whoever looks at traces does not wait for the proxy.
    from tracemill.raw_text import raw_json, raw_lines

    call = raw_json(kept)
    if as_json:
        _print_bytes(json.dumps(call).encode() + b"\n")
    else:
        _print_lines(raw_lines(call))


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
    selection = read_where(where)
    with _left_in_order(), _output(output) as target:
        tally = asyncio.run(_write(data_dir, selection, target, export_format, include_incomplete=include_incomplete))
    # With `-o -` the lines have standard output to themselves.
    typer.echo(json.dumps(tally.to_json()) if as_json else tally.sentence(output), err=output == "-")
    if where is None or tally.first_at is not None:
        _tell_gaps(data_dir, *((None, None) if where is None else (tally.first_at, tally.last_at)))


def _tell_gaps(data_dir: Path, since: datetime | None, until: datetime | None) -> None:
    """Say on standard error what was not recorded in that time, lest what is shown be taken for all there was."""
    with suppress(OrphanedLogError, sqlite3.Error):
        for sentence in gap_sentences(gaps_between(data_dir / TRACES_FILE, since, until)):
            typer.echo(f"{sentence}; see `tracemill doctor`.", err=True)


@contextmanager
def _left_in_order() -> Iterator[None]:
    """Let SIGTERM end the block by an error instead of at once, so that no half of a file stays behind."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Target(Protocol):
    def write(self, line: bytes, /) -> object: ...


@dataclass
class _Tally:
    """Where every trace of the selection went."""

    lines: int = 0
    exported: int = 0
    incomplete: int = 0
    metadata_only: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    def saw(self, created_at: datetime) -> None:
        """Note the time of a trace of the selection; they come in its order."""
        self.first_at = self.first_at or created_at
        self.last_at = created_at

    def to_json(self) -> dict[str, int]:
        return {
            "lines": self.lines,
            "traces": self.exported,
            "left_out_incomplete": self.incomplete,
            "left_out_metadata_only": self.metadata_only,
        }

    def sentence(self, output: str) -> str:
        where = "standard output" if output == "-" else output
        text = f"Wrote {counted(self.lines, 'line')} from {counted(self.exported, 'trace')} to {where}."
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
        async for trace, feedback in along(reader, reader.traces(where)):
            tally.saw(trace.created_at)
            if not trace.messages and not trace.replies:
                tally.metadata_only += 1
            elif not trace.is_complete and not include_incomplete:
                tally.incomplete += 1
            else:
                tally.exported += 1
                for line in export_lines(trace, export_format, feedback):
                    tally.lines += 1
                    target.write(line)
    return tally


async def _read_page(data_dir: Path, where: Filter | None, cursor: str | None, limit: int, order: Order) -> TracePage:
    """Read on until there are so many, since a page is only what was found within a moment."""
    async with await _open(data_dir) as reader:
        page = await reader.page(where, cursor, limit, order)
        while page.next_cursor is not None and (missing := limit - len(page.summaries)) > 0:
            more = await reader.page(where, page.next_cursor, missing, order)
            page = more._replace(
                summaries=[*page.summaries, *more.summaries], snippets={**page.snippets, **more.snippets}
            )
        return page


async def _read_trace(data_dir: Path, trace_id: str) -> tuple[Trace | None, Sequence[Feedback]]:
    async with await _open(data_dir) as reader:
        trace = await find_trace(reader, trace_id)
        if trace is None and (ids := await ids_beginning(reader, trace_id)):
            if len(ids) > 1:
                shown = ", ".join(map(str, ids[:3]))
                _fail(f'several trace ids begin with "{one_line(trace_id, 80)}": {shown} and more. Give more of it.')
            trace = await reader.trace(ids[0])
        feedback = [] if trace is None else await reader.look(partial(feedback_of, trace_id=trace.id))
        return trace, feedback


async def _read_raw(data_dir: Path, trace_id: UUID) -> bytes | None:
    async with await _open(data_dir) as reader:
        return await reader.look(lambda db: find_raw_call(db, trace_id))


async def _open(data_dir: Path) -> TraceReader:
    return await TraceReader.open(check_folder(data_dir) / TRACES_FILE)


def check_folder(data_dir: Path) -> Path:
    """Give a data directory back if it is there. Raises StoreError if not."""
    if not data_dir.is_dir():
        raise StoreError(
            f"{data_dir}: there is no such data directory. Name the one that `tracemill serve` uses with --data-dir "
            "or TRACEMILL_DATA_DIR.",
            data_dir,
        )
    return data_dir


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {many_lines(message)}", err=True)
    raise typer.Exit(1)


def read_where(text: str | None) -> Filter | None:
    """Read the option `--where`, so that a mistake in it is one of usage."""
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
        _fail(f'"{output}" cannot be written: {error.strerror or error}.')


def _print_lines(lines: Iterable[str]) -> None:
    # As bytes: a lone surrogate cannot come out of `terminal_text`, but any script can, whatever the locale says.
    _print_bytes("".join(f"{line}\n" for line in lines).encode())


def _print_bytes(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
