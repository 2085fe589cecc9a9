"""`tracemill erase` and `tracemill audit`: having traces go, and seeing what was asked of the store."""

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer

from store.change import ChangeKind, ChangeRecord, list_changes
from store.data_files import TRACES_FILE
from store.erasing.preview import Preview, preview
from store.erasing.progress import Progress, find_progress
from store.erasing.selector import Selector, SelectorKind
from store.errors import DatabaseMissingError, FilterError
from store.filter import parse_filter
from store.search_query import SearchOffError
from store.trace_lookup import find_trace
from store.traces import TraceReader
from tracemill.change_request import apply_written, ask, make_change
from tracemill.count_text import counted
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_commands import check_folder

_DEFAULT_DATA_DIR = Path("tracemill-data")
_PARTIAL = 4
_LOOK_S = 0.2
_FAILURES = 3
"""After so many nobody waits for it any more; the server, or the next command, tries again."""
_PATIENCE_S = 24 * 3600.0

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def erase(
    trace: Annotated[
        list[str] | None,
        typer.Option("--trace", help="A trace id, a completion's id or an x-request-id; several times."),
    ] = None,
    session: Annotated[str | None, typer.Option(help="All traces of this session.")] = None,
    user: Annotated[str | None, typer.Option(help="All traces of this user.")] = None,
    conversation: Annotated[str | None, typer.Option(help="All traces of this conversation, by its id.")] = None,
    where: Annotated[str | None, typer.Option(help="All traces that this filter selects; docs/filter.md.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before.")] = False,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Erase traces with all that was made of them, whether or not a server is running.

    docs/retention.md tells what goes, what stays, and how long until the last byte is gone. It cannot be undone.
    """
    check_folder(data_dir)
    selector = asyncio.run(_selector(data_dir, trace or [], session, user, conversation, where))
    found = asyncio.run(_preview(data_dir, selector))
    if dry_run:
        typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(_preview_lines(found)))
        return
    if not yes:
        _confirm(found)
    change = make_change(ChangeKind.ERASE, json.loads(selector.encode()))
    record = ask(data_dir, change)
    if record is not None and "error" in record.result:
        _fail(str(record.result["error"]))
    progress = _wait_until_done(data_dir, change.id, is_quiet=as_json)
    is_done = progress is not None and progress.finished_at is not None
    if as_json:
        told: dict[str, Any] = {"id": str(change.id), "phase": "asked"} if progress is None else progress.to_json()
        typer.echo(json.dumps(told))
    else:
        typer.echo("\n".join(_done_lines(change.id, progress)))
    if not is_done:
        raise typer.Exit(_PARTIAL)


def audit(
    kind: Annotated[ChangeKind | None, typer.Option(help="Only changes of this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List what was asked of the store, the last first: deletions, imports, exports, feedback."""
    check_folder(data_dir)
    found = asyncio.run(_changes(data_dir, kind, limit))
    if as_json:
        typer.echo(json.dumps({"data": [_record_json(record) for record in found]}))
        return
    if not found:
        typer.echo("Nothing was asked of this store.")
    for record in found:
        who = one_line(record.asked_by or "-", 24)
        state = "" if record.finished_at is not None else "  (under way)"
        result = one_line(json.dumps(record.result), 200)
        typer.echo(f"{record.asked_at:%Y-%m-%d %H:%M:%S}  {record.kind:<9} {who:<12} {result}{state}")


async def _selector(
    data_dir: Path,
    traces: list[str],
    session: str | None,
    user: str | None,
    conversation: str | None,
    where: str | None,
) -> Selector:
    named = {"session": session, "user": user, "conversation": conversation, "where": where}
    given = {name: value for name, value in named.items() if value}
    if len(given) + bool(traces) != 1:
        raise typer.BadParameter("give exactly one of --trace, --session, --user, --conversation and --where.")
    if traces:
        return Selector.of_traces([await _trace_id(data_dir, each) for each in traces])
    name, value = next(iter(given.items()))
    if where is not None:
        try:
            parse_filter(value)
        except FilterError as error:
            raise typer.BadParameter(many_lines(str(error)), param_hint="--where") from error
    selector = Selector(SelectorKind(name), value)
    try:
        selector.check()
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint=f"--{name}") from error
    return selector


async def _trace_id(data_dir: Path, named: str) -> UUID:
    try:
        return UUID(named)
    except ValueError:
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            found = await find_trace(reader, named)
    if found is None:
        _fail(f'no trace, completion or request in {data_dir} has the id "{one_line(named, 80)}".')
    return found.id


async def _preview(data_dir: Path, selector: Selector) -> Preview:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        try:
            return await reader.look(lambda db: preview(db, data_dir, selector))
        except SearchOffError:
            _fail("texts are not indexed here, so text cannot be searched. Set search to true and restart the server.")


async def _changes(data_dir: Path, kind: ChangeKind | None, limit: int) -> list[ChangeRecord]:
    try:
        async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
            return await reader.look(lambda db: list_changes(db, kind, limit=limit))
    except DatabaseMissingError:
        return []


def _preview_lines(found: Preview) -> list[str]:
    since = "" if found.first_at is None else f", {found.first_at} to {found.last_at}"
    lines = [counted(found.traces, "trace") + since]
    lines += [f"dataset to be marked: {folder}" for folder in found.datasets]
    return lines


def _confirm(found: Preview) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; give --yes, or --dry-run to see what would go.")
    for line in _preview_lines(found):
        typer.echo(line, err=True)
    typer.confirm("Erase them? This cannot be undone.", abort=True, err=True)


def _wait_until_done(data_dir: Path, change: UUID, *, is_quiet: bool) -> Progress | None:
    """Wait for the server, or do it; None when it was not even begun."""
    deadline = time.monotonic() + _PATIENCE_S
    told = ""
    while True:
        progress = asyncio.run(_progress(data_dir, change))
        if progress is None or progress.finished_at is not None or time.monotonic() >= deadline:
            return progress
        if progress.result.get("failures", 0) >= _FAILURES:
            return progress
        now = f"{progress.phase}: {counted(progress.result.get('traces', 0), 'trace')}"
        if not is_quiet and now != told:
            typer.echo(now, err=True)
            told = now
        time.sleep(_LOOK_S)
        apply_written(data_dir, change)


async def _progress(data_dir: Path, change: UUID) -> Progress | None:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return await reader.look(partial(find_progress, id_=change))


def _done_lines(change: UUID, progress: Progress | None) -> list[str]:
    if progress is None:
        return [f"On the disk as {change}; the server has not come to it yet."]
    lines = [f"Erased {counted(progress.result.get('traces', 0), 'trace')}."]
    more = {"dead_letters": "dead letters", "feedback": "entries of feedback", "teacher_calls": "calls of teachers"}
    lines += [f"  {progress.result[name]:,} {words}" for name, words in more.items() if progress.result.get(name)]
    lines += [f"  dataset that held some of it, now marked: {folder}" for folder in progress.result.get("datasets", [])]
    if "error" in progress.result:
        lines.append(f"It fails ({progress.result['error']}); it is tried again, and `tracemill doctor` tells of it.")
    if progress.finished_at is None:
        lines.append(f"Not all is gone yet ({progress.phase}); the server goes on. `tracemill audit` tells when it is.")
    lines.append("Backups and exports made before are yours to delete: docs/retention.md.")
    return lines


def _record_json(record: ChangeRecord) -> dict[str, Any]:
    return {
        "id": str(record.id),
        "kind": record.kind,
        "asked_at": record.asked_at.isoformat(),
        "asked_by": record.asked_by,
        "applied_at": record.applied_at.isoformat(),
        "finished_at": record.finished_at and record.finished_at.isoformat(),
        "result": dict(record.result),
    }


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {many_lines(message)}", err=True)
    raise typer.Exit(1)
