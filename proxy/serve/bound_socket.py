"""Sockets that the supervisor binds and its children accept from."""

import asyncio
import socket
import time

from proxy.errors import StartError

_BIND_PATIENCE_S = 3.0
"""A server that was killed a moment ago may hold its port until its processes have noticed."""
_PROBE_S = 0.05
_BACKLOG = 2048


def bind(host: str, port: int, flag: str) -> socket.socket:
    """Bind a listening socket, waiting a little for an instance that is just ending.

    Raises:
        StartError: The port is taken or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + _BIND_PATIENCE_S
    while True:
        try:
            listener.bind((host.strip("[]"), port))
            listener.listen(_BACKLOG)
        except OSError as error:
            if port and time.monotonic() < deadline and "in use" in str(error):
                time.sleep(_PROBE_S)
                continue
            listener.close()
            raise StartError(
                f"cannot listen on {host}:{port} ({error.strerror}); give another --{flag}, or 0 for a free one."
            ) from error
        return listener


def url_of(listener: socket.socket) -> str:
    """Return where the socket listens, the port as bound."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def answers(listener: socket.socket, *, patience_s: float) -> bool:
    """Tell whether `/healthz` on this port answers 200 within that time."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(patience_s):
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except OSError:  # a timeout is one, too
        return False
    finally:
        writer.close()
