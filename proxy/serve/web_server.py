"""How the admin side runs uvicorn: on an inherited socket, and stopped by SIGTERM at whatever moment it comes."""

import signal
import socket

import uvicorn
from starlette.types import ASGIApp

_MAX_HEAD_BYTES = 64 * 1024


async def serve_until_told(
    application: ASGIApp, listener: socket.socket, *, keep_alive_s: int, graceful_s: int
) -> None:
    """Serve on the listener until SIGTERM, then drain.

    Args:
        application: What to serve; its lifespan must work.
        listener: The bound socket.
        keep_alive_s: How long an idle connection is kept.
        graceful_s: How long calls in flight may go on after the signal.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            # The other implementation has no bound on a request's head.
            http="h11",
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            ws="none",
            # "auto" would serve on after a start that failed, and answer 500 to everybody.
            lifespan="on",
            access_log=False,
            log_config=None,
            # The upstream's own `server` and `date` pass through; there must not be two of each.
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=graceful_s,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn listens for signals only while it serves, and raises the one that stopped it once more when it is done:
    # ours is there before and after, so that none is lost and being told to stop is no failure.
    signal.signal(signal.SIGTERM, stop)
    await server.serve(sockets=[listener])
