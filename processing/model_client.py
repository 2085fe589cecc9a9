"""Asks models over HTTP: one request in, one parsed completion or one named fault out.

The only module of this room that speaks HTTP. It decides what may be tried again: 429 (and 503 that names a time) asks
for patience and never counts as an attempt; other 5xx, cut connections and bodies that are not JSON are tried again a
few times; a request that the upstream calls wrong is never sent twice; a refused key stops the run.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx

from processing.endpoint import Endpoint
from processing.errors import TeacherError

MAX_RETRIES = 4
MAX_WAIT_S = 600.0
"""How long one call may wait for an upstream that keeps answering 429 before the run stops, with all work kept."""
MAX_REPLY_BYTES = 32 * 1024 * 1024
_FAILURES_BEFORE_STOP = 10
_TIMEOUT = httpx.Timeout(connect=10, read=300, write=60, pool=None)


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended.

    Attributes:
        body: The whole completion; None when there is none.
        fault: None, or why the call is no answer: `context_length`, `rejected`, `failing`.
        detail: For a person; the upstream's own words for a rejection.
        attempts: Requests that were sent and counted.
        is_final: Whether asking again would be pointless, so that the end may be remembered.
    """

    body: dict[str, Any] | None
    fault: str | None = None
    detail: str | None = None
    attempts: int = 1
    is_final: bool = True


class _TryAgain(Exception):  # noqa: N818 - a signal between two functions of this module
    def __init__(self, problem: str, *, is_unreachable: bool = False) -> None:
        self.problem = problem
        self.is_unreachable = is_unreachable


class _Wait(Exception):  # noqa: N818 - see above
    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class ModelClient:
    """One HTTP client for every model of a run, with the run's bound on calls in flight.

    Args:
        parallel: Calls in flight at once, over all models.
        first_wait_s: First wait before trying again; doubles each time.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        parallel: int,
        *,
        first_wait_s: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            headers={"user-agent": "tracemill"},
        )
        self._slots = asyncio.Semaphore(parallel)
        self._model_slots: dict[str, asyncio.Semaphore] = {}
        self._first_wait_s = first_wait_s
        self._sleep = sleep
        self._not_before: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._answered: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def complete(self, where: Endpoint, body: Mapping[str, Any]) -> Completion:
        """Ask for one chat completion and wait until it has ended for good.

        Raises:
            TeacherError: The key is refused, the server cannot be reached or keeps failing, or it asked for more
                patience than `MAX_WAIT_S`.
        """
        attempts = waits = 0
        waited_s = 0.0
        while True:
            try:
                async with self._slot(where):
                    await self._wait_for_brake(where)
                    completion = await self._send(where, body)
            except _Wait as asked:
                wait_s = asked.seconds if asked.seconds is not None else self._backoff_s(waits)
                waits += 1
                waited_s += wait_s
                if waited_s > MAX_WAIT_S:
                    raise TeacherError(
                        where.name,
                        where.shown_url,
                        "waited_too_long",
                        f"it asked to wait more than {MAX_WAIT_S:.0f} s (429). Run again later: what is paid is kept.",
                    ) from None
                self._brake(where, wait_s)
            except _TryAgain as fault:
                attempts += 1
                # A server that never answered is down or misspelt; one that did may be restarting.
                hopeless = fault.is_unreachable and where.shown_url not in self._answered
                if attempts > (1 if hopeless else MAX_RETRIES):
                    return self._give_up(where, fault, attempts)
                await self._sleep(self._backoff_s(attempts - 1))
            else:
                self._failures[where.shown_url] = 0
                return Completion(completion.body, completion.fault, completion.detail, attempts + 1)

    def _slot(self, where: Endpoint) -> "_Slots":
        own = None
        if where.max_parallel is not None:
            own = self._model_slots.setdefault(where.name, asyncio.Semaphore(where.max_parallel))
        return _Slots(own, self._slots)

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

    def _give_up(self, where: Endpoint, fault: _TryAgain, attempts: int) -> Completion:
        failures = self._failures[where.shown_url] = self._failures.get(where.shown_url, 0) + 1
        if fault.is_unreachable or failures >= _FAILURES_BEFORE_STOP:
            code = "unreachable" if fault.is_unreachable else "failing"
            raise TeacherError(
                where.name,
                where.shown_url,
                code,
                f"{fault.problem}, {attempts} times. Check the server and run again: what is paid for is kept.",
            )
        return Completion(None, "failing", fault.problem, attempts, is_final=False)

    async def _send(self, where: Endpoint, body: Mapping[str, Any]) -> Completion:
        headers = {"content-type": "application/json"}
        if where.api_key:
            headers["authorization"] = f"Bearer {where.api_key}"
        url = where.completions_url
        try:
            async with self._http.stream("POST", url, content=json.dumps(body).encode(), headers=headers) as response:
                raw = bytearray()
                async for block in response.aiter_bytes():
                    raw += block
                    if len(raw) > MAX_REPLY_BYTES:
                        return Completion(None, "rejected", f"the answer is longer than {MAX_REPLY_BYTES} bytes")
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise _TryAgain(f"cannot be reached ({type(exc).__name__})", is_unreachable=True) from exc
        except httpx.TransportError as exc:
            raise _TryAgain(f"the answer broke off ({type(exc).__name__})") from exc
        except httpx.DecodingError as exc:
            raise _TryAgain("the answer cannot be decoded") from exc
        self._answered.add(where.shown_url)
        return self._read(where, response, bytes(raw))

    def _read(self, where: Endpoint, response: httpx.Response, raw: bytes) -> Completion:
        status = response.status_code
        patience = _retry_after_s(response.headers.get("retry-after"))
        if status == 429 or (status == 503 and patience is not None):
            raise _Wait(patience)
        if status in {401, 402, 403, 404}:
            raise TeacherError(where.name, where.shown_url, _STOPS[status], f"status {status}: {_STOP_HELP[status]}")
        if status >= 500 or status in {408, 409, 425}:
            raise _TryAgain(f"answered {status}")
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as exc:
            if status < 400:
                raise _TryAgain(f"answered {status} with a body that is not JSON") from exc
            body = None
        if status >= 300:
            return Completion(None, *_rejection(status, body))
        if not isinstance(body, dict):
            raise _TryAgain(f"answered {status} with JSON that is no completion")
        return Completion(body)


_STOPS = {401: "unauthorized", 402: "unauthorized", 403: "unauthorized", 404: "not_found"}
_STOP_HELP = {
    401: "the key is refused. Check the variable that holds it (models.NAME.api_key_env or TRACEMILL_TEACHER_API_KEY).",
    402: "the account has no credit left. Top it up and run again: what is paid for is kept.",
    403: "the key may not use this model. Check the key and models.NAME.model.",
    404: "no such model or path. Check models.NAME.base_url (it ends in /v1 for most servers) and models.NAME.model.",
}


class _Slots:
    """The model's own slot first, then the common one, so that a slow model never holds common slots while it waits."""

    def __init__(self, own: asyncio.Semaphore | None, common: asyncio.Semaphore) -> None:
        self._held = [slots for slots in (own, common) if slots is not None]

    async def __aenter__(self) -> None:
        await self._held[0].acquire()
        try:
            for slots in self._held[1:]:
                await slots.acquire()
        except BaseException:
            self._held[0].release()
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for slots in self._held:
            slots.release()


def _retry_after_s(value: str | None) -> float | None:
    """Read `Retry-After` (RFC 9110 section 10.2.3): seconds or a date; None when absent or neither."""
    if value is None:
        return None
    try:
        return min(max(float(value), 0.0), MAX_WAIT_S + 1)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": UTC, nothing said of the place
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _rejection(status: int, body: object) -> tuple[str, str]:
    error = body.get("error") if isinstance(body, dict) else None
    found = error if isinstance(error, dict) else {}
    words = str(found.get("message") or (error if isinstance(error, str) else "no reason given"))
    told = f"{found.get('code')} {words}".lower()
    too_long = "context_length" in told or "context length" in told or "maximum context" in told or status == 413
    return ("context_length" if too_long else "rejected"), f"status {status}: {words[:500]}"
