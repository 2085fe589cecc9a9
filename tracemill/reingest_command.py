"""`tracemill reingest`: traces made again of their raw calls, with what this version knows.

Every trace of the selection that has a raw call is made again here, beside a server that goes on; only those that come
out different are asked to be replaced, a few at a time. The replacing is a change like any other: a running server
applies it, between two batches of calls and by its own version; without one, this command does.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from proxy.errors import SettingsError
from proxy.ingest.kept_bytes import derive_again
from proxy.journal.change_writer import ChangeWriter
from proxy.journal.writer import JOURNAL_FOLDER
from proxy.serve.ingest_process import settings_as_served
from store.change import ChangeKind
from store.data_files import TRACES_FILE
from store.errors import StoreError
from store.filter import Filter
from store.raw_calls import raw_calls_of
from store.reingest import NOT_TO_BE_MADE_AGAIN, bundles
from store.trace import Trace
from store.traces import TraceReader
from tracemill.change_request import apply_written, make_change
from tracemill.trace_commands import AsJson, DataDir, Where, read_where

_LOOK_AT = 100
"""Traces whose raw calls are looked for at once: about what lies together in a file."""
_CHANGES_AT_ONCE = 4
"""Ingest applies what it reads at once in one transaction, and stores no call meanwhile."""
_PARTIAL = 4


@dataclass
class _Tally:
    """Where every trace of the selection went."""

    traces: int = 0
    same: int = 0
    changed: int = 0
    without_raw: int = 0
    failed: int = 0
    replaced: int = 0
    changed_ids: list[UUID] = field(default_factory=list)

    def to_json(self, *, is_dry: bool) -> dict[str, object]:
        counts = {name: count for name, count in asdict(self).items() if name != "changed_ids"}
        return {**counts, "is_dry_run": is_dry}

    def sentence(self, *, is_dry: bool) -> str:
        done = "would be replaced" if is_dry else f"differ, {self.replaced:,} replaced"
        return (
            f"{self.traces:,} traces: {self.same:,} same, {self.changed:,} {done}, {self.without_raw:,} without a raw "
            f"call, {self.failed:,} failed."
        )


def reingest(
    data_dir: DataDir = Path("tracemill-data"),
    where: Where = None,
    since: Annotated[
        str | None, typer.Option(help="Only traces made since then, as 2026-01-31 or 2026-01-31T06:00:00Z.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare and count, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make traces again of their raw calls, and replace those that this version makes otherwise.

    Ids, feedback and the place in time stay. Raw calls are kept for raw_retention_days; traces without one stay as they
    are, and so do those that cannot be made again. The exit code is 4 when there are any of the latter.
    """
    read_where(where)
    selection = read_where(_expression(where, since))
    if not (data_dir / TRACES_FILE).is_file():
        raise StoreError(f"{data_dir}: there is no {TRACES_FILE}. Name the data directory with --data-dir.", data_dir)
    settings = settings_as_served(data_dir)
    if settings.is_redacting:
        raise SettingsError(
            f"calls of {data_dir} are redacted before they are stored, so their bytes are not kept and no trace can be "
            "made again; with redact: off new calls can."
        )
    tally = asyncio.run(_compare(data_dir, selection, settings.max_capture_bytes))
    if tally.changed_ids and not dry_run:
        for result in _replace(data_dir, tally.changed_ids):
            tally.replaced += result.get("replaced", 0)
            tally.failed += result.get("failed", 0)
    typer.echo(json.dumps(tally.to_json(is_dry=dry_run)) if as_json else tally.sentence(is_dry=dry_run))
    if tally.failed:
        raise typer.Exit(_PARTIAL)


def _expression(where: str | None, since: str | None) -> str | None:
    if since is None:
        return where
    try:
        moment = datetime.fromisoformat(since)
    except ValueError as error:
        raise typer.BadParameter(f"{since!r} is no date or time", param_hint="--since") from error
    time = f"created_at >= {(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()}"
    return f"({where}) and {time}" if where and where.strip() else time


async def _compare(data_dir: Path, where: Filter | None, max_decoded_bytes: int) -> _Tally:
    tally = _Tally()
    waiting: list[Trace] = []
    async with (
        await TraceReader.open(data_dir / TRACES_FILE) as reader,
        await TraceReader.open(data_dir / TRACES_FILE) as raw_reader,
    ):
        async for trace in reader.traces(where):
            waiting.append(trace)
            if len(waiting) >= _LOOK_AT:
                await _look(raw_reader, waiting, tally, max_decoded_bytes)
                waiting = []
        await _look(raw_reader, waiting, tally, max_decoded_bytes)
    return tally


async def _look(reader: TraceReader, traces: list[Trace], tally: _Tally, max_decoded_bytes: int) -> None:
    kept = await reader.look(lambda db: raw_calls_of(db, [trace.id for trace in traces]))
    for trace in traces:
        tally.traces += 1
        if trace.id not in kept or trace.flags & NOT_TO_BE_MADE_AGAIN:
            tally.without_raw += 1
            continue
        try:
            again = derive_again(kept[trace.id], max_decoded_bytes=max_decoded_bytes)
        except Exception:  # noqa: BLE001 - a call that cannot be understood is counted, whatever it does to the parsers
            tally.failed += 1
            continue
        if again == trace:
            tally.same += 1
        else:
            tally.changed += 1
            tally.changed_ids.append(trace.id)


def _replace(data_dir: Path, ids: list[UUID]) -> Iterator[dict[str, int]]:
    """Ask for the traces to be replaced, wait for it bundle by bundle, and give what came of each."""
    changes = [make_change(ChangeKind.REINGEST, bundle) for bundle in bundles(ids)]
    with closing(ChangeWriter(data_dir / JOURNAL_FOLDER)) as writer:
        for at in range(0, len(changes), _CHANGES_AT_ONCE):
            some = changes[at : at + _CHANGES_AT_ONCE]
            writer.write(*some)
            for change in some:
                record = apply_written(data_dir, change.id)
                if record is None:
                    raise StoreError(
                        f"{data_dir}: the server has not replaced the traces yet. It will; `tracemill doctor` tells "
                        "how far it is behind.",
                        data_dir,
                    )
                if "error" in record.result:
                    raise StoreError(f"{data_dir}: traces were not replaced: {record.result['error']}.", data_dir)
                yield {name: count for name, count in record.result.items() if isinstance(count, int)}
