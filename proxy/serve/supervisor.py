"""The parent of the serving processes: starts them, watches them, starts a crashed one again, stops them in order."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from proxy.errors import StartError
from proxy.metrics.folder import FOLDER_VARIABLE, bury, made_folder
from proxy.metrics.supervisor_metrics import SupervisorMetrics
from proxy.metrics.teller import Teller
from proxy.serve.child import Child
from proxy.serve.process import Assignment
from proxy.settings import ServeSettings

_log = logging.getLogger("tracemill.supervisor")

_BIND_PATIENCE_S = 3.0
"""A server that was killed a moment ago may hold its port until its processes have noticed."""
_READY_PATIENCE_S = 30.0
_PROBE_S = 0.05
_END_PATIENCE_S = 10.0
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server listens, ports as bound."""

    proxy: str
    admin: str


def run_supervisor(settings: ServeSettings, on_ready: Callable[[Addresses], None]) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; a second signal stops at once.

    Args:
        settings: The settings in force; the data directory is there and its database is usable.
        on_ready: Called once, when both ports answer.

    Raises:
        StartError: A port is taken, or the processes do not come up.
    """
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(_bind(settings.host, settings.port, "port"))
        admin = stack.enter_context(_bind(settings.admin_host, settings.admin_port, "admin-port"))
        supervisor = _Supervisor(settings, data, admin, stack.enter_context(made_folder()))
        stack.enter_context(supervisor.telling())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(supervisor.run(on_ready))


class _Supervisor:
    def __init__(self, settings: ServeSettings, data: socket.socket, admin: socket.socket, metrics: Path) -> None:
        self._settings = settings
        self._data, self._admin = data, admin
        self._metrics_folder = metrics
        self._metrics = SupervisorMetrics()
        self._environment = {**os.environ, FOLDER_VARIABLE: str(metrics)}
        self._salt = _key_salt(settings.data_dir)
        self._stop = asyncio.Event()
        self._is_forced = asyncio.Event()

    async def run(self, on_ready: Callable[[Addresses], None]) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal)
        # Stopped in this order: the workers' last entries are stored before ingest goes.
        workers = [self._child(f"worker {n + 1}", "worker", self._data) for n in range(self._settings.workers)]
        ingest = self._child("ingest", "ingest", None)
        admin = self._child("admin", "admin", self._admin)
        otlp = [self._child("otlp", "otlp", None)] if self._settings.otlp_endpoint else []
        children = [ingest, admin, *otlp, *workers]
        try:
            async with asyncio.timeout(_READY_PATIENCE_S):
                for child in children:
                    await child.start()
                await self._wait_ready(children)
        except TimeoutError as error:
            raise StartError("the serving processes did not come up within 30 s; their log lines say why.") from error
        else:
            on_ready(Addresses(proxy=_url(self._data), admin=_url(self._admin)))
            await self._stop.wait()
            _log.info("stopping: calls in flight have %g s to finish", self._settings.drain_timeout_s)
        finally:
            # From here on a new connection is refused at once instead of waiting for nobody.
            self._data.close()
            self._admin.close()
            await self._end(workers, self._settings.drain_timeout_s + _END_PATIENCE_S)
            await self._end([ingest, admin, *otlp], _END_PATIENCE_S)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._is_forced.set()
        self._stop.set()

    def _child(self, name: str, role: str, listener: socket.socket | None) -> Child:
        self._metrics.watched(name)
        return Child(name, self._starter(role, listener), self._on_death)

    def telling(self) -> contextlib.closing[Teller]:
        """Tell the supervisor's own counts while the context is open."""
        return contextlib.closing(Teller(self._metrics_folder, "supervisor", self._metrics.counts))

    def _on_death(self, name: str, pid: int, *, is_restarted: bool) -> None:
        """Take a dead process out of the gauges: the calls it had in flight are in flight no longer."""
        if is_restarted:
            self._metrics.restarted(name)
        try:
            bury(self._metrics_folder, pid)
        except OSError as error:
            _log.warning("the counts of %s (process %d) cannot be put to the others (%s)", name, pid, error)

    def _starter(self, role: str, listener: socket.socket | None) -> Callable[[], Any]:
        async def start() -> asyncio.subprocess.Process:
            number = None if listener is None else listener.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "proxy.serve.process",
                role,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=() if number is None else (number,),
                env=self._environment,
                start_new_session=True,
            )
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            assignment = Assignment(_in_the_clear(self._settings), self._salt, number)
            with contextlib.suppress(ConnectionError):
                process.stdin.write(assignment.to_line())
                await process.stdin.drain()
            return process

        return start

    async def _wait_ready(self, children: list[Child]) -> None:
        for listener in (self._data, self._admin):
            while not await _answers(listener, patience_s=1.0):
                failed = next((child for child in children if child.failures > 3), None)
                if failed is not None or self._stop.is_set():
                    raise StartError(f"{failed.name if failed else 'the server'} ended while starting.")
                await asyncio.sleep(_PROBE_S)

    async def _end(self, children: list[Child], patience_s: float) -> None:
        forced = asyncio.create_task(self._is_forced.wait())
        ending = asyncio.create_task(_gather([child.end() for child in children]))
        await asyncio.wait({forced, ending}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            for child in children:
                child.kill()
            await ending
        forced.cancel()


def _bind(host: str, port: int, flag: str) -> socket.socket:
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
        listener.set_inheritable(True)
        return listener


def _key_salt(data_dir: Path) -> str:
    """Return the salt of this data directory, made at its first start."""
    path = data_dir / "key-salt"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(16))
    return path.read_text().strip()


def _in_the_clear(settings: ServeSettings) -> dict[str, Any]:
    token = settings.admin_token
    return {**settings.model_dump(mode="json"), "admin_token": token.get_secret_value() if token else None}


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _answers(listener: socket.socket, *, patience_s: float) -> bool:
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


async def _gather(endings: list[Any]) -> None:
    await asyncio.gather(*endings)
