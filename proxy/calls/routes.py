"""Which upstream a call goes to, and under which target there.

The path is joined as bytes, exactly as the client wrote it: decoding and encoding it again would change what the
upstream sees, and deciding on a decoded path while forwarding another one is a hole.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.errors import RouteError, SettingsError

MOUNT = b"/v1"
"""Where clients find the upstream's base: `/v1/X` here is `<base>/X` there."""

_DOT_SEGMENT = re.compile(rb"(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\;]|$)", re.IGNORECASE)
_ENCODED_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)
_MAX_QUOTED = 200
_FORBIDDEN_OCTET = re.compile(rb"[\x00-\x20\x7f#\\]")


@dataclass(frozen=True, slots=True)
class Route:
    """One upstream.

    Attributes:
        name: Named in traces and metrics.
        upstream: Base URL as written in the configuration, without a trailing slash.
        origin: `scheme://host[:port]`, where connections go.
        host: The `Host` field for this upstream.
        base_path: Path of the base URL, without a trailing slash; may be empty.
    """

    name: str
    upstream: str
    origin: str
    host: bytes
    base_path: bytes


class Destination(NamedTuple):
    """A route and the request target (path and query) at its upstream."""

    route: Route
    target: bytes


def parse_upstream(url: str, *, name: str = "default") -> Route:
    """Make a route of a base URL as clients write it, such as `https://api.openai.com/v1`.

    Raises:
        SettingsError: The URL is not one a client could use as `base_url`, or it holds a credential.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"upstream is {url!r}; expected a base URL such as https://api.openai.com/v1.")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("upstream holds a user name or password; let clients send their own key instead.")
    if parts.query or parts.fragment:
        raise SettingsError(f"upstream is {url!r}; a base URL has no query and no fragment.")
    try:
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError as error:
        raise SettingsError(f"upstream is {url!r}: {error}.") from error
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host + port
    base_path = parts.path.rstrip("/")
    return Route(
        name=name,
        upstream=f"{parts.scheme}://{authority}{base_path}",
        origin=f"{parts.scheme}://{authority}",
        host=authority.encode("idna" if not authority.isascii() else "ascii"),
        base_path=base_path.encode("ascii"),
    )


class RouteTable:
    """Decides the upstream of a call by its raw path."""

    def __init__(self, default: Route) -> None:
        self._default = default

    def match(self, target: bytes) -> Destination:
        """Return where the call goes.

        Args:
            target: The request target as the client sent it: path and query, nothing decoded, a lone `?` kept.

        Raises:
            RouteError: No route serves the path, or the path tries to climb out of it.
        """
        path, mark, query = target.partition(b"?")
        if not (path == MOUNT or path.startswith(MOUNT + b"/")):
            raise RouteError(
                404,
                "unknown_route",
                f"No route serves {path[:_MAX_QUOTED].decode('latin-1')!r}. Point base_url at this server's /v1.",
            )
        rest = path[len(MOUNT) :]
        if _climbs(rest):
            raise RouteError(
                400,
                "path_refused",
                "The path holds dot segments or octets that do not belong there; send it in normal form.",
            )
        return Destination(self._default, (self._default.base_path + rest or b"/") + mark + query)


def _climbs(rest: bytes) -> bool:
    """Tell whether some server could read the path as leaving its folder, however it decodes it."""
    if _FORBIDDEN_OCTET.search(rest):
        return True
    unfolded = _ENCODED_SLASH.sub(b"/", rest.replace(b"%25", b"%"))
    return bool(_DOT_SEGMENT.search(rest) or _DOT_SEGMENT.search(unfolded))
