"""Asks models over HTTP: one request in, one parsed completion or one named fault out.

The only module of this room that speaks HTTP. It decides what may be tried again: 429 (and 503 that names a time) asks
for patience and never counts as an attempt; other 5xx, cut connections and bodies that are not JSON are tried again a
few times; a request that the upstream calls wrong is never sent twice; a refused key stops the run.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx

from processing.endpoint import Endpoint
from processing.errors import TeacherError
from processing.http_clients import HttpClients
from processing.http_reply import CHAT, MAX_WAIT_S, Completion, Patience, Service, Stop, TryAgain, read_reply
from processing.pace import AutoPace, FixedPace, Pace

MAX_RETRIES = 4
MAX_REPLY_BYTES = 32 * 1024 * 1024
_FAILURES_BEFORE_STOP = 10
_REJECTIONS_BEFORE_STOP = 5
"""So many different questions in a row that a model calls wrong, before it answered any, mean that all are."""
_LEAST_WAIT_S = 1.0
"""A server that answers 429 and asks for no wait at all is still given a moment."""


Keep = Callable[[Completion], Awaitable[None]]


class ModelClient:
    """One HTTP client for every model of a run, with the run's bound on calls in flight.

    Args:
        parallel: Calls in flight at once, over all models; None for as many as each server bears.
        first_wait_s: First wait before trying again; doubles each time.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        parallel: int | None,
        *,
        first_wait_s: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = HttpClients()
        self._common = None if parallel is None else FixedPace(parallel)
        self._paces: dict[str, Pace] = {}
        self._model_paces: dict[str, Pace] = {}
        self._first_wait_s = first_wait_s
        self._sleep = sleep
        self._not_before: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._reached: set[str] = set()
        self._answered: set[str] = set()
        self._rejections: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._clients.aclose()

    async def complete(
        self, where: Endpoint, body: Mapping[str, Any], keep: Keep | None = None, *, service: Service = CHAT
    ) -> Completion:
        """Ask for one completion and wait until it has ended for good.

        Args:
            where: Whom to ask.
            body: The request body.
            keep: Awaited with the completion before another call may take this one's place: whatever kills the
                process, no more calls than were in flight are paid for and not kept.
            service: What is asked for: chat completions, or embeddings, whose answer is a completion all the same.

        Raises:
            TeacherError: The key is refused, the server cannot be reached or keeps failing, the model calls every
                question wrong, or more patience than `MAX_WAIT_S` was asked for.
        """
        attempts = waits = 0
        waited_s = 0.0
        pace = self._pace(where)
        while True:
            try:
                async with self._slot(where):
                    await self._wait_for_brake(where)
                    began_at = asyncio.get_running_loop().time()
                    completion = self._ended(where, await self._send(where, body, service))
                    completion = replace(completion, attempts=attempts + 1)
                    if keep is not None:
                        await keep(completion)
            except Patience as asked:
                pace.slowed(began_at)
                backoff_s = self._backoff_s(waits)
                wait_s = backoff_s if asked.seconds is None else max(asked.seconds, min(backoff_s, _LEAST_WAIT_S))
                waits += 1
                waited_s += wait_s
                if waited_s > MAX_WAIT_S:
                    problem = f"it asked to wait more than {MAX_WAIT_S:.0f} s (429)."
                    raise _stopped(
                        where, "waited_too_long", f"{problem} Run again later: what is paid is kept."
                    ) from None
                self._brake(where, wait_s)
            except TryAgain as fault:
                attempts += 1
                # A server that was never reached is down or misspelt; one that was may be restarting.
                hopeless = fault.is_unreachable and where.shown_url not in self._reached
                if attempts > (1 if hopeless else MAX_RETRIES):
                    return self._give_up(where, fault, attempts)
                await self._sleep(self._backoff_s(attempts - 1))
            else:
                pace.answered()
                return completion

    def _ended(self, where: Endpoint, completion: Completion) -> Completion:
        """Take note of an end; a rejection is only remembered of a model that answers other questions."""
        self._failures[where.shown_url] = 0
        if completion.fault != "rejected":
            self._answered |= {where.shown_url, _model_of(where)}
            return completion
        rejections = self._rejections[_model_of(where)] = self._rejections.get(_model_of(where), 0) + 1
        if _model_of(where) in self._answered:
            return completion
        if rejections >= _REJECTIONS_BEFORE_STOP:
            problem = f"it answered none of {rejections} different questions. The last time: {completion.detail}"
            raise _stopped(where, "rejecting", f"{problem}. Check models.NAME.model and models.NAME.extra_body.")
        return replace(completion, is_final=False)

    def _pace(self, where: Endpoint) -> Pace:
        """The bound that all models share or, where there is none, what this server bears."""
        return self._common or self._paces.setdefault(where.shown_url, AutoPace())

    def _slot(self, where: Endpoint) -> "_Slots":
        own = None
        if where.max_parallel is not None:
            own = self._model_paces.setdefault(where.name, FixedPace(where.max_parallel))
        return _Slots(own, self._pace(where))

    def _backoff_s(self, tries: int) -> float:
        return float(min(self._first_wait_s * 2**tries, 30.0) * random.uniform(0.75, 1.25))

    def _brake(self, where: Endpoint, wait_s: float) -> None:
        # One 429 slows every call to that server: others would only be told the same.
        until = asyncio.get_running_loop().time() + wait_s * random.uniform(1.0, 1.1)
        self._not_before[where.shown_url] = max(until, self._not_before.get(where.shown_url, 0.0))

    async def _wait_for_brake(self, where: Endpoint) -> None:
        wait_s = self._not_before.get(where.shown_url, 0.0) - asyncio.get_running_loop().time()
        if wait_s > 0:
            await self._sleep(wait_s)

    def _give_up(self, where: Endpoint, fault: TryAgain, attempts: int) -> Completion:
        failures = self._failures[where.shown_url] = self._failures.get(where.shown_url, 0) + 1
        never_answered = where.shown_url not in self._answered
        if fault.is_unreachable or never_answered or failures >= _FAILURES_BEFORE_STOP:
            code = "unreachable" if fault.is_unreachable else "failing"
            problem = f"{fault.problem}, {attempts} times. Check the server and run again: what is paid for is kept."
            raise _stopped(where, code, problem)
        return Completion(None, "failing", fault.problem, attempts, is_final=False)

    async def _send(self, where: Endpoint, body: Mapping[str, Any], service: Service) -> Completion:
        headers = {"content-type": "application/json"}
        if where.api_key:
            headers["authorization"] = f"Bearer {where.api_key}"
        url = where.url_of(service.path)
        clock = asyncio.get_running_loop().time
        sent_at = clock()
        try:
            async with (
                self._clients.one() as client,
                client.stream("POST", url, content=json.dumps(body).encode(), headers=headers) as response,
            ):
                raw = bytearray()
                async for block in response.aiter_bytes():
                    raw += block
                    if len(raw) > MAX_REPLY_BYTES:
                        return Completion(None, "rejected", f"the answer is longer than {MAX_REPLY_BYTES} bytes")
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise TryAgain(f"cannot be reached ({type(exc).__name__})", is_unreachable=True) from exc
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as exc:
            raise _stopped(where, "unreachable", "this cannot be asked. Check models.NAME.base_url.") from exc
        except httpx.TransportError as exc:
            raise TryAgain(f"the answer broke off ({type(exc).__name__})") from exc
        except httpx.DecodingError as exc:
            raise TryAgain("the answer cannot be decoded") from exc
        duration_ms = round((clock() - sent_at) * 1000, 3)
        self._reached.add(where.shown_url)
        try:
            completion = read_reply(response.status_code, response.headers, bytes(raw), service)
            return replace(completion, duration_ms=duration_ms)
        except Stop as stop:
            raise _stopped(where, stop.code, stop.problem) from None


def _stopped(where: Endpoint, code: str, problem: str) -> TeacherError:
    return TeacherError(where.name, where.shown_url, code, problem)


def _model_of(where: Endpoint) -> str:
    return f"{where.shown_url} {where.model}"


class _Slots:
    """The model's own slot first, then the common one, so that a slow model never holds common slots while it waits."""

    def __init__(self, own: Pace | None, common: Pace) -> None:
        self._wanted = [pace for pace in (own, common) if pace is not None]
        self._held = AsyncExitStack()

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for pace in self._wanted:
                await stack.enter_async_context(pace)
            self._held = stack.pop_all()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._held.aclose()
