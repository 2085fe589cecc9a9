"""The settings of `tracemill serve`: one declaration each makes the flag, the environment variable and the file's key.

Flags win over the environment (`TRACEMILL_PORT`), the environment over `tracemill.yaml`, the file over the defaults.
"""

import difflib
import ipaddress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from yaml import YAMLError

from proxy.calls.routes import parse_upstream
from proxy.errors import SettingsError

MIB = 1024 * 1024
DEFAULT_CONFIG = Path("tracemill.yaml")
ENV_PREFIX = "TRACEMILL_"


class ServeSettings(BaseSettings):
    """Everything `tracemill serve` can be told."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    upstream: str = Field(
        description="Base URL of the upstream as clients write it, such as https://api.openai.com/v1."
    )
    host: str = Field("127.0.0.1", description="Address the proxy listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the proxy; 0 picks a free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin side; off loopback it needs a token.")
    admin_port: int = Field(8081, ge=0, le=65535, description="Port of the admin side; 0 picks a free one.")
    admin_token: SecretStr | None = Field(
        None, min_length=16, description="Bearer token that the admin side asks for; at least 16 characters."
    )
    data_dir: Path = Field(Path("tracemill-data"), description="Folder of the journal and the databases.")
    workers: int = Field(1, ge=1, le=64, description="Data worker processes.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Longest wait for a connection to the upstream.")
    read_timeout_s: float = Field(
        600.0, gt=0, description="Longest silence of an upstream; nothing bounds a whole call."
    )
    drain_timeout_s: float = Field(20.0, ge=0, description="How long calls in flight may go on after a stop.")
    max_capture_bytes: int = Field(
        64 * MIB, ge=1024, description="Most that is kept of one request's or one answer's body, in bytes."
    )
    max_pending_bytes: int = Field(
        64 * MIB, ge=MIB, description="Most captured bytes that may wait in a worker's memory for the disk."
    )
    max_journal_bytes: int = Field(
        1024 * MIB, ge=64 * MIB, description="Most journal bytes of one worker that may lie on disk waiting for ingest."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged to stderr.")
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        parse_upstream(self.upstream)
        if not is_loopback(self.admin_host) and self.admin_token is None:
            raise SettingsError(
                f"admin_host is {self.admin_host!r}, which others can reach; set {ENV_PREFIX}ADMIN_TOKEN to a random "
                "token of at least 16 characters, or listen on 127.0.0.1."
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load_settings(flags: dict[str, Any], config: Path | None) -> ServeSettings:
    """Gather the settings from flags, environment and file.

    Args:
        flags: What the command line gave; keys that it left out are missing here.
        config: The file named on the command line; without one, `tracemill.yaml` of this folder if it is there.

    Raises:
        SettingsError: A setting is missing, unknown or impossible; the message names source and remedy.
    """
    path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    if config is not None and not config.is_file():
        raise SettingsError(f"{config}: no such file; give --config a YAML file or leave it out.")

    class _FromFile(ServeSettings):
        model_config = SettingsConfigDict(yaml_file=path)

    try:
        return ServeSettings.model_construct(**dict(_FromFile(**flags)))
    except ValidationError as error:
        raise SettingsError(_explain(error, path, flags)) from error
    except (YAMLError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as a YAML mapping of settings: {error}") from error


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _explain(error: ValidationError, path: Path | None, flags: dict[str, Any]) -> str:
    return "\n".join(_explain_one(dict(item), path, flags) for item in error.errors())


def _explain_one(item: dict[str, Any], path: Path | None, flags: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{key} is missing; give --{key.replace('_', '-')}, {ENV_PREFIX}{key.upper()} or {key}: in a YAML file."
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, ServeSettings.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ServeSettings.model_fields)}."
        return f"{path or 'settings'}: unknown key {key!r}; {hint}"
    where = "" if key in flags or path is None else f"{path} or environment: "
    value = "" if "token" in key else f" is {item['input']!r}"
    return f"{where}{key}{value}: {item['msg']}."
