"""The parts of a path as they were sent: a slash that was sent as `%2F` stands inside a part, not between two.

Ids come from the files of others, so a row may be called `a/b`. The framework routes by the decoded path, in which
nothing tells the two slashes apart any more. So routes see the path with slashes inside of parts still quoted, and each
part that a handler reads is decoded by itself (RFC 3986, section 2.2).
"""

from urllib.parse import quote, unquote

from starlette.types import ASGIApp, Receive, Scope, Send


class PathParts:
    """Routes by the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        raw_path = scope.get("raw_path")
        if raw_path:
            parts = raw_path.decode("ascii", "replace").split("/")
            scope = {**scope, "path": "/".join(_written(unquote(part)) for part in parts)}
        await self._app(scope, receive, send)


def read_part(part: str) -> str:
    """Read a part of a path that a route has found."""
    return unquote(part)


def _written(part: str) -> str:
    """Write a part in the one way that routes see it: nothing quoted but slashes and what quotes them."""
    return part.replace("%", quote("%")).replace("/", quote("/", safe=""))
