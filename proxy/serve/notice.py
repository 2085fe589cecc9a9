"""The notice of a running server: where it listens and by which settings, for the self-check of the same user.

It lies in the folder of its counts, which is locked while the server lives and goes away with it, so that a data
directory holds nothing that can be out of date, and a full disk hides no server. Secrets are told as set or unset.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import orjson

from proxy.settings import ServeSettings
from proxy.settings_json import to_json

_FILE = "server"
"""Not `.json`: those are the processes' counts."""
_SECRET_WORDS = ("token", "headers")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


class Notice(NamedTuple):
    """What a server tells of itself.

    Attributes:
        folder: Where its processes tell their counts.
        data_dir: Absolute.
        started_at: Seconds of the epoch.
        settings: Those in force, as JSON values, fit to be shown.
    """

    folder: Path
    pid: int
    data_dir: Path
    proxy: str
    admin: str
    started_at: float
    settings: dict[str, Any]


def post_notice(folder: Path, settings: ServeSettings, *, proxy: str, admin: str, started_at: float) -> None:
    """Write, or replace, the notice of this process's server.

    Args:
        folder: The folder of its counts.
        settings: Those in force.
        proxy: URL of the data port as bound.
        admin: URL of the admin side as bound.
        started_at: Seconds of the epoch.

    Raises:
        OSError: The folder cannot be written.
    """
    notice = {
        "pid": os.getpid(),
        "data_dir": str(settings.data_dir.absolute()),
        "proxy": proxy,
        "admin": admin,
        "started_at": started_at,
        "settings": shown_settings(settings),
    }
    new = folder / f"{_FILE}.new"
    new.write_bytes(orjson.dumps(notice))
    new.chmod(0o600)
    new.replace(folder / _FILE)


def read_notice(folder: Path) -> Notice | None:
    """Read a server's notice; None when there is none that can be read."""
    try:
        told = orjson.loads((folder / _FILE).read_bytes())
        return Notice(folder, **{**told, "data_dir": Path(told["data_dir"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def shown_settings(settings: ServeSettings) -> dict[str, Any]:
    """Return settings as JSON values without secrets: those as set or unset, URLs without what may hold one."""
    return {name: _shown(name, value) for name, value in to_json(settings).items()}


def _shown(name: str, value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if any(word in name for word in _SECRET_WORDS) and not name.endswith("_env"):
        return "set" if value else "unset"
    if isinstance(value, Mapping):
        return {key: _shown(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(name, item) for item in value]
    return _without_credentials(value) if isinstance(value, str) and _URL.match(value) else value


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
