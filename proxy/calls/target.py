"""Request targets: what may be sent to an upstream at all, and how a path is joined to its base.

The path is joined as bytes, exactly as the client wrote it: decoding and encoding it again would change what the
upstream sees, and deciding on a decoded path while forwarding another one is a hole. So a path is refused as soon as
*some* reading of it climbs out of its folder: decoded once or many times, with backslashes, path parameters, overlong
UTF-8, full-width dots, or white space that some servers drop.

Octets from 0x80 up are no URI, but clients send them and servers take them: they go on as they came.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from proxy.errors import RouteError

_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f#\\]")
_FORBIDDEN_IN_QUERY = re.compile(rb"[\x00-\x20\x7f#]")
_HARMLESS = re.compile(rb"[^.%\x80-\xff]*+")
"""A path of these alone has one reading: itself."""
_BLANK = r"[\x01-\x20]*+"
_DOT_SEGMENT = re.compile(rf"(?:^|[/\\])[\x00-\x20]*+\.{_BLANK}(?:\.{_BLANK})?(?:[/\\;?#\x00]|$)")
"""`.` or `..` between separators; white space in it, path parameters and whatever follows a NUL do not save it."""
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
"""Octets that spell an ASCII character at length: no UTF-8 (RFC 3629, 3), but lax decoders read `.` or `/`."""
_WIDE_ESCAPE = re.compile(rb"%u([0-9a-f]{4})", re.IGNORECASE)
_MAX_DECODINGS = 5


def join_target(base_path: bytes, rest: bytes, query: bytes) -> bytes:
    """Return the target at the upstream.

    Args:
        base_path: Path of the base URL, without a trailing slash; may be empty.
        rest: The path below it, as the client wrote it; empty or beginning with a slash.
        query: The query with its `?`, as the client wrote it; empty when there is none.

    Raises:
        RouteError: Some server could read the path as leaving the base, or the target as no target.
    """
    if _FORBIDDEN.search(rest) or _FORBIDDEN_IN_QUERY.search(query):
        raise _refused("holds octets that do not belong there")
    if not base_path and rest.startswith(b"//"):
        # `//host/path` names an authority wherever it is resolved as a reference (RFC 3986, 4.2).
        raise _refused("begins with two slashes")
    if _HARMLESS.fullmatch(rest) is None and _climbs(rest):
        raise _refused("holds dot segments, or what a server could read as such")
    return (base_path + rest or b"/") + query


def _refused(why: str) -> RouteError:
    return RouteError(400, "path_refused", f"The path {why}; send it in normal form.")


def _climbs(path: bytes) -> bool:
    """Tell whether some server could read the path as leaving its folder, however it decodes it."""
    for _ in range(_MAX_DECODINGS):
        if _OVERLONG.search(path) or _has_dot_segment(path):
            return True
        decoded = unquote_to_bytes(_WIDE_ESCAPE.sub(_narrowed, path))
        if decoded == path:
            return False
        path = decoded
    return True


def _has_dot_segment(path: bytes) -> bool:
    text = path.decode("utf-8", "replace")
    return bool(_DOT_SEGMENT.search(text) or _DOT_SEGMENT.search(unicodedata.normalize("NFKC", text)))


def _narrowed(escape: re.Match[bytes]) -> bytes:
    """Read `%u002e`, which some servers take for `%2e`."""
    return chr(int(escape[1], 16)).encode("utf-8", "replace")
