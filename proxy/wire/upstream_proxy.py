"""Which proxy stands between us and an upstream, as the environment says.

The variables are those that curl, Go and Python read: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in lower
case first. `HTTP_PROXY` in capitals is not read under CGI, where a client sets it with a header field (CVE-2016-5385).
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes, urlsplit

from proxy.errors import SettingsError

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """One proxy.

    Attributes:
        url: As it was given; holds the password, so it is for no message.
        scheme: `http`, `https`, `socks5` or `socks5h`.
        authorization: The value of `Proxy-Authorization`, if the URL holds a user.
    """

    url: str
    scheme: str
    host: str
    port: int
    authorization: bytes | None

    @classmethod
    def parse(cls, url: str, variable: str) -> Self:
        """Read the URL that a variable holds; without a scheme it is an HTTP proxy.

        Raises:
            SettingsError: It is none; the message names the variable and not the URL, which may hold a password.
        """
        whole = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(whole)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            known = ", ".join(_DEFAULT_PORTS)
            raise SettingsError(
                f"{variable} holds no URL of a proxy; expected SCHEME://HOST:PORT, SCHEME one of {known}."
            )
        authorization = None
        if parts.username is not None:
            pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            authorization = b"Basic " + base64.b64encode(pair)
        return cls(whole, parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], authorization)


@dataclass(frozen=True, slots=True)
class UpstreamProxies:
    """The proxies by the upstream's scheme, and the upstreams that are reached without one."""

    by_scheme: Mapping[str, UpstreamProxy]
    exceptions: tuple[str, ...]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables once.

        Raises:
            SettingsError: One holds no URL of a proxy.
        """
        by_scheme = {}
        for scheme in ("http", "https"):
            names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
            if "REQUEST_METHOD" in environ:
                names.remove("HTTP_PROXY") if scheme == "http" else None
            name = next((name for name in names if environ.get(name)), None)
            if name is not None:
                by_scheme[scheme] = UpstreamProxy.parse(environ[name], name)
        exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        return cls(by_scheme, tuple(each.strip().lower() for each in exceptions.split(",") if each.strip()))

    def find(self, scheme: str, host: str, port: int) -> UpstreamProxy | None:
        """Return the proxy for an upstream, None when it is reached directly."""
        proxy = self.by_scheme.get(scheme)
        if proxy is None or any(_covers(each, host.lower().rstrip("."), port) for each in self.exceptions):
            return None
        return proxy


def _covers(exception: str, host: str, port: int) -> bool:
    """Tell whether an entry of `NO_PROXY` names a host: `*`, a domain with what is under it, an address, a network.

    A domain may begin with a dot or `*.` and every entry but a network may end with a port.
    """
    if exception == "*":
        return True
    if "/" in exception:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
        except ValueError:
            return False
    name, entry_port = _part_port(exception)
    if entry_port is not None and entry_port != port:
        return False
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(name)
    except ValueError:
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _part_port(exception: str) -> tuple[str, int | None]:
    if exception.startswith("["):
        name, _, rest = exception[1:].partition("]")
        port = rest.removeprefix(":")
    elif exception.count(":") == 1:
        name, _, port = exception.partition(":")
    else:
        return exception, None
    return name, int(port) if port.isdigit() else None
