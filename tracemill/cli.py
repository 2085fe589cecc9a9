"""The command line: one sub-command per job, and one place where errors become messages and exit codes."""

import os
import sys

import typer

from processing.errors import ProcessingError
from proxy.errors import ProxyError
from store.errors import StoreError
from tracemill.demo_command import demo
from tracemill.process_commands import predictions, process, status
from tracemill.serve_command import serve
from tracemill.trace_commands import export, traces

EXIT_BAD_INPUT = 1

app = typer.Typer(
    name="tracemill",
    help="Record every chat completion on its way, and turn what was recorded into training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(demo)
app.add_typer(traces, name="traces")
app.command()(export)
app.command()(process)
app.command()(status)
app.command()(predictions)


def main() -> None:
    """Run the command line; files that it makes are for this user alone."""
    os.umask(0o077)
    try:
        app()
    except (ProxyError, StoreError, ProcessingError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except BrokenPipeError:
        # The reader of our output has seen enough (`tracemill export -o - | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
