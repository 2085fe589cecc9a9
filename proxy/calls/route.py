"""A route: one upstream, and what is particular about the calls that go there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from proxy.calls.target import join_target
from proxy.errors import RouteError, SettingsError
from proxy.wire.call_timeouts import CallTimeouts

MOUNT = b"/v1"
"""Where clients find an upstream's base: `/v1/X` here is `<base>/X` there."""


class Capture(StrEnum):
    """How much of a call is kept."""

    FULL = "full"
    METADATA = "metadata"
    OFF = "off"


class OnDisconnect(StrEnum):
    """What becomes of the upstream's answer when the client has left: it is ended at once, or read to its end."""

    CANCEL = "cancel"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class RouteTimeouts:
    """How long to wait for an upstream, in seconds.

    Attributes:
        connect_s: For a connection, TLS included.
        first_byte_s: From the request's last byte to the answer's head.
        read_s: Between two blocks of the answer, and for an upload that does not get on.
        total_s: For the whole call; None sets no bound.
    """

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    read_s: float = 600.0
    total_s: float | None = None
    of_call: CallTimeouts = field(init=False, repr=False, compare=False)
    """The same, as the pool reads them."""

    def __post_init__(self) -> None:
        """Make what each call is sent with."""
        object.__setattr__(
            self, "of_call", CallTimeouts(self.connect_s, self.first_byte_s, read=self.read_s, write=self.read_s)
        )


@dataclass(frozen=True, slots=True)
class Route:
    """One upstream.

    Attributes:
        name: Named in traces and metrics.
        upstream: Base URL as written in the configuration, without a trailing slash.
        origin: `scheme://host[:port]`, where connections go.
        host: The `Host` field for this upstream.
        base_path: Path of the base URL, without a trailing slash; may be empty.
        is_default: Whether it is the one that stands for `/v1` as a whole.
        credential: The header field with the upstream's own key; None when clients send theirs.
        headers: Fields set on every request, in place of the client's of the same name.
        model_alias: The upstream's name of a model by the name that clients use.
        capture: The most that is kept of a call, whatever its client asks for.
        sample: Share of the calls that are recorded, in (0, 1].
        max_body_bytes: Most bytes of a request's body; None leaves it to the setting of that name.
    """

    name: str
    upstream: str
    origin: str
    host: bytes
    base_path: bytes
    is_default: bool = False
    credential: tuple[bytes, bytes] | None = field(default=None, repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    model_alias: Mapping[str, str] = field(default_factory=dict, hash=False)
    timeouts: RouteTimeouts = RouteTimeouts()
    capture: Capture = Capture.FULL
    sample: float = 1.0
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    max_body_bytes: int | None = None

    def destination(self, rest: bytes, query: bytes) -> "Destination":
        """Join a path to the base URL.

        A leading `/v1` stands for the base URL's own path. Only where the base URL has none it is part of the path
        there: a client's `/v1/messages` is `https://api.anthropic.com/v1/messages`, whether or not the base URL ends
        in `/v1`.

        Raises:
            RouteError: The path tries to leave the base.
        """
        if (self.base_path or self.is_default) and is_under(rest, MOUNT):
            rest = rest[len(MOUNT) :]
        return Destination(self, join_target(self.base_path, rest, query))


class Destination(NamedTuple):
    """A route and the request target (path and query) at its upstream."""

    route: Route
    target: bytes


def is_under(path: bytes, prefix: bytes) -> bool:
    """Tell whether a path is that prefix or goes on below it; `/v1x` is not under `/v1`."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")


def parse_upstream(url: str, *, name: str = "default") -> Route:
    """Make a route of a base URL as clients write it, such as `https://api.openai.com/v1`.

    Raises:
        SettingsError: The URL is not one a client could use as `base_url`, or it holds a credential.
    """
    key = "upstream" if name == "default" else f"route {name!r}: upstream"
    try:
        parts = urlsplit(url.strip())
        authority = _authority(parts)
    except ValueError as error:
        raise SettingsError(f"{key} is {url!r}: {error}.") from error
    if parts.scheme not in {"http", "https"} or not authority:
        raise SettingsError(f"{key} is {url!r}; expected a base URL such as https://api.openai.com/v1.")
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"{key} holds a user name or password; let clients send their own key, or use api_key_env.")
    if parts.query or parts.fragment:
        raise SettingsError(f"{key} is {url!r}; a base URL has no query and no fragment.")
    base_path = parts.path.rstrip("/")
    try:
        join_target(b"", base_path.encode("ascii"), b"")
        host = authority.encode("idna" if not authority.isascii() else "ascii")
    except (RouteError, UnicodeError) as error:
        raise SettingsError(f"{key} is {url!r}; its path holds dots or octets that do not belong there.") from error
    return Route(
        name=name,
        upstream=f"{parts.scheme}://{authority}{base_path}",
        origin=f"{parts.scheme}://{authority}",
        host=host,
        base_path=base_path.encode("ascii"),
        is_default=name == "default",
    )


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port is not None else ""
    return (f"[{host}]" if ":" in host else host) + port
