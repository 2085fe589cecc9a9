"""The settings of `tracemill serve`: one declaration each makes the flag, the environment variable and the file's key.

Flags win over the environment (`TRACEMILL_PORT`), the environment over `tracemill.yaml`, the file over the defaults.
"""

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from yaml import YAMLError

from proxy.calls.route import RouteTimeouts
from proxy.calls.route_config import RouteConfig
from proxy.calls.routes import RouteTable, make_route_table
from proxy.errors import SettingsError
from proxy.job_teacher import JobTeacher
from proxy.otlp.config import check_extra, read_headers, traces_url
from proxy.price_config import PriceEntry, check_provider
from proxy.redaction.category import Category, joined_names, select
from proxy.redaction.rule import RedactRule, Rule

KIB = 1024
MIB = 1024 * KIB
DEFAULT_CONFIG = Path("tracemill.yaml")
ENV_PREFIX = "TRACEMILL_"
_TOKEN = re.compile(r"[!-~]+")
_SECRET_WORDS = ("token", "key_env", "headers", "otlp")
"""What stands under keys with these words may be a secret, if only by mistake, and is never quoted."""


class ServeSettings(BaseSettings):
    """Everything `tracemill serve` can be told."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    upstream: str | None = Field(
        None,
        description="Base URL of the upstream as clients write it, such as https://api.openai.com/v1. It takes every "
        "call under /v1 that no route takes, and can be left out when routes are given.",
    )
    routes: tuple[RouteConfig, ...] = Field(
        (), description="More upstreams, and which calls go to them: see routes.md. In the environment as JSON."
    )
    require_proxy_key: bool = Field(
        False, description="Whether clients have to send a key made by `tracemill keys add`; see routes.md."
    )
    host: str = Field("127.0.0.1", description="Address the proxy listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the proxy; 0 picks a free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin side; off loopback it needs a token.")
    admin_port: int = Field(8081, ge=0, le=65535, description="Port of the admin side; 0 picks a free one.")
    admin_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that the admin side asks for; it may do everything there; at least 16 characters.",
    )
    admin_read_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token for the admin side that may read everything and change nothing.",
    )
    data_dir: Path = Field(Path("tracemill-data"), description="Folder of the journal and the databases.")
    workers: int = Field(1, ge=1, le=64, description="Data worker processes.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Longest wait for a connection to an upstream.")
    first_byte_timeout_s: float = Field(
        600.0, gt=0, description="Longest wait for the head of an upstream's answer once the request is sent."
    )
    read_timeout_s: float = Field(
        600.0, gt=0, description="Longest silence of an upstream in the middle of its answer."
    )
    total_timeout_s: float | None = Field(
        None, gt=0, description="Longest time a call may take as a whole; none sets no bound."
    )
    head_timeout_s: float = Field(30.0, gt=0, description="Longest time the head of a client's request may take.")
    keep_alive_s: float = Field(
        75.0,
        gt=0,
        description="How long a client's connection may lie idle between two calls; longer than the 60 s of common "
        "load balancers, so that those hang up first.",
    )
    drain_timeout_s: float = Field(20.0, ge=0, description="How long calls in flight may go on after a stop.")
    max_calls: int = Field(
        4096, ge=1, description="Most calls in flight of one worker; the next one is answered 503 with Retry-After."
    )
    max_connections: int = Field(
        8192,
        ge=1,
        description="Most connections of clients to one worker; the next one is answered 503 with Retry-After.",
    )
    max_head_bytes: int = Field(
        64 * KIB,
        ge=8 * KIB,
        le=MIB,
        description="Most bytes of a request's or an answer's head; a longer request is answered 431, or 414 where its "
        "first line is.",
    )
    max_body_bytes: int = Field(
        1024 * MIB,
        ge=1024,
        description="Most bytes of a request's body; a longer one is answered 413. Bodies are streamed and not held, "
        "so that large uploads of files pass.",
    )
    max_capture_bytes: int = Field(
        64 * MIB, ge=1024, description="Most that is kept of one request's or one answer's body, in bytes."
    )
    max_pending_bytes: int = Field(
        64 * MIB,
        ge=MIB,
        description="Most captured bytes that may wait in a worker's memory for the disk. "
        "As many again may be held there of bodies that are still coming.",
    )
    max_journal_bytes: int = Field(
        1024 * MIB, ge=64 * MIB, description="Most journal bytes of one worker that may lie on disk waiting for ingest."
    )
    durability: Literal["none", "process", "power"] = Field(
        "process",
        description="What an answered call's record outlives: nothing of the kind (`none`: it is written behind the "
        "answer), the death of our processes (`process`), or the loss of power (`power`: some ms a call).",
    )
    no_capture: bool = Field(
        False,
        description="Whether calls are served and none recorded: the data directory is left alone, whatever state it "
        "is in. For the time until it is mended.",
    )
    on_capture_failure: Literal["serve", "refuse"] = Field(
        "serve",
        description="What happens to a call that cannot be recorded: it is served and the loss counted, or it is "
        "answered 503 before an upstream is called.",
    )
    content_retention_days: float | None = Field(
        None,
        gt=0,
        description="Age in days at which messages, replies, tools, parameters and errors go; what is known of the "
        "call stays. None keeps them: see retention.md.",
    )
    metadata_retention_days: float | None = Field(
        None, gt=0, description="Age in days at which a trace goes as a whole; none keeps it."
    )
    max_store_bytes: int | None = Field(
        None,
        ge=16 * MIB,
        description="Most bytes of the database of traces; past it the oldest content goes, then the oldest traces.",
    )
    redact: Annotated[str, BeforeValidator(joined_names)] = Field(
        "off",
        description="What is replaced by placeholders before a call is stored: `off`, `secrets`, `personal`, `all`, or "
        "categories with commas between them; `-` before a name leaves it out (`all,-ipv4`). See redaction.md.",
    )
    redact_rules: tuple[RedactRule, ...] = Field(
        (), description="Patterns of your own that are replaced too, whatever `redact` says: see redaction.md."
    )
    redact_allow: tuple[str, ...] = Field(
        (), description="Values that are never replaced: exact or with `*`, such as `*@example.com`."
    )
    prices: tuple[PriceEntry, ...] = Field(
        (), description="What tokens cost; the first entry that matches a call holds: see cost.md."
    )
    price_library: bool = Field(
        True,
        description="Whether calls that no entry of `prices` matches are priced by the list of `genai-prices`, where "
        "it is installed (`pip install 'tracemill[prices]'`).",
    )
    search: bool = Field(
        True,
        description='Whether the texts of messages are indexed, so that filters can search them: `text ~ "words"`. '
        "Switched off, the index is taken away.",
    )
    raw_retention_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="Most bytes on disk of raw calls, the very bytes that traces were made of, so that "
        "`tracemill reingest` can make them again; 0 keeps none. Has no effect where calls are redacted: then no raw "
        "calls are kept.",
    )
    raw_retention_days: float = Field(
        7.0,
        ge=0,
        description="Longest time that a raw call is kept; 0 keeps none. Files go as a whole, so some calls go sooner.",
    )
    max_jobs: int = Field(
        1,
        ge=0,
        le=64,
        description="Jobs filed over the admin API that run at once, each in a process of its own; the others wait. 0 "
        "lets all wait: see jobs.md.",
    )
    job_teachers: tuple[JobTeacher, ...] = Field(
        (),
        description="Servers that jobs may ask beside TRACEMILL_TEACHER_BASE_URL, each with `base_url` and, where it "
        "needs a key, `api_key_env`: see jobs.md.",
    )
    upstream_http2: bool = Field(False, description="Whether HTTP/2 is offered to upstreams over TLS.")
    upstream_ca_file: Path | None = Field(
        None,
        description="PEM file of the authorities that upstreams' certificates are checked against; none is the "
        "system's own.",
    )
    upstream_proxy_from_env: bool = Field(
        True, description="Whether HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide how upstreams are reached."
    )
    otlp_endpoint: str | None = Field(
        None,
        description="URL of an OTLP/HTTP collector that gets a span of each stored trace: see metrics.md. Needs "
        "`pip install 'tracemill[otel]'`.",
    )
    otlp_headers_env: str | None = Field(
        None,
        description="Name of the environment variable that holds header fields for the collector, as "
        "`name=value,name=value`.",
    )
    otlp_content: bool = Field(False, description="Whether messages and upstreams' error texts go to the collector.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged to stderr.")
    log_format: Literal["console", "json"] = Field("console", description="Lines for people or for machines.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.upstream is None and not self.routes:
            raise SettingsError(
                f"upstream is missing; give --upstream, {ENV_PREFIX}UPSTREAM or upstream: in a YAML file, or routes:."
            )
        routes = self.route_table().routes
        if self.require_proxy_key and all(route.credential is None for route in routes):
            raise SettingsError(
                "require_proxy_key is on, but no route has a key of its own to take a proxy key's place; give a route "
                "api_key_env (routes.md)."
            )
        if self.upstream_ca_file is not None and not self.upstream_ca_file.is_file():
            raise SettingsError(f"upstream_ca_file is {str(self.upstream_ca_file)!r}: no such file.")
        self._check_otlp()
        self._check_redaction()
        self._check_prices()
        self._check_retention()
        if self.no_capture and self.on_capture_failure == "refuse":
            raise SettingsError("no_capture records no call, and on_capture_failure: refuse wants all; leave one out.")
        self._check_admin()
        return self

    def _check_admin(self) -> None:
        if not is_loopback(self.admin_host) and self.admin_token is None and self.admin_read_token is None:
            raise SettingsError(
                f"admin_host is {self.admin_host!r}, which others can reach; set {ENV_PREFIX}ADMIN_TOKEN to a random "
                "token of at least 16 characters, or listen on 127.0.0.1."
            )
        if self.admin_token is not None and self.admin_token == self.admin_read_token:
            raise SettingsError("admin_token and admin_read_token are the same; give each scope a token of its own.")
        for name in ("admin_token", "admin_read_token"):
            token: SecretStr | None = getattr(self, name)
            if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
                raise SettingsError(
                    f"{name}: use visible ASCII characters without spaces, as a header field can carry."
                )

    def _check_otlp(self) -> None:
        if self.otlp_endpoint is not None:
            traces_url(self.otlp_endpoint)
            read_headers(self.otlp_headers_env, os.environ)
            check_extra()
            if self.no_capture:
                raise SettingsError("otlp_endpoint has no effect with no_capture: there are no traces to send.")
        elif self.otlp_content or self.otlp_headers_env is not None:
            raise SettingsError("otlp_content and otlp_headers_env have no effect without otlp_endpoint.")

    def _check_retention(self) -> None:
        content, metadata = self.content_retention_days, self.metadata_retention_days
        if content is not None and metadata is not None and content > metadata:
            raise SettingsError(
                f"content_retention_days is {content:g} and metadata_retention_days {metadata:g}: content cannot "
                "outlive its trace. Give the content the shorter time."
            )
        if self.no_capture and (content, metadata, self.max_store_bytes) != (None, None, None):
            raise SettingsError("retention has no effect with no_capture: the store is left as it is.")

    def _check_prices(self) -> None:
        for entry in self.prices:
            if entry.provider is not None:
                check_provider(entry.provider)
        if self.no_capture and self.prices:
            raise SettingsError("prices has no effect with no_capture: nothing is stored.")

    def _check_redaction(self) -> None:
        names = [rule.name for rule in self.redact_rules]
        for rule in self.redact_rules:
            Rule(rule)
            if names.count(rule.name) > 1:
                raise SettingsError(f"redact_rules names {rule.name!r} twice; give each rule a name of its own.")
        if self.redact_allow and not self.is_redacting:
            raise SettingsError("redact_allow has no effect with redact: off and without redact_rules.")
        if self.is_redacting and self.no_capture:
            raise SettingsError("redact and redact_rules have no effect with no_capture: nothing is stored.")

    @property
    def is_redacting(self) -> bool:
        """Whether anything is to be replaced before a call is stored."""
        return bool(self.redacted_categories() or self.redact_rules)

    def redacted_categories(self) -> frozenset[Category]:
        """Return what `redact` selects.

        Raises:
            SettingsError: It names something else.
        """
        return select(name.strip() for name in self.redact.split(","))

    def route_table(self) -> RouteTable:
        """Return the routes, with the upstreams' keys as this process's environment has them.

        Raises:
            SettingsError: A URL is none, two routes claim the same, or a key is missing.
        """
        timeouts = RouteTimeouts(
            connect_s=self.connect_timeout_s,
            first_byte_s=self.first_byte_timeout_s,
            read_s=self.read_timeout_s,
            total_s=self.total_timeout_s,
        )
        return make_route_table(
            self.upstream, self.routes, timeouts=timeouts, environ=os.environ, is_captured=not self.no_capture
        )

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


_ENTRIES: dict[str | int, type[BaseModel]] = {
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
    model: type[BaseModel] = _ENTRIES.get(loc[0], ServeSettings) if len(loc) > 1 else ServeSettings
    if item["type"] == "missing":
        needed = [name for name, field in model.model_fields.items() if field.is_required()]
        return f"{path or 'settings'}: {key} is missing; every entry of {loc[0]} needs {' and '.join(needed)}."
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(model.model_fields)}."
        return f"{path or 'settings'}: unknown key {key!r}; {hint}"
    where = "" if key in flags or path is None else f"{path} or environment: "
    is_shown = isinstance(item["input"], str | int | float) and not any(word in key for word in _SECRET_WORDS)
    value = f" is {item['input']!r}" if is_shown else ""
    return f"{where}{key}{value}: {item['msg']}."
