"""The parent of the serving processes: starts them, watches them, starts a crashed one again, stops them in order."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from proxy.errors import ProxyError, StartError
from proxy.key_salt import key_salt
from proxy.metrics.folder import FOLDER_VARIABLE, bury, made_folder
from proxy.metrics.supervisor_metrics import SupervisorMetrics
from proxy.metrics.teller import Teller
from proxy.serve.assignment import Assignment
from proxy.serve.bound_socket import answers, bind, url_of
from proxy.serve.child import Child
from proxy.serve.notice import post_notice
from proxy.serve.readiness import Readiness
from proxy.settings import ServeSettings
from proxy.settings_json import to_json
from store.data_files import WORK_FILE

_log = logging.getLogger("tracemill.supervisor")

_READY_PATIENCE_S = 30.0
_PROBE_S = 0.05
_JOBS_LOOK_S = 0.3
_END_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server listens, ports as bound."""

    proxy: str
    admin: str


class Renewal(NamedTuple):
    """Settings that were gathered again.

    Attributes:
        settings: To be put in force.
        unchanged: Names of those that somebody changed and that stay as they are while the server runs.
    """

    settings: ServeSettings
    unchanged: tuple[str, ...]


Reload = Callable[[ServeSettings], Awaitable[Renewal]]


def run_supervisor(
    settings: ServeSettings,
    on_ready: Callable[[Addresses], None],
    reload: Reload,
    job_command: Sequence[str] = (),
) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; a second signal stops at once. SIGHUP reads the settings anew.

    Args:
        settings: The settings in force; the data directory is there and its database is usable.
        on_ready: Called once, when both ports answer.
        reload: Takes the settings in force and gathers them again, or raises SettingsError.
        job_command: The command that checks and runs filed jobs; none are taken without one.

    Raises:
        StartError: A port is taken, or the processes do not come up.
    """
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(bind(settings.host, settings.port, "port"))
        admin = stack.enter_context(bind(settings.admin_host, settings.admin_port, "admin-port"))
        supervisor = _Supervisor(settings, reload, data, admin, stack.enter_context(made_folder()), tuple(job_command))
        stack.enter_context(supervisor.telling())
        # The loop of the standard library: uvloop is fast where bytes move, and takes 2 MB and with it all of TLS.
        asyncio.run(supervisor.run(on_ready))


class _Supervisor:
    def __init__(
        self,
        settings: ServeSettings,
        reload: Reload,
        data: socket.socket,
        admin: socket.socket,
        metrics: Path,
        job_command: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._job_command = () if settings.no_capture else job_command
        self._gather_settings = reload
        self._data, self._admin = data, admin
        self._metrics_folder = metrics
        self._metrics = SupervisorMetrics()
        self._environment = {**os.environ, FOLDER_VARIABLE: str(metrics)}
        self._salt = os.urandom(16).hex() if settings.no_capture else key_salt(settings.data_dir)
        self._stop = asyncio.Event()
        self._is_forced = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._jobs: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._started_at = time.time()

    async def run(self, on_ready: Callable[[Addresses], None]) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        # Stopped in this order: the workers' last entries are stored before ingest goes.
        self._workers = [self._worker(number) for number in range(self._settings.workers)]
        self._others = [self._child("admin", "admin", self._admin)]
        if not self._settings.no_capture:
            self._others.insert(0, self._child("ingest", "ingest", None))
        if self._settings.otlp_endpoint:
            self._others.append(self._child("otlp", "otlp", None))
        try:
            async with asyncio.timeout(_READY_PATIENCE_S):
                for child in [*self._others, *self._workers]:
                    await child.start()
                await self._wait_ready([*self._others, *self._workers])
        except TimeoutError as error:
            raise StartError("the serving processes did not come up within 30 s; their log lines say why.") from error
        else:
            self._addresses = Addresses(proxy=url_of(self._data), admin=url_of(self._admin))
            self._post_notice()
            on_ready(self._addresses)
            if self._job_command:
                self._jobs = asyncio.create_task(self._run_jobs(self._job_command), name="run jobs")
            await self._reload_until_stopped()
            _log.info("stopping: calls in flight have %g s to finish", self._settings.drain_timeout_s)
        finally:
            # From here on a new connection is refused at once instead of waiting for nobody.
            self._data.close()
            self._admin.close()
            self._stop.set()
            await self._end(self._workers, self._settings.drain_timeout_s + _END_PATIENCE_S)
            if self._leaving:
                await asyncio.wait(self._leaving)
            await self._end(self._others, _END_PATIENCE_S)
            if self._jobs is not None:
                await self._jobs

    def _has_work(self) -> bool:
        return os.access(self._settings.data_dir / WORK_FILE, os.F_OK)

    async def _run_jobs(self, command: Sequence[str]) -> None:
        """Run what is filed until the stop, and end it then."""
        while not self._has_work():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _JOBS_LOOK_S)
                return
        # Imported here: SQLite and what knows of jobs take 2 MB, and most servers are never given a job.
        from proxy.serve.job_runner import JobRunner

        runner = JobRunner(self._settings.data_dir, command, lambda: self._settings, os.environ)
        runner.start()
        await self._stop.wait()
        await runner.end(self._is_forced, _END_PATIENCE_S)

    async def _reload_until_stopped(self) -> None:
        while True:
            waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._reload_wanted)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._stop.is_set():
                return
            self._reload_wanted.clear()
            await self._reload()

    async def _reload(self) -> None:
        """Put the settings of now in force: every process gets a successor, and no call notices."""
        try:
            renewal = await self._gather_settings(self._settings)
        except ProxyError as error:
            _log.error("the settings stay as they were: %s", error)
            return
        if renewal.unchanged:
            _log.warning("%s cannot change while serving; restart the server for that", ", ".join(renewal.unchanged))
        self._settings = renewal.settings
        self._post_notice()
        _log.info("the settings were read again; each process is being replaced")
        for number in range(len(self._workers)):
            await self._replace_worker(number)
        for number, child in enumerate(self._others):
            # The port stays open meanwhile and whoever calls waits; the journal waits for ingest.
            await self._end([child], _END_PATIENCE_S)
            self._others[number] = child.successor()
            await self._others[number].start()

    async def _replace_worker(self, number: int) -> None:
        """Have a successor serve, then let the old one finish its calls."""
        readiness = Readiness()
        successor = self._worker(number, readiness)
        try:
            await successor.start()
        except OSError as error:
            _log.error("%s cannot be replaced (%s); it goes on as it was", successor.name, error)
            return
        if not await readiness.wait(_READY_PATIENCE_S):
            _log.error("the successor of %s does not come up; the old one goes on as it was", successor.name)
            await self._end([successor], _END_PATIENCE_S)
            return
        old, self._workers[number] = self._workers[number], successor
        leaving = asyncio.create_task(self._end([old], self._settings.drain_timeout_s + _END_PATIENCE_S))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _worker(self, number: int, readiness: Readiness | None = None) -> Child:
        return self._child(f"worker {number + 1}", "worker", self._data, readiness)

    def _post_notice(self) -> None:
        """Let the self-check see where we listen and by which settings; serving does not depend on it."""
        proxy, admin = self._addresses.proxy, self._addresses.admin
        try:
            post_notice(self._metrics_folder, self._settings, proxy=proxy, admin=admin, started_at=self._started_at)
        except OSError as error:
            _log.warning("the notice of this server cannot be written (%s); `tracemill doctor` will not see it", error)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._is_forced.set()
        self._stop.set()

    def _child(self, name: str, role: str, listener: socket.socket | None, readiness: Readiness | None = None) -> Child:
        self._metrics.watched(name)
        return Child(name, self._starter(role, listener, readiness), self._on_death)

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

    def _starter(self, role: str, listener: socket.socket | None, readiness: Readiness | None) -> Callable[[], Any]:
        first_readiness = [readiness] if readiness is not None else []

        async def start() -> asyncio.subprocess.Process:
            number = None if listener is None else listener.fileno()
            # Only the first process of a child is waited for; one that is started after a crash is not.
            ready = first_readiness.pop() if first_readiness else None
            said_by = None if ready is None else ready.write_end
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "proxy.serve.process",
                role,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=[each for each in (number, said_by) if each is not None],
                env=self._environment,
                start_new_session=True,
            )
            if ready is not None:
                ready.was_given()
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            assignment = Assignment(
                to_json(self._settings, in_the_clear=True), self._salt, number, said_by, self._job_command
            )
            with contextlib.suppress(ConnectionError):
                process.stdin.write(assignment.to_line())
                await process.stdin.drain()
            return process

        return start

    async def _wait_ready(self, children: list[Child]) -> None:
        for listener in (self._data, self._admin):
            while not await answers(listener, patience_s=1.0):
                failed = next((child.name for child in children if child.failures > 3), None)
                if failed or self._stop.is_set():
                    raise StartError(f"{failed or 'the server'} ended while starting.")
                await asyncio.sleep(_PROBE_S)

    async def _end(self, children: list[Child], patience_s: float) -> None:
        forced: asyncio.Future[Any] = asyncio.create_task(self._is_forced.wait())
        ending: asyncio.Future[Any] = asyncio.gather(*(child.end() for child in children))
        await asyncio.wait({forced, ending}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            for child in children:
                child.kill()
            await ending
        forced.cancel()
