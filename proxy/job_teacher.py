"""Which servers the jobs of a server may ask, and with which keys: its own settings say so, never a request."""

import json
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proxy.errors import SettingsError


class JobTeacher(BaseModel):
    """A server with teachers and judges that filed jobs may name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(description="Base URL, such as https://api.openai.com/v1, as jobs write it.")
    api_key_env: str | None = Field(
        None, min_length=1, description="Name of the environment variable that holds the key; none sends none."
    )

    @model_validator(mode="after")
    def _check(self) -> "JobTeacher":
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
        return self


def teachers_line(
    teachers: Iterable[JobTeacher], *, log_level: str = "info", log_format: Literal["console", "json"] = "console"
) -> bytes:
    """Return the line that a job's process reads first: which servers it may ask, and how it logs."""
    told = [teacher.model_dump(mode="json") for teacher in teachers]
    return json.dumps({"teachers": told, "log_level": log_level, "log_format": log_format}).encode() + b"\n"
