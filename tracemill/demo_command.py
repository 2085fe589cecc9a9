"""`tracemill demo`: the whole path on this machine, with scripted models."""

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from tracemill.demo.admin_api import AdminError
from tracemill.demo.children import ChildError
from tracemill.demo.run import MissingClientError, Stage, run_demo


def demo(
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept; made when it is not there.")] = Path(
        "tracemill-demo"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the proxy; 0 picks a free one.")] = 0,
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the admin side; 0 picks a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what happened as one JSON object.")] = False,
) -> None:
    """Run the whole path once: calls through the proxy, traces, a dataset. Needs no key and no internet."""
    # A stop by signal has to end the children too; SystemExit leaves through every `finally`.
    signal.signal(signal.SIGTERM, _leave)
    console = Console(stderr=as_json, highlight=False)
    try:
        happened = run_demo(Stage(data_dir.resolve(), console), port=port, admin_port=admin_port, keep=keep)
    except (MissingClientError, ChildError, AdminError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(happened, indent=2))


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
