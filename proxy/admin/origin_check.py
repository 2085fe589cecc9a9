"""Requests that a foreign web page makes in its visitor's browser, told by what browsers say and pages cannot forge.

The admin side has no cookies, so such a page can only use what the network allows the visitor: a port on loopback that
asks for no token. It could read no answer, as nothing is shared with other origins; it could change something or keep
the machine busy. `Sec-Fetch-Site` is sent by every browser of today to loopback and over TLS (Fetch Metadata Request
Headers), `Origin` by all with whatever changes something (Fetch Standard, "append a request `Origin` header").
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

_OWN_SITES = frozenset({b"same-origin", b"none"})
_READING = frozenset({"GET", "HEAD"})


def is_foreign(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a page of another origin makes this request.

    A link to us that somebody follows is not foreign: it reads, and the answer is shown to who followed it.

    Args:
        method: The request's method.
        headers: All of its fields, names in small letters.
    """
    fields = list(headers)
    sites = [value for name, value in fields if name == b"sec-fetch-site"]
    if any(site not in _OWN_SITES for site in sites):
        modes = [value for name, value in fields if name == b"sec-fetch-mode"]
        return method not in _READING or modes != [b"navigate"]
    if method in _READING:
        return False
    hosts = [value for name, value in fields if name == b"host"]
    return any([_authority(value)] != hosts for name, value in fields if name == b"origin")


def _authority(origin: bytes) -> bytes | None:
    """Give host and port of an origin as a browser writes them into `Host`; None for `null` and what is no origin."""
    try:
        parts = urlsplit(origin.decode("ascii"))
    except ValueError:
        return None
    is_origin = parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)
    return parts.netloc.encode() if is_origin else None
