"""`tracemill import`: calls that others recorded, read from files into the store, line by line.

Files of any size are read as they come, and the journal never holds more than a bounded stretch of them. Killed at any
moment and given again, the command ends with the same store: each call is known by what it says.
"""

import asyncio
import getpass
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from proxy.ingest.import_writing import ImportWriting, import_report
from proxy.serve.ingest_process import ingest_as_served
from store.export import ExportFile
from store.recorded.import_reading import ImportReader, Rejected
from store.recorded.source_format import AskedFormat
from tracemill.count_text import counted
from tracemill.terminal_text import many_lines, one_line

_BAD_INPUT, _PARTIAL, _INTERRUPTED = 1, 4, 130
_BLOCK_BYTES: Final = 1024 * 1024
_TOLD: Final = 3
"""Rejected lines that are shown; all of them are in the file."""


def import_calls(
    files: Annotated[list[str], typer.Argument(help="Files of JSON lines, plain or as gzip or zstd; - for input.")],
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
    ] = Path("tracemill-data"),
    source_format: Annotated[
        AskedFormat, typer.Option("--format", help="How the lines are written; auto tells line by line.")
    ] = AskedFormat.AUTO,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="NAME=VALUE: a tag for every trace; repeatable.")
    ] = None,
    rejected: Annotated[
        Path, typer.Option("--rejected", help="Where lines go that cannot be read, when there are any.")
    ] = Path("rejected.jsonl"),
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read calls that others recorded into the store, whether or not a server is running.

    A call that is there already is not stored twice, so a file may be imported again, or after the command was killed.
    docs/import.md tells what is read from each format.
    """
    tags = _read_tags(tag or [])
    _check_files(files)
    run = _Run(ImportReader(source_format.source_format, tags=tags), files, rejected, is_strict=strict)
    try:
        if not dry_run:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        report = _read(run) if dry_run else asyncio.run(_import(run, data_dir))
    except OSError as error:
        _fail(f"{data_dir} cannot be written: {error.strerror or error}. Mend that, and give the same command again.")
    except KeyboardInterrupt:
        typer.echo("Interrupted. Nothing is stored twice when the same command is given again.", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    typer.echo(json.dumps({**report, "is_dry_run": dry_run}) if as_json else _sentences(report, run, data_dir))
    if report["rejected"]:
        raise typer.Exit(_PARTIAL if report["traces"] else _BAD_INPUT)


class _Run:
    """The reading of all files, with what is told meanwhile."""

    def __init__(self, reader: ImportReader, files: list[str], rejected: Path, *, is_strict: bool) -> None:
        self.reader = reader
        self.files = files
        self.rejected = rejected
        self.is_strict = is_strict
        self.first_rejected: list[Rejected] = []
        self._began = time.monotonic()
        self._told_at = self._began

    def reads(self) -> Iterator[Any]:
        """Give what every file holds; a record that cannot be read goes into the file of those."""
        with ExitStack() as stack:
            aside: ExportFile | None = None
            for name in self.files:
                for read in self.reader.read(_blocks(name), "standard input" if name == "-" else name):
                    self._tell()
                    if not isinstance(read, Rejected):
                        yield read
                        continue
                    if self.is_strict:
                        _fail(
                            f"{read.source}:{read.line}: {read.detail} ({read.reason.value}). Mend the line, or leave "
                            "out --strict to set it aside and go on."
                        )
                    try:
                        aside = aside or stack.enter_context(ExportFile(self.rejected))
                        aside.write(read.to_json())
                    except OSError as error:
                        _fail(f'"{self.rejected}" cannot be written: {error.strerror or error}. See --rejected.')
                    if len(self.first_rejected) < _TOLD:
                        self.first_rejected.append(read)
            self._tell(is_last=True)

    def _tell(self, *, is_last: bool = False) -> None:
        """Show how far it is: one line that is written over on a terminal, one in ten seconds elsewhere."""
        is_terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now - self._told_at < (0.2 if is_terminal else 10.0) and not (is_last and self._told_at > self._began):
            return
        self._told_at = now
        lines = sum(each.lines for each in self.reader.files)
        set_aside = sum(sum(each.rejected.values()) for each in self.reader.files)
        told = f"{lines:,} lines read, {set_aside:,} rejected, {lines / max(now - self._began, 1e-3):,.0f} lines/s"
        end = "\n" if is_last or not is_terminal else ""
        sys.stderr.write(f"\r\x1b[K{told}{end}" if is_terminal else f"{told}{end}")
        sys.stderr.flush()


def _read(run: _Run) -> dict[str, Any]:
    for _ in run.reads():
        pass
    return import_report([each.to_json() for each in run.reader.files], None)


async def _import(run: _Run, data_dir: Path) -> dict[str, Any]:
    async with ImportWriting(data_dir, asked_by=_who(), take_in=ingest_as_served) as writing:
        for trace in run.reads():
            await writing.add(trace)
        files = [each.to_json() for each in run.reader.files]
        await writing.finish(lambda counts: import_report(files, counts))
        return import_report(files, writing.counts)


def _blocks(name: str) -> Iterator[bytes]:
    """Give a file in blocks; a pipe's as they come."""
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb", buffering=0) as file:
            while block := os.read(file.fileno(), _BLOCK_BYTES):
                yield block
    except OSError as error:
        _fail(f'"{name}" cannot be read: {error.strerror or error}. Check the path and its permissions.')


def _check_files(files: list[str]) -> None:
    """Find out that a file is missing before another one is read for an hour."""
    if files.count("-") > 1:
        raise typer.BadParameter("standard input can be read once.", param_hint="FILES")
    for name in files:
        if name == "-":
            continue
        try:
            with Path(name).open("rb"):
                pass
        except OSError as error:
            _fail(f'"{name}" cannot be read: {error.strerror or error}. Check the path and its permissions.')


def _read_tags(given: list[str]) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for tag in given:
        name, sign, value = tag.partition("=")
        if not name or not sign:
            raise typer.BadParameter(f"{one_line(tag, 80)!r} is no NAME=VALUE.", param_hint="--tag")
        tags[name] = value
    return tags


def _sentences(report: Mapping[str, Any], run: _Run, data_dir: Path) -> str:
    formats: Counter[str] = Counter()
    for each in report["files"]:
        formats.update(each["formats"])
    told = ", ".join(f"{count:,} {name}" for name, count in formats.most_common())
    read, held = counted(report["lines"], "line"), counted(report["records"], "record")
    lines = [f"Read {read}: {held}{f' ({told})' if told else ''}."]
    if report["stored"] is None:
        would = counted(report["traces"], "trace")
        lines.append(f"Nothing was stored; {would} would have been, but for those that are there already.")
    else:
        stored = counted(report["stored"], "trace")
        lines.append(f"Stored {stored} in {data_dir}; already there: {report['duplicates']:,}.")
        if report["left_out"]:
            lines.append(f"Left out {report['left_out']:,}: they were erased before, or no column can hold them.")
    if report["joined"]:
        lines.append(f"Further replies of the trace before them: {counted(report['joined'], 'line')}.")
    if report["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in report["reasons"].items())
        lines.append(f"Set aside {report['rejected']:,} in {run.rejected}: {reasons}. The first:")
        lines += [
            f"  {one_line(each.source, 80)}:{each.line}: {one_line(each.detail, 200)}" for each in run.first_rejected
        ]
    return "\n".join(lines)


def _who() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {many_lines(message)}", err=True)
    raise typer.Exit(_BAD_INPUT)
