"""Which servers and keys a filed job gets, whatever its request names.

Whoever may file jobs could otherwise have this machine ask any address it reaches, or send any variable of its
environment to one.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from processing.errors import InputError

if TYPE_CHECKING:
    from processing.config import Config, Model

_GENERAL_URL, _GENERAL_KEY = "TRACEMILL_TEACHER_BASE_URL", "TRACEMILL_TEACHER_API_KEY"

Servers = Sequence[Mapping[str, str | None]]
"""`base_url` and `api_key_env` of each server that may be asked."""


def allowed(config: "Config", servers: Servers, environ: Mapping[str, str]) -> "Config":
    """Give the configuration with the keys that belong to its servers.

    Raises:
        InputError: It names a server, or a key for one, that is not among those that may be asked.
    """
    from processing.config import without_credentials

    general = environ.get(_GENERAL_URL)
    keys: dict[str, str | None] = {str(each["base_url"]).rstrip("/"): each["api_key_env"] for each in servers}
    models: dict[str, Model] = {}
    for name, model in config.models.items():
        url = (model.base_url or "").rstrip("/")
        is_general = not url or (general is not None and url == general.rstrip("/") and url not in keys)
        if not is_general and url not in keys:
            raise InputError(
                f"config: models.{name}.base_url",
                f"is {without_credentials(url)}, which the server's setting job_teachers does not list.",
            )
        key = _GENERAL_KEY if is_general else keys[url]
        if model.api_key_env not in (None, key):
            raise InputError(
                f"config: models.{name}.api_key_env",
                "names another variable than the server has for these models; leave it out.",
            )
        # A name for the general key would make it needed; without one it is sent where it is set.
        shown = {"base_url": None, "api_key_env": None} if is_general else {"api_key_env": key}
        models[name] = model.model_copy(update=shown)
    return config.model_copy(update={"models": models})
