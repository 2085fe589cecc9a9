"""`tracemill backup`: a copy of a data directory, made while the server goes on."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from store import backup
from store.data_files import TRACES_FILE
from store.database_check import view
from store.errors import StoreError
from store.schema_version import TRACES
from store.verify import verify as verify_ids
from tracemill.count_text import counted
from tracemill.data_backup import Manifest, check_backup, make_backup
from tracemill.terminal_text import one_line


def backup_data(
    target: Annotated[Path, typer.Argument(help="The folder to make, or with --verify the one to check.")],
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
    ] = Path("tracemill-data"),
    verify: Annotated[
        bool, typer.Option("--verify", help="Check a backup that was made before, and derive every id in it again.")
    ] = False,
    with_raw: Annotated[bool, typer.Option("--with-raw", help="Copy raw calls too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy a data directory while the server goes on, and check the copy.

    The copy is a data directory itself: to restore it, stop the server, put it into the old one's place, and start the
    server. docs/backup.md tells what that means for calls made since.
    """
    if verify:
        manifest = check_backup(target)
        _verify(target, manifest)
    else:
        with _left_in_order(), _progress() as progress:
            manifest = make_backup(data_dir, target, progress, has_raw=with_raw)
    if as_json:
        facts = {"backup": str(target), "created_at": manifest.created_at, "databases": manifest.databases}
        typer.echo(json.dumps({**facts, "files": len(manifest.files), "is_verified": verify}))
    else:
        done = "is whole" if verify else "made and checked"
        typer.echo(one_line(f"{target} {done}: {counted(manifest.traces, 'trace')} as of {manifest.created_at}."))


def _verify(target: Path, manifest: Manifest) -> None:
    """Derive the ids again, where this version can: a database of an older schema is checked for its rows alone."""
    if manifest.databases.get(TRACES_FILE, {}).get("schema_version") != TRACES.version:
        return
    found = view(target / TRACES_FILE, lambda connection: verify_ids(connection, lambda _done, _total: None))
    if found.wrong or found.missing:
        first = (*found.mismatches, *found.dangling)[0]
        raise StoreError(
            f"{target}: {found.wrong + found.missing:,} faults, which {TRACES_FILE} had when it was copied; the first: "
            f"{first}. Take an older backup, or see `tracemill doctor --verify`.",
            target / TRACES_FILE,
        )


@contextmanager
def _left_in_order() -> Iterator[None]:
    """Let SIGTERM end the block by an error instead of at once, so that no half of a backup stays behind."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress() -> Iterator[backup.Progress]:
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with Progress(
        TextColumn("copying"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(), console=console,
        transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("copying", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
