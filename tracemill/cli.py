"""The command line: one sub-command per job, and one place where errors become messages and exit codes.

What stands here of a command is its name and its line in the overview. Its module is imported when the command is used,
so that `tracemill --help` does not wait for a web server, and `tracemill traces` not for the processing.
"""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tracemill.ending import ending_in_order

_Command = TyperCommand | TyperGroup
_Body = Callable[..., None]


class LazyGroup(TyperGroup):
    """A group in which each command is a function that imports and gives what the command runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, _Command | None, list[str]]:  # noqa: ANN401
        """Find the command that the arguments name, and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, None if found is None or name is None else self.load(name), rest

    def load(self, name: str) -> _Command:
        """Import one command."""
        loader = self.commands[name].callback
        assert loader is not None, f"{name} has no loader"  # noqa: S101
        body = loader()
        if not isinstance(body, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(name)(body)
            body = alone
        command = typer.main.get_command(body)
        assert isinstance(command, TyperCommand | TyperGroup)  # noqa: S101
        command.name = name
        return command


app = typer.Typer(
    cls=LazyGroup,
    name="tracemill",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 bad input, 2 wrong usage, 3 an upstream failed, 4 done in part, 5 a cutoff is not "
    "met, 130 interrupted.",
)


def load_all() -> TyperGroup:
    """Give the command line with every command imported, for pages and tests about all of them; not to be run."""
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)  # noqa: S101
    group.commands = {name: group.load(name) for name in group.commands}
    return group


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"tracemill {version('tracemill')}")
        raise typer.Exit


@app.callback()
def tracemill(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Record every chat completion on its way, and turn what was recorded into training data."""


@app.command()
def serve() -> _Body:
    """Forward every call to the upstream, untouched, and record it."""
    from tracemill.serve_command import serve

    return serve


@app.command()
def demo() -> _Body:
    """Run the whole path once: calls through the proxy, traces, a dataset. Needs no key and no internet."""
    from tracemill.demo_command import demo

    return demo


@app.command()
def keys() -> typer.Typer:
    """Make and revoke keys for the clients of the proxy."""
    from tracemill.key_commands import keys

    return keys


@app.command()
def traces() -> typer.Typer:
    """Look at captured traces."""
    from tracemill.trace_commands import traces

    return traces


@app.command()
def conversations() -> typer.Typer:
    """Look at calls that belong together."""
    from tracemill.conversation_commands import conversations

    return conversations


@app.command()
def feedback() -> typer.Typer:
    """Say what a trace is worth, and see what was said."""
    from tracemill.feedback_command import feedback

    return feedback


@app.command()
def stats() -> _Body:
    """Tell calls, tokens, cost, latency and errors."""
    from tracemill.stats_command import stats

    return stats


@app.command()
def export() -> _Body:
    """Write traces as JSON lines, oldest first."""
    from tracemill.trace_commands import export

    return export


@app.command(name="import")
def import_() -> _Body:
    """Read calls that others recorded into the store, whether or not a server is running."""
    from tracemill.import_command import import_calls

    return import_calls


@app.command()
def erase() -> _Body:
    """Erase traces with all that was made of them, whether or not a server is running."""
    from tracemill.erase_command import erase

    return erase


@app.command()
def vacuum() -> _Body:
    """Write the databases anew, as small as they can be, while no server runs."""
    from tracemill.vacuum_command import vacuum

    return vacuum


@app.command()
def audit() -> _Body:
    """List what was asked of the store, the last first: deletions, imports, exports, feedback."""
    from tracemill.erase_command import audit

    return audit


@app.command()
def reingest() -> _Body:
    """Make traces again of their raw calls, and replace those that this version makes otherwise."""
    from tracemill.reingest_command import reingest

    return reingest


@app.command()
def plan() -> _Body:
    """Tell what `tracemill process` would buy: calls, tokens and money by step."""
    from tracemill.process_commands import plan

    return plan


@app.command()
def process() -> _Body:
    """Filter, convert, split and relabel traces into a dataset."""
    from tracemill.process_commands import process

    return process


@app.command()
def status() -> _Body:
    """Tell where a run stands and, once it is done, how good the base model is."""
    from tracemill.process_commands import status

    return status


@app.command()
def predictions() -> _Body:
    """Write the base model's predictions on the test set, one JSON object per line."""
    from tracemill.process_commands import predictions

    return predictions


@app.command()
def reprocess() -> _Body:
    """Process the traces of a run again under other settings, and show first which rows that changes."""
    from tracemill.reprocess_command import reprocess

    return reprocess


@app.command()
def report() -> _Body:
    """Write the report of a run: composition, funnel, scores, examples, agreement, cost, warnings."""
    from tracemill.report_command import report

    return report


@app.command()
def why() -> _Body:
    """Tell how a row came about: its trace, scores, candidates, votes, judge, and the line of the file it stands in."""
    from tracemill.why_command import why

    return why


@app.command()
def where() -> _Body:
    """Tell which runs, versions of datasets and rows hold a trace: what to make again when it has to go."""
    from tracemill.why_command import where

    return where


@app.command()
def clusters() -> typer.Typer:
    """Group traces by what their users want, and make datasets of the groups."""
    from tracemill.cluster_commands import clusters

    return clusters


@app.command()
def datasets() -> typer.Typer:
    """Make, look at, curate, freeze and compare versions of datasets."""
    # The modules that add a command to the group, which they do when they are imported.
    from tracemill import curate_commands, dataset_export_command, upload_command  # noqa: F401
    from tracemill.dataset_commands import datasets

    return datasets


@app.command()
def review() -> _Body:
    """Go through the rows of the active version that are worth a person's time, with single keys."""
    from tracemill.review_command import review

    return review


@app.command()
def generate() -> _Body:
    """Have a teacher answer prompts several times and keep the answers that a judge likes best."""
    from tracemill.generate_command import generate

    return generate


@app.command()
def evaluate() -> _Body:
    """Have models answer the rows of a frozen version, and score them: metrics, cost per row, latency."""
    from tracemill.evaluate_commands import evaluate

    return evaluate


@app.command()
def compare() -> _Body:
    """Compare evaluations answer by answer: paired differences with intervals, and a verdict for each."""
    from tracemill.evaluate_commands import compare

    return compare


@app.command()
def evaluations() -> typer.Typer:
    """List evaluations, show one, and write what its model answered."""
    from tracemill.evaluation_commands import evaluations

    return evaluations


@app.command()
def jobs() -> typer.Typer:
    """Look at jobs that were filed with a server, cancel, resume and delete them."""
    from tracemill.job_commands import jobs

    return jobs


@app.command()
def backup() -> _Body:
    """Copy a data directory while the server goes on, and check the copy."""
    from tracemill.backup_command import backup_data

    return backup_data


@app.command()
def doctor() -> _Body:
    """Check a data directory and the server on it, and tell what mends what is wrong."""
    from tracemill.doctor_command import doctor

    return doctor


def main() -> None:
    """Run the command line; files that it makes are for this user alone."""
    os.umask(0o077)
    with ending_in_order():
        app()


if __name__ == "__main__":
    main()
