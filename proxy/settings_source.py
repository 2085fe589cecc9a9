"""Where settings come from: flags, environment and file. The only place that checks what people write as settings.

Flags win over the environment (`TRACEMILL_PORT`), the environment over `tracemill.yaml`, the file over the defaults.
"""

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import Field, ValidationError, create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from yaml import YAMLError

from proxy.calls.route_config import RouteConfig
from proxy.errors import SettingsError
from proxy.job_teacher import JobTeacher
from proxy.price_config import PriceEntry
from proxy.redaction.rule import RedactRule
from proxy.settings import ENV_PREFIX, ServeSettings
from proxy.settings_check import check_together

DEFAULT_CONFIG = Path("tracemill.yaml")
_SECRET_WORDS = ("token", "key_env", "headers", "otlp")
"""What stands under keys with these words may be a secret, if only by mistake, and is never quoted."""


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
    try:
        given = _model(path)(**flags)
    except ValidationError as error:
        raise SettingsError(_explain(error, path, flags)) from error
    except (YAMLError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as a YAML mapping of settings: {error}") from error
    settings = ServeSettings(**{each.name: getattr(given, each.name) for each in fields(ServeSettings)})
    check_together(settings)
    return settings


class _Sources(BaseSettings):
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


def _model(path: Path | None) -> type[BaseSettings]:
    """Make the model that reads these sources out of the declarations."""
    kinds = get_type_hints(ServeSettings, include_extras=True)
    declared: dict[str, Any] = {
        each.name: (kinds[each.name], Field(each.default, **each.metadata)) for each in fields(ServeSettings)
    }

    class _FromFile(_Sources):
        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", yaml_file=path)

    return create_model("Settings", __base__=_FromFile, **declared)


_ENTRIES: Mapping[str | int, type] = {
    "routes": RouteConfig,
    "redact_rules": RedactRule,
    "prices": PriceEntry,
    "job_teachers": JobTeacher,
}
"""What the entries of a list are."""


def _explain(error: ValidationError, path: Path | None, flags: dict[str, Any]) -> str:
    return "\n".join(_explain_one(dict(item), path, flags) for item in error.errors())


def _explain_one(item: dict[str, Any], path: Path | None, flags: dict[str, Any]) -> str:
    loc: tuple[str | int, ...] = item["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    known = fields(_ENTRIES.get(loc[0], ServeSettings) if len(loc) > 1 else ServeSettings)
    if item["type"] == "missing":
        needed = [each.name for each in known if each.default is MISSING and each.default_factory is MISSING]
        return f"{path or 'settings'}: {key} is missing; every entry of {loc[0]} needs {' and '.join(needed)}."
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = [each.name for each in known]
        near = difflib.get_close_matches(str(loc[-1]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}."
        return f"{path or 'settings'}: unknown key {key!r}; {hint}"
    where = "" if key in flags or path is None else f"{path} or environment: "
    is_shown = isinstance(item["input"], str | int | float) and not any(word in key for word in _SECRET_WORDS)
    value = f" is {item['input']!r}" if is_shown else ""
    return f"{where}{key}{value}: {item['msg']}."
