"""The gate of the admin side: who may come in, and what every answer carries.

It stands in front of all routes as plain ASGI, so that a route added later is guarded without anybody remembering to.
What a token allows is for each operation to say; the gate tells who asks, under `BEARER` in the scope.
"""

import logging
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.admin.bearer import LOCAL, NOBODY, Bearer, FailedTokens, Tokens, given_credentials
from proxy.admin.host_check import is_own_host
from proxy.admin.origin_check import is_foreign
from proxy.admin.refusal import Code, error_response

BEARER = "tracemill.bearer"
"""Key of the connection's scope under which the operations find who asks."""

_OPEN_PATHS = frozenset({"/healthz"})
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)

_log = logging.getLogger("tracemill.admin")

Fields = list[tuple[bytes, bytes]]


class AdminGuard:
    """Refuses foreign `Host` names, foreign pages and missing tokens, and adds the security headers to every answer.

    Args:
        app: What is guarded.
        tokens: What is asked for everywhere but at `/healthz`.
        own_names: Host names, besides `localhost` and IP literals, under which the admin side may be called.
        failed: Counts the wrong tokens.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, own_names: Iterable[str] = (), failed: FailedTokens | None = None
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._own_names = tuple(own_names)
        self._failed = failed or FailedTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own: Fields = list(message.get("headers", []))
                set_already = {name.lower() for name, _ in own}
                added = [field for field in _SECURITY_HEADERS if field[0] not in set_already]
                message = {**message, "headers": [*own, *added]}
            await send(message)

        headers: Fields = scope["headers"]
        answer: ASGIApp = self._app
        found = self._refusal(scope["method"], headers) or self._bearer(scope, headers)
        if isinstance(found, Bearer):
            scope = {**scope, BEARER: found}
        else:
            answer = found
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Fields) -> Response | None:
        if not is_own_host((value for name, value in headers if name == b"host"), own_names=self._own_names):
            return error_response(
                Code.HOST_NOT_ALLOWED,
                "The Host header names no address of the admin side. Call it by IP address, by localhost, or by the "
                "name that admin_host holds.",
            )
        if is_foreign(method, headers):
            return error_response(
                Code.FOREIGN_ORIGIN, "A web page of another origin asks; the admin side answers its own alone."
            )
        return None

    def _bearer(self, scope: Scope, headers: Fields) -> Bearer | Response:
        if scope["path"] in _OPEN_PATHS:
            return NOBODY
        if not self._tokens.is_asked_for:
            return LOCAL
        given = given_credentials(value for name, value in headers if name == b"authorization")
        if given is None:
            return _ask_for_token("The admin side asks for its token: send `Authorization: Bearer <admin_token>`.")
        peer = scope["client"][0] if scope.get("client") else ""
        wait_s = self._failed.wait_s(peer)
        if wait_s is not None:
            return error_response(
                Code.TOO_MANY_FAILURES,
                f"Too many wrong tokens came from this address; try again in {wait_s} s.",
                headers={"retry-after": str(wait_s)},
            )
        bearer = self._tokens.bearer(given)
        if bearer is not None:
            return bearer
        if self._failed.add(peer):
            _log.warning("too many wrong admin tokens from %s: it is refused for a minute", peer or "an unknown peer")
        return _ask_for_token("The token is none of those that admin_token and admin_read_token hold.")


def _ask_for_token(message: str) -> Response:
    return error_response(Code.INVALID_TOKEN, message, headers={"www-authenticate": "Bearer"})
