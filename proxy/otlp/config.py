"""Settings of the OTLP export, checked without the packages that it needs."""

from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

from proxy.errors import SettingsError

_PATH = "/v1/traces"


def traces_url(endpoint: str) -> str:
    """Return where traces are posted: the endpoint itself, or `/v1/traces` under it.

    Raises:
        SettingsError: It is no URL of http or https, or holds a credential.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            "otlp_endpoint is no http or https URL; give the collector's, such as http://127.0.0.1:4318."
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise SettingsError(
            "otlp_endpoint holds more than host and path; a key goes into the environment variable that "
            "otlp_headers_env names."
        )
    return endpoint if parts.path.endswith(_PATH) else endpoint.rstrip("/") + _PATH


def read_headers(variable: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Read the header fields for the collector, written as OpenTelemetry does: `name=value,name=value`, escaped by `%`.

    Raises:
        SettingsError: The variable is not set, or is written otherwise. Its value is never quoted.
    """
    if variable is None:
        return {}
    text = environ.get(variable)
    if text is None:
        raise SettingsError(f"otlp_headers_env names {variable}, which is not set.")
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(sign and name.strip() for name, sign, _ in pairs):
        raise SettingsError(f"{variable} is to hold header fields as name=value,name=value; one part is not.")
    headers = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
    if not all(name.isascii() and value.isascii() and (name + value).isprintable() for name, value in headers.items()):
        raise SettingsError(
            f"{variable} is to hold header fields; a name or a value has characters that none can have."
        )
    return headers


def check_extra() -> None:
    """See that the packages for the export are there.

    Raises:
        SettingsError: They are not.
    """
    try:
        is_there = find_spec("opentelemetry.proto") is not None and find_spec("google.protobuf") is not None
    except (ModuleNotFoundError, ValueError):  # a parent package is missing, or somebody forbade the module
        is_there = False
    if not is_there:
        raise SettingsError("otlp_endpoint needs a package that is not installed; run: pip install 'tracemill[otel]'.")
