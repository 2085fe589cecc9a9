"""The key `routes` of the configuration: one declaration of every key, its bounds and its meaning."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from proxy.calls.field_names import CREDENTIAL_FIELDS, HOP_BY_HOP, OUR_PREFIX
from proxy.calls.route import Capture, OnDisconnect
from proxy.declaration import ENTRY_CONFIG, Bounds, CheckedBy, required, setting

RESERVED_PATHS = ("/u", "/healthz", "/readyz")
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_NOT_TO_BE_SET = HOP_BY_HOP | {b"host", b"content-length", b"content-encoding", b"expect", b"trailer", b"date"}

Name = Annotated[str, Bounds(pattern=r"^[a-z0-9_-]{1,64}$")]
Variable = Annotated[str, Bounds(pattern=r"^[A-Z_][A-Z0-9_]*$")]
"""Upper case alone: a key that was put here by mistake is refused before it is used or shown."""
Text = Annotated[str, Bounds(min_length=1, max_length=1024)]


def _check_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?", path) or re.search(r"/\.{1,2}(/|$)", path):
        raise ValueError("expected a path such as /openai/deployments, without dots, escapes and query")
    path = path.rstrip("/")
    if any(path == taken or path.startswith(f"{taken}/") for taken in RESERVED_PATHS):
        raise ValueError(f"{', '.join(RESERVED_PATHS)} are served by the proxy itself; take another path")
    return path


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        lower = name.lower().encode("utf-8", "replace")
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"{name!r} or its value is no header field")
        if lower in CREDENTIAL_FIELDS:
            raise ValueError(f"{name!r} holds a credential; keys come from the environment, use api_key_env")
        if lower in _NOT_TO_BE_SET or lower.startswith(OUR_PREFIX):
            raise ValueError(f"{name!r} belongs to the connection or the body and cannot be set")
    return headers


@dataclass(frozen=True, kw_only=True)
class RouteConfig:
    """One route: it serves `/u/NAME/…`, what is under `path`, and calls under `/v1` whose model is in `models`."""

    __pydantic_config__ = ENTRY_CONFIG

    name: Name = required("Unique name: `a-z`, `0-9`, `-`, `_`. Shown in traces and metrics.")
    upstream: str = required("Base URL of the upstream as its own clients write it.")
    path: Annotated[str, CheckedBy(_check_path)] | None = setting(
        None,
        "Path prefix that goes to this route, such as `/openai/deployments`. Whole segments count, and the "
        "longest prefix wins. `/v1` makes it the route for everything that no other one takes.",
    )
    strip: bool = setting(
        False,
        "Whether `path` is taken off before the rest is joined to the base URL. Leave it where the "
        "upstream knows the path itself (`/openai/deployments`, `/v1/messages`); strip one that you made up.",
    )
    models: tuple[Text, ...] = setting(
        (),
        "Globs (`*`, `?`, `[…]`) on the request's `model`; calls under `/v1` that match go to this route. "
        "The first route in the file that matches wins.",
    )
    api_key_env: Variable | None = setting(
        None,
        "Name of the environment variable that holds the upstream's key. The key takes the place of "
        "whatever credential the client sent.",
    )
    auth: Literal["bearer", "api-key", "x-api-key"] = setting(
        "bearer",
        "Where that key goes: `Authorization: Bearer` (OpenAI and most), `api-key` (Azure), `x-api-key` (Anthropic).",
    )
    model_alias: dict[Text, Text] = setting({}, "The upstream's name of a model by the name that clients use.")
    headers: Annotated[dict[str, str], CheckedBy(_check_headers)] = setting(
        {},
        "Header fields set on every request, in place of the client's of the same name.",
    )
    connect_timeout_s: float | None = setting(None, "As the setting of that name, for this route.", gt=0)
    first_byte_timeout_s: float | None = setting(None, "As the setting of that name, for this route.", gt=0)
    read_timeout_s: float | None = setting(None, "As the setting of that name, for this route.", gt=0)
    total_timeout_s: float | None = setting(None, "As the setting of that name, for this route.", gt=0)
    capture: Capture = setting(
        Capture.FULL,
        "The most that is kept of a call: everything, everything but bodies, nothing. A client can ask "
        "for less, never for more.",
    )
    sample: float = setting(
        1.0, "Share of the calls that are recorded; a conversation is in or out as a whole.", gt=0, le=1
    )
    on_disconnect: OnDisconnect = setting(
        OnDisconnect.CANCEL,
        "What becomes of the answer when the client has left: ended at once, or read to its end and kept.",
    )
    max_body_bytes: int | None = setting(None, "As the setting of that name, for this route.", ge=1024)

    def __post_init__(self) -> None:
        """Raise ValueError where one key has no effect without another."""
        if self.strip and self.path is None:
            raise ValueError("strip has no effect without path")
        if self.auth != "bearer" and self.api_key_env is None:
            raise ValueError("auth has no effect without api_key_env")
