"""The admin side: what was recorded, told over HTTP on a port of its own.

    GET /healthz                  this process answers
    GET /readyz                   the store can be read
    GET /metrics                  Prometheus text
    GET /admin/api/stats          counts of what the store holds
    GET /admin/api/traces         summaries, newest first: `where`, `cursor`, `limit`
    GET /admin/api/traces/{id}    one whole trace, by our id, the completion's id or `x-request-id`
    GET /admin/api/export         lines, streamed: `format`, `where`, `all`

It only reads. While there is no database yet, everything is empty and nothing is an error.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.admin.guard import AdminGuard, error_response
from proxy.admin.metrics import CONTENT_TYPE, journal_size, metrics_text
from proxy.admin.store import NOTHING, AdminStore
from store import json_text
from store.errors import CursorError, FilterError, StoreError
from store.export import ExportFormat, export
from store.filter import Filter, parse_filter
from store.trace import JsonText
from store.trace_json import stats_json, summary_json, trace_json
from store.trace_lookup import find_trace
from store.traces import Counts, TracePage, TraceReader

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 500
_BLOCK_BYTES = 64 * 1024


class _ParameterError(Exception):
    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


def create_admin_app(
    data_dir: Path,
    *,
    token: str | None = None,
    own_names: Iterable[str] = (),
    metrics_folder: Path | None = None,
) -> ASGIApp:
    """Make the admin application; its reader is opened when a database appears and closed by lifespan shutdown.

    Args:
        data_dir: The data directory; it need not hold a database yet.
        token: Bearer token asked for everywhere but at `/healthz`.
        own_names: Host names, besides `localhost` and IP literals, that requests may name.
        metrics_folder: Where the serving processes tell their counts; None to leave them out.
    """
    api = _AdminApi(data_dir, metrics_folder)
    app = Starlette(
        routes=[
            Route("/healthz", api.healthz),
            Route("/readyz", api.readyz),
            Route("/metrics", api.metrics),
            Route("/admin/api/stats", api.stats),
            Route("/admin/api/traces", api.traces),
            Route("/admin/api/traces/{id}", api.trace),
            Route("/admin/api/export", api.export),
        ],
        exception_handlers={
            HTTPException: _on_http_error,
            _ParameterError: _on_parameter_error,
            FilterError: _on_filter_error,
            CursorError: _on_cursor_error,
            StoreError: _on_store_error,
            Exception: _on_our_error,
        },
        lifespan=api.lifespan,
    )
    app.router.redirect_slashes = False
    return AdminGuard(app, token=token, own_names=own_names)


class _AdminApi:
    def __init__(self, data_dir: Path, metrics_folder: Path | None) -> None:
        self._data_dir = data_dir
        self._metrics_folder = metrics_folder
        self._store = AdminStore(data_dir)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._store.close()

    async def healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        # Ready is who can read the store: one that is not there yet is empty, one that cannot be read answers 503.
        await self._store.reader()
        return PlainTextResponse("ok\n")

    async def metrics(self, _request: Request) -> Response:
        try:
            reader = await self._store.reader()
            counts = Counts(0, 0) if reader is None else await reader.counts()
        except StoreError:
            counts = None  # when the store is in trouble, the other metrics are what it is told by
        journal_bytes = await asyncio.to_thread(journal_size, self._data_dir)
        text = await asyncio.to_thread(
            metrics_text,
            self._metrics_folder,
            traces=None if counts is None else counts.traces,
            dead_letters=None if counts is None else counts.dead_letters,
            journal_bytes=journal_bytes,
        )
        return Response(text, media_type=CONTENT_TYPE)

    async def stats(self, _request: Request) -> Response:
        journal_bytes = await asyncio.to_thread(journal_size, self._data_dir)
        reader = await self._store.reader()
        stats = NOTHING if reader is None else await reader.stats()
        return _json(stats_json(stats, journal_bytes=journal_bytes))

    async def traces(self, request: Request) -> Response:
        query = _read_query(request, "where", "cursor", "limit")
        where, limit = _read_where(query), _read_limit(query)
        reader = await self._store.reader()
        page = TracePage([], None) if reader is None else await reader.page(where, query.get("cursor"), limit)
        data = b",".join(summary_json(summary) for summary in page.summaries)
        return _json(b'{"data":[' + data + b'],"next_cursor":' + json_text.dumps(page.next_cursor) + b"}")

    async def trace(self, request: Request) -> Response:
        _read_query(request)
        asked = request.path_params["id"]
        reader = await self._store.reader()
        trace = None if reader is None else await find_trace(reader, asked)
        if trace is None:
            return error_response(404, f"No trace, completion or request has the id {asked[:80]!r}.", code="not_found")
        return _json(trace_json(trace))

    async def export(self, request: Request) -> Response:
        query = _read_query(request, "format", "where", "all")
        return _ExportResponse(
            self._store, _read_where(query), _read_format(query), include_incomplete=_read_flag(query, "all")
        )


class _ExportResponse(Response):
    """An answer that holds a reader of its own from its first byte to its last, however it ends."""

    def __init__(
        self, store: AdminStore, where: Filter | None, export_format: ExportFormat, *, include_incomplete: bool
    ) -> None:
        super().__init__(media_type="application/x-ndjson")
        self._store = store
        self._where = where
        self._format = export_format
        self._include_incomplete = include_incomplete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._store.own_reader() as reader:
            await StreamingResponse(self._blocks(reader), media_type=self.media_type)(scope, receive, send)

    async def _blocks(self, reader: TraceReader | None) -> AsyncIterator[bytes]:
        """Give the lines in larger blocks: a call to `send` per line would take longer than the lines."""
        if reader is None:
            return
        block = bytearray()
        lines = export(reader.traces(self._where), self._format, include_incomplete=self._include_incomplete)
        async for line in lines:
            block += line
            if len(block) >= _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
        if block:
            yield bytes(block)


def _read_query(request: Request, *known: str) -> dict[str, str]:
    """Give the query's parameters; one that means nothing here is refused, since it would be ignored in silence."""
    for name in request.query_params:
        if name not in known:
            raise _ParameterError(name, f"There is no parameter {name!r} here; known are {', '.join(known) or 'none'}.")
        if len(request.query_params.getlist(name)) > 1:
            raise _ParameterError(name, f"The parameter {name!r} stands twice.")
    return dict(request.query_params)


def _read_where(query: dict[str, str]) -> Filter | None:
    return parse_filter(query["where"]) if query.get("where") else None


def _read_limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(_DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MAX_LIMIT):
        raise _ParameterError("limit", f"limit is {text[:20]!r}; expected a whole number from 1 to {_MAX_LIMIT}.")
    return int(text)


def _read_format(query: dict[str, str]) -> ExportFormat:
    text = query.get("format", ExportFormat.TRACES.value)
    try:
        return ExportFormat(text)
    except ValueError as exc:
        names = ", ".join(ExportFormat)
        raise _ParameterError("format", f"format is {text[:20]!r}; expected one of {names}.") from exc


def _read_flag(query: dict[str, str], name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "1", "false", "0"):
        raise _ParameterError(name, f"{name} is {text[:20]!r}; expected true or false.")
    return text in ("true", "1")


def _json(text: JsonText) -> Response:
    return Response(text, media_type="application/json")


async def _on_http_error(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    if status == 405:
        return error_response(405, f"{request.method} is not allowed here; use GET.", code="method_not_allowed")
    if status == 404:
        return error_response(404, "There is nothing at this path of the admin side.", code="not_found")
    return error_response(status, HTTPStatus(status).phrase, code="http_error")


async def _on_parameter_error(_request: Request, exc: Exception) -> Response:
    return error_response(400, str(exc), code="invalid_parameter", param=getattr(exc, "param", None))


async def _on_filter_error(_request: Request, exc: Exception) -> Response:
    return error_response(400, str(exc), code="invalid_filter", param="where")


async def _on_cursor_error(_request: Request, exc: Exception) -> Response:
    return error_response(400, str(exc), code="invalid_cursor", param="cursor")


async def _on_store_error(_request: Request, exc: Exception) -> Response:
    return error_response(503, str(exc), code="store_unavailable")


async def _on_our_error(_request: Request, _exc: Exception) -> Response:
    return error_response(500, "The admin side failed on this request; its log says why.", code="internal_error")
