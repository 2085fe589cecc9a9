"""`tracemill serve`: the proxy, ingest and the admin side on one machine."""

import asyncio
import inspect
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from proxy.errors import StartError
from proxy.serve.logs import set_up_logging
from proxy.settings import ServeSettings
from proxy.settings_source import load_settings
from store.data_files import TRACES_FILE
from store.errors import StoreError, WriterBusyError
from store.sqlite_version import has_wal_reset_bug
from store.traces import TraceWriter
from tracemill.serving import Serving

_log = logging.getLogger("tracemill.serve")

WITHOUT_FLAG = frozenset(
    {"admin_read_token", "admin_token", "job_teachers", "prices", "redact_allow", "redact_rules", "routes"}
)
"""Settings that the command line cannot give: a secret would stand in the list of processes, and a list has no flag."""

_FLAG_NAMES = {"drain_timeout_s": "--drain-timeout"}
_TYPES = {int: int, float: float, bool: bool, Path: Path}


def flag_of(setting: str) -> str:
    """Return the flag that gives a setting."""
    return _FLAG_NAMES.get(setting, "--" + setting.replace("_", "-"))


def serve(config: Path | None = None, **flags: Any) -> None:  # noqa: ANN401 - checked by the settings' model
    """Forward every call to the upstream, untouched, and record it.

    Every setting can also stand in the YAML file or the environment (TRACEMILL_PORT); docs/settings.md lists them all.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = load_settings(given, config)
    set_up_logging(settings.log_level, settings.log_format)
    if settings.no_capture:
        _log.warning("no_capture is on: calls are served, and none is recorded")
    else:
        _log.info(_sqlite())
        _make_data_dir(settings.data_dir)
        asyncio.run(_check_database(settings))
    Serving.of(settings, given, config).become()


def _parameters() -> Iterator[inspect.Parameter]:
    """Make the command's options out of the settings, so that each is declared once."""
    annotations = get_type_hints(ServeSettings)
    for field in fields(ServeSettings):
        name, annotation = field.name, annotations[field.name]
        if name in WITHOUT_FLAG:
            continue
        kinds = [kind for kind in (annotation, *get_args(annotation)) if kind in _TYPES]
        shown = False if field.default is None else str(field.default)
        option = typer.Option(flag_of(name), help=field.metadata["description"], show_default=shown)
        yield _parameter(name, kinds[0] if kinds else str, option)
    option = typer.Option("--config", help="YAML file of settings.", show_default="tracemill.yaml, if it is there")
    yield _parameter("config", Path, option)


def _parameter(name: str, kind: type, option: Any) -> inspect.Parameter:  # noqa: ANN401 - typer's own type
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


serve.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]
serve.__annotations__ = {each.name: each.annotation for each in _parameters()}


def _sqlite() -> str:
    words = f"the store is written by SQLite {sqlite3.sqlite_version}"
    if has_wal_reset_bug():
        words += ", which has the WAL-reset bug: one connection writes and checkpoints, all others only read"
    return words


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
    except StoreError as error:
        raise StartError(f"{error} To serve meanwhile without recording: --no-capture.") from error
    await writer.close()
