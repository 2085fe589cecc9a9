"""The key `routes` of the configuration: one declaration of every key, its bounds and its meaning."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from proxy.calls.credentials import CREDENTIAL_FIELDS
from proxy.calls.headers import HOP_BY_HOP, OUR_PREFIX
from proxy.calls.route import Capture, OnDisconnect

RESERVED_PATHS = ("/u", "/healthz", "/readyz")
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_NOT_TO_BE_SET = HOP_BY_HOP | {b"host", b"content-length", b"content-encoding", b"expect", b"trailer", b"date"}

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
"""Upper case alone: a key that was put here by mistake is refused before it is used or shown."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class RouteConfig(BaseModel):
    """One route: it serves `/u/NAME/…`, what is under `path`, and calls under `/v1` whose model is in `models`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="Unique name: `a-z`, `0-9`, `-`, `_`. Shown in traces and metrics.")
    upstream: str = Field(description="Base URL of the upstream as its own clients write it.")
    path: str | None = Field(
        None,
        description="Path prefix that goes to this route, such as `/openai/deployments`. Whole segments count, and the "
        "longest prefix wins. `/v1` makes it the route for everything that no other one takes.",
    )
    strip: bool = Field(
        False,
        description="Whether `path` is taken off before the rest is joined to the base URL. Leave it where the "
        "upstream knows the path itself (`/openai/deployments`, `/v1/messages`); strip one that you made up.",
    )
    models: tuple[Text, ...] = Field(
        (),
        description="Globs (`*`, `?`, `[…]`) on the request's `model`; calls under `/v1` that match go to this route. "
        "The first route in the file that matches wins.",
    )
    api_key_env: Variable | None = Field(
        None,
        description="Name of the environment variable that holds the upstream's key. The key takes the place of "
        "whatever credential the client sent.",
    )
    auth: Literal["bearer", "api-key", "x-api-key"] = Field(
        "bearer",
        description="Where that key goes: `Authorization: Bearer` (OpenAI and most), `api-key` (Azure), `x-api-key` "
        "(Anthropic).",
    )
    model_alias: dict[Text, Text] = Field(
        default_factory=dict, description="The upstream's name of a model by the name that clients use."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Header fields set on every request, in place of the client's of the same name.",
    )
    connect_timeout_s: float | None = Field(None, gt=0, description="As the setting of that name, for this route.")
    first_byte_timeout_s: float | None = Field(None, gt=0, description="As the setting of that name, for this route.")
    read_timeout_s: float | None = Field(None, gt=0, description="As the setting of that name, for this route.")
    total_timeout_s: float | None = Field(None, gt=0, description="As the setting of that name, for this route.")
    capture: Capture = Field(
        Capture.FULL,
        description="The most that is kept of a call: everything, everything but bodies, nothing. A client can ask "
        "for less, never for more.",
    )
    sample: float = Field(
        1.0, gt=0, le=1, description="Share of the calls that are recorded; a conversation is in or out as a whole."
    )
    on_disconnect: OnDisconnect = Field(
        OnDisconnect.CANCEL,
        description="What becomes of the answer when the client has left: ended at once, or read to its end and kept.",
    )
    max_body_bytes: int | None = Field(None, ge=1024, description="As the setting of that name, for this route.")

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str | None) -> str | None:
        if path is None:
            return None
        if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?", path) or re.search(r"/\.{1,2}(/|$)", path):
            raise ValueError("expected a path such as /openai/deployments, without dots, escapes and query")
        path = path.rstrip("/")
        if any(path == taken or path.startswith(f"{taken}/") for taken in RESERVED_PATHS):
            raise ValueError(f"{', '.join(RESERVED_PATHS)} are served by the proxy itself; take another path")
        return path

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            lower = name.lower().encode("utf-8", "replace")
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"{name!r} or its value is no header field")
            if lower in CREDENTIAL_FIELDS:
                raise ValueError(f"{name!r} holds a credential; keys come from the environment, use api_key_env")
            if lower in _NOT_TO_BE_SET or lower.startswith(OUR_PREFIX):
                raise ValueError(f"{name!r} belongs to the connection or the body and cannot be set")
        return headers

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.strip and self.path is None:
            raise ValueError("strip has no effect without path")
        if self.auth != "bearer" and self.api_key_env is None:
            raise ValueError("auth has no effect without api_key_env")
        return self
