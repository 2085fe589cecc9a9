"""Which servers the jobs of a server may ask, and with which keys: its own settings say so, never a request."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import urlsplit

from proxy.declaration import ENTRY_CONFIG, required, setting
from proxy.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class JobTeacher:
    """A server with teachers and judges that filed jobs may name."""

    __pydantic_config__ = ENTRY_CONFIG

    base_url: str = required("Base URL, such as https://api.openai.com/v1, as jobs write it.")
    api_key_env: str | None = setting(
        None, "Name of the environment variable that holds the key; none sends none.", min_length=1
    )

    def __post_init__(self) -> None:
        """Raise SettingsError where the URL is none."""
        try:
            parts = urlsplit(self.base_url)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        # Not quoted: a password may stand in it.
        if not is_url or "@" in parts.netloc:
            raise SettingsError(
                "job_teachers: base_url has to be an http:// or https:// URL with a host and without a user; the key "
                "stands in the variable that api_key_env names."
            )


def teachers_line(
    teachers: Iterable[JobTeacher], *, log_level: str = "info", log_format: Literal["console", "json"] = "console"
) -> bytes:
    """Return the line that a job's process reads first: which servers it may ask, and how it logs."""
    told = [asdict(teacher) for teacher in teachers]
    return json.dumps({"teachers": told, "log_level": log_level, "log_format": log_format}).encode() + b"\n"
