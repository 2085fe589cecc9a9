"""Where a configured model is asked, and with which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from processing.config import Config, Price, is_url, without_credentials
from processing.errors import InputError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one configured model is asked.

    Attributes:
        name: The name in the configuration.
        base_url: Base URL as configured.
        model: The name the server knows.
        api_key: Sent as bearer token; None sends none. Never stored, never part of a message.
        price: None when unknown.
        max_parallel: Most calls in flight; None for no bound of its own.
        extra_body: Fields added to every request; None as a value takes a field away.
    """

    name: str
    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    price: Price | None = None
    max_parallel: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown_url(self) -> str:
        """The base URL without credentials or query: what messages, keys and the call table hold."""
        return without_credentials(self.base_url)

    def url_of(self, path: str) -> str:
        """Where requests for a service go; a query of the base URL (Azure's `api-version`) stays at the end."""
        return _url_of(self.base_url, path, has_key=bool(self.api_key))


@lru_cache(maxsize=256)
def _url_of(base_url: str, path: str, *, has_key: bool) -> str:
    parts = urlsplit(base_url)
    # httpx would send credentials of the URL in place of the key.
    host = parts.netloc.rpartition("@")[2] if has_key else parts.netloc
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/{path}", parts.query, ""))


def endpoint(name: str, config: Config, environ: Mapping[str, str]) -> Endpoint:
    """Tell where the model called `name` is asked.

    Raises:
        InputError: No base URL is known for it, or the variable that should hold its key is not set.
    """
    entry = config.models.get(name)
    base_url = (entry and entry.base_url) or environ.get("TRACEMILL_TEACHER_BASE_URL")
    if not base_url:
        raise InputError(
            f"model {name}",
            f'has no base URL. Set TRACEMILL_TEACHER_BASE_URL or write models: {{"{name}": {{base_url: …}}}}.',
        )
    if not is_url(base_url):
        raise InputError(f"model {name}", "has a base URL that is not http:// or https:// with a host.")
    if entry is None:
        return Endpoint(name, base_url, name, _sendable(environ, "TRACEMILL_TEACHER_API_KEY", name))
    key = _sendable(environ, entry.api_key_env or "TRACEMILL_TEACHER_API_KEY", name)
    if entry.api_key_env and key is None:
        raise InputError(f"model {name}", f"needs its key in the variable {entry.api_key_env}, which is not set.")
    # The general key belongs to the general server: an entry with a server of its own does not get it.
    if entry.base_url and not entry.api_key_env:
        key = None
    return Endpoint(name, base_url, entry.model or name, key, entry.price, entry.max_parallel, entry.extra_body)


def _sendable(environ: Mapping[str, str], variable: str, model: str) -> str | None:
    """The key in a variable; an empty one is none.

    Raises:
        InputError: It holds something that no HTTP header can carry; the message never shows it.
    """
    key = environ.get(variable, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise InputError(
            f"model {model}", f"gets its key from {variable}, which holds blanks or characters that no key has."
        )
    return key or None
