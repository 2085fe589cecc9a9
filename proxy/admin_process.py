"""The admin process: API and metrics on a port of its own."""

import socket

import uvicorn

from proxy.admin import create_admin_app
from proxy.settings import ServeSettings


async def run_admin(settings: ServeSettings, listener: socket.socket) -> None:
    """Serve the admin port until this process is told to stop."""
    token = settings.admin_token
    application = create_admin_app(
        settings.data_dir,
        token=token.get_secret_value() if token else None,
        own_names=[settings.admin_host],
    )
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    await uvicorn.Server(config).serve(sockets=[listener])
