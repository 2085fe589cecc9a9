"""One process of ours that is kept running: started again, with a pause that grows, whatever ends it."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

_log = logging.getLogger("tracemill.supervisor")

_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 5.0
_STABLE_S = 10.0
"""A process that ran so long was no failing start: the pause begins at its shortest again."""


class OnDeath(Protocol):
    """Who wants to know of a death."""

    def __call__(self, name: str, pid: int, *, is_restarted: bool) -> None:
        """Take the name and the id of a process that ended, and whether another one takes its place."""


class Child:
    """One process that is kept running until it is told to end."""

    def __init__(
        self, name: str, starter: Callable[[], Awaitable[asyncio.subprocess.Process]], on_death: OnDeath
    ) -> None:
        """Start nothing yet; `starter` starts the process, and each of its successors."""
        self.name = name
        self.failures = 0
        self._starter = starter
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """Start the process and begin to watch it. Raises OSError when the system has no process to give."""
        self._process = await self._starter()
        self._keeper = asyncio.create_task(self._keep_running(), name=f"keep {self.name}")

    async def end(self) -> None:
        """Ask the process to stop and wait until it has."""
        self._ending.set()
        self._signal(signal.SIGTERM)
        if self._keeper is not None:
            await self._keeper

    def successor(self) -> "Child":
        """Return a child that does the same, not started yet."""
        return Child(self.name, self._starter, self._on_death)

    def kill(self) -> None:
        """End the process at once."""
        _log.warning("%s did not stop in time and is killed; the journal keeps what it had written", self.name)
        self._signal(signal.SIGKILL)

    async def _keep_running(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            assert self._process is not None  # noqa: S101 - start() has set it
            started = time.monotonic()
            code = await self._process.wait()
            self._on_death(self.name, self._process.pid, is_restarted=not self._ending.is_set())
            if self._ending.is_set():
                return
            self.failures += 1
            if time.monotonic() - started > _STABLE_S:
                backoff_s = _FIRST_BACKOFF_S
            _log.error(
                "%s (process %d) ended with code %d; starting it again in %g s",
                self.name, self._process.pid, code, backoff_s,
            )  # fmt: skip
            if not await self._start_again(backoff_s):
                return
            backoff_s = min(backoff_s * 2, _LAST_BACKOFF_S)

    async def _start_again(self, backoff_s: float) -> bool:
        """Start the process after a pause, in as many tries as it takes; False when it is to end instead."""
        while not await self._is_ending_within(backoff_s):
            try:
                self._process = await self._starter()
            except OSError as error:
                # No memory, no process or no descriptor to be had now: that passes, and nobody else would try again.
                backoff_s = min(backoff_s * 2, _LAST_BACKOFF_S)
                _log.error("%s cannot be started (%s); trying again in %g s", self.name, error, backoff_s)
                continue
            if self._ending.is_set():
                # Told to end while it was being started: what was told then reached nobody.
                self._signal(signal.SIGTERM)
            return True
        return False

    async def _is_ending_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        return self._ending.is_set()

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signum)
