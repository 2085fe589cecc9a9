"""`tracemill serve`: the proxy, ingest and the admin side on one machine."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.errors import StartError
from proxy.ingest.ingest import TRACES_FILE
from proxy.serve.logs import set_up_logging
from proxy.serve.supervisor import Addresses, run_supervisor
from proxy.settings import ServeSettings, load_settings
from store.errors import WriterBusyError
from store.traces import TraceWriter


def serve(
    upstream: Annotated[
        str | None, typer.Option(help="Base URL of the upstream as clients write it, https://host/v1.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address the proxy listens on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the proxy; 0 picks a free one. [default: 8080]")] = None,
    admin_host: Annotated[
        str | None, typer.Option(help="Address of the admin side; off loopback it needs a token. [default: 127.0.0.1]")
    ] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of the admin side; 0 picks a free one. [default: 8081]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of journal and databases. [default: tracemill-data]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Data worker processes. [default: 1]")] = None,
    connect_timeout_s: Annotated[
        float | None, typer.Option(help="Longest wait for a connection to the upstream. [default: 5]")
    ] = None,
    read_timeout_s: Annotated[float | None, typer.Option(help="Longest silence of an upstream. [default: 600]")] = None,
    drain_timeout_s: Annotated[
        float | None, typer.Option("--drain-timeout", help="Seconds calls in flight get after a stop. [default: 20]")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [default: info]")] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json. [default: console]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings. [default: tracemill.yaml, if it is there]")
    ] = None,
) -> None:
    """Forward every call to the upstream, untouched, and record it.

    Every setting can also stand in the YAML file or the environment (TRACEMILL_PORT); docs/settings.md lists them all.
    """
    given = {
        "upstream": upstream,
        "host": host,
        "port": port,
        "admin_host": admin_host,
        "admin_port": admin_port,
        "data_dir": data_dir,
        "workers": workers,
        "connect_timeout_s": connect_timeout_s,
        "read_timeout_s": read_timeout_s,
        "drain_timeout_s": drain_timeout_s,
        "log_level": log_level,
        "log_format": log_format,
    }
    flags: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(flags, config)
    set_up_logging(settings.log_level, settings.log_format)
    _make_data_dir(settings.data_dir)
    asyncio.run(_check_database(settings))
    run_supervisor(settings, _say_ready)


def _say_ready(addresses: Addresses) -> None:
    typer.echo(f"tracemill ready: proxy {addresses.proxy}/v1 admin {addresses.admin}")


def _make_data_dir(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{path}: cannot make the data directory ({error.strerror}); give another --data-dir."
        raise StartError(message) from error


async def _check_database(settings: ServeSettings) -> None:
    """Open the database once before anything listens, so that one of another version is said now and not later."""
    try:
        writer = await TraceWriter.open(settings.data_dir / TRACES_FILE)
    except WriterBusyError:
        return  # another server is using it; our ingest will wait for its turn
    await writer.close()
