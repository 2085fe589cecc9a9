"""The settings of `tracemill serve`: one declaration each makes the flag, the environment variable and the file's key.

Here they are as they are in force. `proxy/settings_source.py` gathers and checks what people give.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from proxy.calls.route_config import RouteConfig
from proxy.declaration import ReadBy, Secret, setting
from proxy.job_teacher import JobTeacher
from proxy.price_config import PriceEntry
from proxy.redaction.category import Category, joined_names, select
from proxy.redaction.rule import RedactRule

if TYPE_CHECKING:
    from proxy.calls.routes import RouteTable

KIB = 1024
MIB = 1024 * KIB
ENV_PREFIX = "TRACEMILL_"


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Everything `tracemill serve` can be told, as it is in force: `load_settings` has checked it."""

    upstream: str | None = setting(
        None,
        "Base URL of the upstream as clients write it, such as https://api.openai.com/v1. It takes every "
        "call under /v1 that no route takes, and can be left out when routes are given.",
    )
    routes: tuple[RouteConfig, ...] = setting(
        (), "More upstreams, and which calls go to them: see routes.md. In the environment as JSON."
    )
    require_proxy_key: bool = setting(
        False, "Whether clients have to send a key made by `tracemill keys add`; see routes.md."
    )
    host: str = setting("127.0.0.1", "Address the proxy listens on.")
    port: int = setting(8080, "Port of the proxy; 0 picks a free one.", ge=0, le=65535)
    admin_host: str = setting("127.0.0.1", "Address of the admin side; off loopback it needs a token.")
    admin_port: int = setting(8081, "Port of the admin side; 0 picks a free one.", ge=0, le=65535)
    admin_token: Secret | None = setting(
        None, "Bearer token that the admin side asks for; it may do everything there; at least 16 characters."
    )
    admin_read_token: Secret | None = setting(
        None, "Bearer token for the admin side that may read everything and change nothing."
    )
    data_dir: Path = setting(Path("tracemill-data"), "Folder of the journal and the databases.")
    workers: int = setting(1, "Data worker processes.", ge=1, le=64)
    connect_timeout_s: float = setting(5.0, "Longest wait for a connection to an upstream.", gt=0)
    first_byte_timeout_s: float = setting(
        600.0, "Longest wait for the head of an upstream's answer once the request is sent.", gt=0
    )
    read_timeout_s: float = setting(600.0, "Longest silence of an upstream in the middle of its answer.", gt=0)
    total_timeout_s: float | None = setting(None, "Longest time a call may take as a whole; none sets no bound.", gt=0)
    head_timeout_s: float = setting(30.0, "Longest time the head of a client's request may take.", gt=0)
    keep_alive_s: float = setting(
        75.0,
        "How long a client's connection may lie idle between two calls; longer than the 60 s of common "
        "load balancers, so that those hang up first.",
        gt=0,
    )
    drain_timeout_s: float = setting(20.0, "How long calls in flight may go on after a stop.", ge=0)
    max_calls: int = setting(
        4096, "Most calls in flight of one worker; the next one is answered 503 with Retry-After.", ge=1
    )
    max_connections: int = setting(
        8192,
        "Most connections of clients to one worker; the next one is answered 503 with Retry-After. Fewer where the "
        "system's limit of open files has no room for two files each; it is raised as far as it goes.",
        ge=1,
    )
    max_head_bytes: int = setting(
        64 * KIB,
        "Most bytes of a request's or an answer's head; a longer request is answered 431, or 414 where its "
        "first line is.",
        ge=8 * KIB,
        le=MIB,
    )
    max_body_bytes: int = setting(
        1024 * MIB,
        "Most bytes of a request's body; a longer one is answered 413. Bodies are streamed and not held, "
        "so that large uploads of files pass.",
        ge=1024,
    )
    max_capture_bytes: int = setting(
        64 * MIB, "Most that is kept of one request's or one answer's body, in bytes.", ge=1024
    )
    max_pending_bytes: int = setting(
        64 * MIB,
        "Most captured bytes that may wait in a worker's memory for the disk. "
        "As many again may be held there of bodies that are still coming.",
        ge=MIB,
    )
    max_journal_bytes: int = setting(
        1024 * MIB, "Most journal bytes of one worker that may lie on disk waiting for ingest.", ge=64 * MIB
    )
    durability: Literal["none", "process", "power"] = setting(
        "process",
        "What an answered call's record outlives: nothing of the kind (`none`: it is written behind the "
        "answer), the death of our processes (`process`), or the loss of power (`power`: some ms a call).",
    )
    no_capture: bool = setting(
        False,
        "Whether calls are served and none recorded: the data directory is left alone, whatever state it "
        "is in. For the time until it is mended.",
    )
    on_capture_failure: Literal["serve", "refuse"] = setting(
        "serve",
        "What happens to a call that cannot be recorded: it is served and the loss counted, or it is "
        "answered 503 before an upstream is called.",
    )
    content_retention_days: float | None = setting(
        None,
        "Age in days at which messages, replies, tools, parameters and errors go; what is known of the "
        "call stays. None keeps them: see retention.md.",
        gt=0,
    )
    metadata_retention_days: float | None = setting(
        None, "Age in days at which a trace goes as a whole; none keeps it.", gt=0
    )
    max_store_bytes: int | None = setting(
        None,
        "Most bytes of the database of traces; past it the oldest content goes, then the oldest traces.",
        ge=16 * MIB,
    )
    redact: Annotated[str, ReadBy(joined_names)] = setting(
        "off",
        "What is replaced by placeholders before a call is stored: `off`, `secrets`, `personal`, `all`, or "
        "categories with commas between them; `-` before a name leaves it out (`all,-ipv4`). See redaction.md.",
    )
    redact_rules: tuple[RedactRule, ...] = setting(
        (), "Patterns of your own that are replaced too, whatever `redact` says: see redaction.md."
    )
    redact_allow: tuple[str, ...] = setting(
        (), "Values that are never replaced: exact or with `*`, such as `*@example.com`."
    )
    prices: tuple[PriceEntry, ...] = setting(
        (), "What tokens cost; the first entry that matches a call holds: see cost.md."
    )
    price_library: bool = setting(
        True,
        "Whether calls that no entry of `prices` matches are priced by the list of `genai-prices`, where "
        "it is installed (`pip install 'tracemill[prices]'`).",
    )
    search: bool = setting(
        True,
        'Whether the texts of messages are indexed, so that filters can search them: `text ~ "words"`. '
        "Switched off, the index is taken away.",
    )
    raw_retention_bytes: int = setting(
        1024 * MIB,
        "Most bytes on disk of raw calls, the very bytes that traces were made of, so that "
        "`tracemill reingest` can make them again; 0 keeps none. Has no effect where calls are redacted: then no raw "
        "calls are kept.",
        ge=0,
    )
    raw_retention_days: float = setting(
        7.0, "Longest time that a raw call is kept; 0 keeps none. Files go as a whole, so some calls go sooner.", ge=0
    )
    max_jobs: int = setting(
        1,
        "Jobs filed over the admin API that run at once, each in a process of its own; the others wait. 0 "
        "lets all wait: see jobs.md.",
        ge=0,
        le=64,
    )
    job_teachers: tuple[JobTeacher, ...] = setting(
        (),
        "Servers that jobs may ask beside TRACEMILL_TEACHER_BASE_URL, each with `base_url` and, where it "
        "needs a key, `api_key_env`: see jobs.md.",
    )
    upstream_http2: bool = setting(
        False,
        "Whether HTTP/2 is offered to upstreams over TLS (`pip install 'tracemill[http2]'`). Each call has its "
        "connection to itself there, too; interim answers (1xx) and trailers are not passed on.",
    )
    upstream_ca_file: Path | None = setting(
        None, "PEM file of the authorities that upstreams' certificates are checked against; none is the system's own."
    )
    upstream_proxy_from_env: bool = setting(
        True, "Whether HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide how upstreams are reached."
    )
    otlp_endpoint: str | None = setting(
        None,
        "URL of an OTLP/HTTP collector that gets a span of each stored trace: see metrics.md. Needs "
        "`pip install 'tracemill[otel]'`.",
    )
    otlp_headers_env: str | None = setting(
        None, "Name of the environment variable that holds header fields for the collector, as `name=value,name=value`."
    )
    otlp_content: bool = setting(False, "Whether messages and upstreams' error texts go to the collector.")
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "What is logged to stderr.")
    log_format: Literal["console", "json"] = setting("console", "Lines for people or for machines.")

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

    def route_table(self) -> "RouteTable":
        """Return the routes, with the upstreams' keys as this process's environment has them.

        Raises:
            SettingsError: A URL is none, two routes claim the same, or a key is missing.
        """
        # Imported here: of the processes that have settings, few have routes.
        from proxy.calls.route import RouteTimeouts
        from proxy.calls.routes import make_route_table

        timeouts = RouteTimeouts(
            connect_s=self.connect_timeout_s,
            first_byte_s=self.first_byte_timeout_s,
            read_s=self.read_timeout_s,
            total_s=self.total_timeout_s,
        )
        return make_route_table(
            self.upstream, self.routes, timeouts=timeouts, environ=os.environ, is_captured=not self.no_capture
        )


DEFAULTS: Final[Mapping[str, Any]] = {each.name: each.default for each in fields(ServeSettings)}
"""The default of each setting."""
