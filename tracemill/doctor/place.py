"""What the self-check is about: a data directory, the servers that run on it, and the settings in force."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.errors import SettingsError
from proxy.metrics.folder import find_folders, is_in_use
from proxy.serve.notice import Notice, read_notice, shown_settings
from proxy.settings import DEFAULTS
from proxy.settings_source import load_settings
from store import finding
from store.data_files import TRACES_FILE
from store.finding import Finding
from store.lock_holder import lock_holder

_ANY_UPSTREAM = "http://127.0.0.1/v1"


@dataclass
class Place:
    """One data directory.

    Attributes:
        settings: Those in force, fit to be shown; the defaults where nobody tells.
        servers: The notices of the servers that run on it, as far as they can be seen from here.
        writer_pid: Process that holds the right to write `traces.db`; None when it cannot be told.
        has_writer: Whether a process holds it.
        is_database_bad: Whether it was found that the database of traces cannot be read as it should.
    """

    data_dir: Path
    config: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    servers: list[Notice] = field(default_factory=list)
    has_writer: bool = False
    writer_pid: int | None = None
    is_database_bad: bool = False

    @property
    def traces(self) -> Path:
        """The database of traces."""
        return self.data_dir / TRACES_FILE

    def look_for_writer(self) -> None:
        """Note who holds the right to write the database of traces."""
        self.has_writer, self.writer_pid = lock_holder(self.traces.with_name(TRACES_FILE + ".lock"))

    def setting(self, name: str) -> Any:  # noqa: ANN401 - a JSON value
        """Give a setting in force, its default where nothing is known."""
        return self.settings.get(name, DEFAULTS[name])


def check_servers(place: Place) -> Iterator[Finding]:
    """Find out who runs, and note it for the other checks."""
    leftovers: list[str] = []
    for folder in find_folders():
        if not is_in_use(folder):
            leftovers.append(folder.name)
        elif (notice := read_notice(folder)) is not None and _is_same(notice.data_dir, place.data_dir):
            place.servers.append(notice)
    place.look_for_writer()
    for server in place.servers:
        what = f"process {server.pid}: proxy {server.proxy}, admin {server.admin}."
        facts = {"pid": server.pid, "proxy": server.proxy, "admin": server.admin, "started_at": server.started_at}
        yield Finding(finding.SERVER, what, facts)
    if not place.servers:
        if place.has_writer:
            who = f"process {place.writer_pid}" if place.writer_pid else "a process elsewhere"
            yield Finding(finding.SERVER_UNSEEN, f"{who} writes to {TRACES_FILE}.", {"pid": place.writer_pid})
        else:
            yield Finding(finding.SERVER_STOPPED, f"no server runs on {place.data_dir}.")
    if leftovers:
        what = f"{len(leftovers)} folders of counts without a server: {', '.join(leftovers[:3])}."
        yield Finding(finding.METRICS_LEFTOVER, what, {"folders": leftovers})


def check_settings(place: Place) -> Iterator[Finding]:
    """Tell the settings in force: a running server's, or those that `serve` would find here."""
    if place.servers:
        place.settings = place.servers[0].settings
        yield _settings(place.settings, f"process {place.servers[0].pid}")
        return
    given = {"data_dir": place.data_dir}
    try:
        settings = load_settings(given, place.config)
    except SettingsError as error:
        try:
            settings = load_settings({**given, "upstream": _ANY_UPSTREAM}, place.config)
        except SettingsError:
            yield Finding(finding.SETTINGS_INVALID, str(error).replace("\n", " "))
            return
        place.settings = {**shown_settings(settings), "upstream": None}
        yield Finding(finding.SETTINGS_INCOMPLETE, "no upstream is set here.", {"settings": place.settings})
        return
    place.settings = shown_settings(settings)
    yield _settings(place.settings, "file and environment")


def changed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is as by default."""
    ignored: tuple[object, ...] = (None, "unset", [], ())
    return {
        name: value
        for name, value in settings.items()
        if value not in ignored and str(value) != str(DEFAULTS.get(name))
    }


def _settings(settings: dict[str, Any], source: str) -> Finding:
    told = ", ".join(f"{name}={_short(value)}" for name, value in changed_settings(settings).items())
    what = f"of {source}: {told or 'nothing'}; all else as by default."
    return Finding(finding.SETTINGS, what, {"source": source, "settings": settings})


def _short(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(str(item.get('name', '…')) if isinstance(item, dict) else str(item) for item in value)}]"
    return str(value)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False
