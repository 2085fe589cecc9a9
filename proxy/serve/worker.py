"""A data worker: the process that moves bytes."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as WebRoute
from starlette.routing import Router

from proxy.calls.exchange import Recorder
from proxy.calls.metrics import WorkerMetrics
from proxy.calls.relay import AnswerCut, Relay
from proxy.calls.routes import RouteTable, parse_upstream
from proxy.calls.upstream import Timeouts, Upstream
from proxy.journal.writer import JOURNAL_FOLDER, Journal
from proxy.serve.web_server import serve_until_told
from proxy.settings import ServeSettings
from store.trace import Outcome

_KEEPALIVE_S = 75
"""For clients' idle connections: longer than the 60 s of common load balancers, so that those hang up first."""


async def run_worker(settings: ServeSettings, listener: socket.socket, salt: bytes) -> None:
    """Serve the data port until this process is told to stop; then finish what is in flight.

    Args:
        settings: The settings in force.
        listener: The bound socket; several workers may share it.
        salt: For key fingerprints.
    """
    journal = Journal(
        settings.data_dir / JOURNAL_FOLDER,
        max_pending_bytes=settings.max_pending_bytes,
        max_disk_bytes=settings.max_journal_bytes,
    )
    recorder = Recorder(
        journal=journal,
        metrics=WorkerMetrics(),
        max_capture_bytes=settings.max_capture_bytes,
        salt=salt,
        open=set(),
    )
    upstream = Upstream(Timeouts(connect_s=settings.connect_timeout_s, silence_s=settings.read_timeout_s))

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        yield
        # uvicorn comes here before it cancels what outlasted the drain: end those calls now, while the journal lives.
        for exchange in list(recorder.open):
            exchange.end(Outcome.INTERRUPTED)
        await asyncio.to_thread(journal.close)
        await upstream.close()

    relay = Relay(RouteTable(parse_upstream(settings.upstream)), upstream, recorder)
    probes = [WebRoute("/healthz", _alive), WebRoute("/readyz", _alive)]
    application = Router(probes, redirect_slashes=False, default=relay, lifespan=lifespan)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    await serve_until_told(
        application, listener, keep_alive_s=_KEEPALIVE_S, graceful_s=max(1, round(settings.drain_timeout_s))
    )


async def _alive(_request: Request) -> Response:
    """A worker that answers is alive and ready: a stopping one accepts no connection any more.

    Capture has no say here: a full disk must not take the path of the calls away (`docs/contract.md`).
    """
    return PlainTextResponse("ok\n")


def _is_news(record: logging.LogRecord) -> bool:
    """Keep an answer that the upstream cut from looking like a crash of ours; it is in the trace and the metrics."""
    return not (record.exc_info and isinstance(record.exc_info[1], AnswerCut))
