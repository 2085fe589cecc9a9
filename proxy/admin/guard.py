"""The gate of the admin side: who may come in, and what every answer carries.

It stands in front of all routes as plain ASGI, so that a route added later is guarded without anybody remembering to.
"""

import hmac
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.admin.host_check import is_own_host
from proxy.admin.refusal import Code, error_response

_OPEN_PATHS = frozenset({"/healthz"})
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class AdminGuard:
    """Refuses foreign `Host` names and missing tokens, and adds the security headers to every answer.

    Args:
        app: What is guarded.
        token: Bearer token asked for everywhere but at `/healthz`; None asks for none.
        own_names: Host names, besides `localhost` and IP literals, under which the admin side may be called.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, own_names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._own_names = tuple(own_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_SECURITY_HEADERS]}
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if not is_own_host((value for name, value in headers if name == b"host"), own_names=self._own_names):
            return error_response(
                Code.HOST_NOT_ALLOWED,
                "The Host header names no address of the admin side. Call it by IP address, by localhost, or by the "
                "name that admin_host holds.",
            )
        if self._token is None or scope["path"] in _OPEN_PATHS or self._has_token(headers, self._token):
            return None
        return error_response(
            Code.INVALID_TOKEN,
            "The admin side asks for its token: send `Authorization: Bearer <admin_token>`.",
            headers={"www-authenticate": "Bearer"},
        )

    @staticmethod
    def _has_token(headers: list[tuple[bytes, bytes]], token: bytes) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, credentials = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.strip(), token)
