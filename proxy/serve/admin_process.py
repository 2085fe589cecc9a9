"""The admin process: API and metrics on a port of its own."""

import socket
from collections.abc import Sequence

from proxy.admin.app import create_admin_app
from proxy.declaration import Secret
from proxy.metrics.folder import metrics_folder
from proxy.serve.web_server import serve_until_told
from proxy.settings import ServeSettings

_KEEPALIVE_S = 5
_GRACEFUL_S = 2


async def run_admin(settings: ServeSettings, listener: socket.socket, job_command: Sequence[str] = ()) -> None:
    """Serve the admin port until this process is told to stop."""
    application = create_admin_app(
        settings.data_dir,
        token=_clear(settings.admin_token),
        read_token=_clear(settings.admin_read_token),
        own_names=[settings.admin_host],
        metrics_folder=metrics_folder(),
        is_captured=not settings.no_capture,
        job_command=job_command,
        job_teachers=settings.job_teachers,
    )
    await serve_until_told(application, listener, keep_alive_s=_KEEPALIVE_S, graceful_s=_GRACEFUL_S)


def _clear(token: Secret | None) -> str | None:
    return None if token is None else token.in_the_clear()
