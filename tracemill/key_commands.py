"""`tracemill keys add|list|revoke`: keys for clients that are not to hold the upstream's."""

import json
from pathlib import Path
from typing import Annotated

import typer

from proxy.calls.key_file import add_key, read_keys, revoke_key
from tracemill.terminal_text import one_line

keys = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make and revoke keys for the clients of the proxy."
)

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TRACEMILL_DATA_DIR", help="The data directory of `tracemill serve`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_DATA_DIR = Path("tracemill-data")


@keys.command("add")
def add(
    name: Annotated[str, typer.Option(help="What the key is called in traces and in the list.")],
    route: Annotated[
        list[str] | None, typer.Option(help="A route that the key opens; give it again for more. [default: all]")
    ] = None,
    data_dir: DataDir = _DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only its digest is kept.

    A running server knows it within two seconds.
    """
    made = add_key(data_dir, name, tuple(route or ()))
    if as_json:
        typer.echo(json.dumps({"name": made.entry.name, "key": made.key, "routes": list(made.entry.routes)}))
        return
    typer.echo(made.key)
    typer.echo("Keep it now; it cannot be shown again. Clients send it as their API key.", err=True)


@keys.command("list")
def list_keys(data_dir: DataDir = _DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the keys by name, with their last four characters."""
    entries = read_keys(data_dir).keys
    if as_json:
        rows = [{name: value for name, value in entry.to_json().items() if name != "digest"} for entry in entries]
        typer.echo(json.dumps({"data": rows}))
        return
    if not entries:
        typer.echo("No keys.")
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        opens = ", ".join(entry.routes) or "all routes"
        typer.echo(one_line(f"{entry.name:<{width}}  …{entry.last4}  {entry.created_at:%Y-%m-%d}  {opens}"))


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    data_dir: DataDir = _DEFAULT_DATA_DIR,
) -> None:
    """Take a key away.

    A running server refuses it within two seconds; calls that are under way go on.
    """
    revoke_key(data_dir, name)
    typer.echo(f"{name} is revoked.")
