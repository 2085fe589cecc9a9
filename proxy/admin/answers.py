"""Answers of the admin side: JSON of what the store gives, and an error of the one shape for whatever is raised."""

import logging
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from proxy.admin.public_message import public_message
from proxy.admin.refusal import AdminRefusal, Code, error_response
from store.errors import CursorError, FilterError, StoreError
from store.trace import JsonText

_log = logging.getLogger("tracemill.admin")


def json_answer(text: JsonText, status: int = 200) -> Response:
    """Make an answer of JSON that is written already."""
    return Response(text, status, media_type="application/json")


async def _on_http_error(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    headers = (exc.headers if isinstance(exc, HTTPException) else None) or {}
    if status == 405:
        allowed = headers.get("Allow", "GET, HEAD")
        return error_response(
            Code.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here; use {allowed}.", headers={"allow": allowed}
        )
    if status == 404:
        return error_response(Code.NOT_FOUND, "There is nothing at this path of the admin side.")
    return error_response(Code.HTTP_ERROR, HTTPStatus(status).phrase, status=status)


async def _on_filter_error(_request: Request, exc: Exception) -> Response:
    return error_response(Code.INVALID_FILTER, str(exc), param="where")


async def _on_cursor_error(_request: Request, exc: Exception) -> Response:
    return error_response(Code.INVALID_CURSOR, str(exc), param="cursor")


async def _on_departure(request: Request, _exc: Exception) -> Response:
    path = request.scope["raw_path"].decode("ascii", "replace")
    _log.info("%s %s: the client left before its body was whole; nothing was done", request.method, path)
    # Heard by a client alone that has closed its own side and still reads.
    return error_response(Code.HTTP_ERROR, "The body ended too early; send it again.")


async def _on_our_error(_request: Request, _exc: Exception) -> Response:
    return error_response(Code.INTERNAL_ERROR, "The admin side failed on this request; its log says why.")


def exception_handlers(data_dir: Path) -> dict[type[Exception], ExceptionHandler]:
    """Tell what becomes of each exception; the nearest class counts."""

    async def on_refusal(_request: Request, exc: Exception) -> Response:
        assert isinstance(exc, AdminRefusal)  # noqa: S101 - it is registered for nothing else
        return error_response(exc.code, public_message(str(exc), data_dir), param=exc.param)

    async def on_store_error(_request: Request, exc: Exception) -> Response:
        return error_response(Code.STORE_UNAVAILABLE, public_message(str(exc), data_dir))

    return {
        HTTPException: _on_http_error,
        AdminRefusal: on_refusal,
        FilterError: _on_filter_error,
        CursorError: _on_cursor_error,
        StoreError: on_store_error,
        ClientDisconnect: _on_departure,
        Exception: _on_our_error,
    }
