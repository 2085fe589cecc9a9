"""`tracemill vacuum`: writing the databases anew while nothing serves."""

import json
from pathlib import Path
from typing import Annotated

import typer

from store.data_files import TRACES_FILE, WORK_FILE
from store.retention_rewrite import rewrite

_DEFAULT_DATA_DIR = Path("tracemill-data")
_FILES = (TRACES_FILE, WORK_FILE)


def vacuum(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
    ] = _DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the databases anew, as small as they can be, while no server runs.

    Needed once for a database of an earlier version, so that it can shrink by itself, and after an erasure that took
    a large share of all traces. It needs room for a second copy of the largest one.
    """
    found = {name: rewrite(data_dir / name) for name in _FILES if (data_dir / name).exists() or name == _FILES[0]}
    if as_json:
        typer.echo(json.dumps({name: done._asdict() for name, done in found.items()}))
        return
    for name, done in found.items():
        typer.echo(f"{name}: {done.before:,} bytes before, {done.after:,} now")
