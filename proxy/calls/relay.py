"""The data path: a call in, the same bytes to the upstream, the same bytes back, and a copy to the journal.

`Relay.serve` tells the life of a call in the order it happens (`docs/life-of-a-call.md`).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy.calls.answer_end import AnswerEnd, Mark
from proxy.calls.choice import Choice, choose
from proxy.calls.credentials import for_route
from proxy.calls.exchange import Exchange, Recorder
from proxy.calls.headers import TRACE_ID_HEADER, forwarded, to_upstream
from proxy.calls.keys import KeyRing
from proxy.calls.own_answer import answer_alive, answer_error
from proxy.calls.route import Capture, OnDisconnect
from proxy.calls.routes import RouteTable
from proxy.calls.sampling import allowed_capture, is_sampled
from proxy.calls.trailers import passed_interim, passed_trailers
from proxy.calls.tunnel import is_offered, run_tunnel
from proxy.calls.upstream import Answer, Request, Upstream
from proxy.errors import BodyTooLargeError, ClientLeft, ClientSilentError, ProxyError, RouteError, UpstreamError
from proxy.metrics.catalog import DropReason
from proxy.wire.client_call import ClientCall
from proxy.wire.fields import Fields, first
from store.trace import Outcome
from store.uuid7 import uuid7

_FIRST_BLOCK_S = 0.05
"""How long the upstream waits for a client that sent a head and nothing of its body yet; a body that is there when the
call begins is recorded and sent in one piece."""
_PROBES = (b"/healthz", b"/readyz")
_STATUS_OF = {Outcome.UPSTREAM_UNREACHABLE: 502, Outcome.UPSTREAM_ABORTED: 502, Outcome.UPSTREAM_TIMEOUT: 504}
_CLIENTS_FAULTS: dict[type[ProxyError], tuple[int, str]] = {
    BodyTooLargeError: (413, "body_too_large"),
    ClientSilentError: (408, "request_timeout"),
}


@dataclass(frozen=True, slots=True)
class Admission:
    """What stands between a call and its upstream.

    Attributes:
        keys: The proxy keys.
        max_calls: Calls in flight at once.
        max_model_body_bytes: What may be held of a body whose model decides where it goes.
        must_record: Whether a call that cannot be recorded is refused.
    """

    keys: KeyRing
    max_calls: int
    max_model_body_bytes: int
    must_record: bool


class Relay:
    """The data path of one worker."""

    def __init__(self, routes: RouteTable, admission: Admission, upstream: Upstream, recorder: Recorder) -> None:
        """Wire the path; everything given is the worker's and closed by it."""
        self._routes = routes
        self._admission = admission
        self._upstream = upstream
        self._recorder = recorder
        self._calls_in_flight = 0

    async def serve(self, call: ClientCall) -> None:
        """Forward one call and record it."""
        if call.head.target in _PROBES:
            answer_alive(call)
            return
        self._calls_in_flight += 1
        self._recorder.metrics.call_arrived()
        try:
            choice = await self._admit(call)
            await self._record_while_served(call, choice)
        except RouteError as error:
            self._recorder.metrics.refused(error.status)
            answer_error(call, error.status, error.code, str(error))
        except ClientLeft:
            pass  # nobody is there to be answered; what is on record says so
        except ProxyError as error:
            status, code = _CLIENTS_FAULTS.get(type(error), (400, "bad_request"))
            self._recorder.metrics.refused(status)
            answer_error(call, status, code, str(error))
        finally:
            self._calls_in_flight -= 1
            self._recorder.metrics.call_left()

    async def _admit(self, call: ClientCall) -> Choice:
        """Decide which upstream the call goes to. Raises RouteError when it goes to none."""
        admission = self._admission
        if self._calls_in_flight > admission.max_calls:
            raise RouteError(503, "too_many_calls", f"{admission.max_calls} calls are in flight; try again later.")
        if admission.must_record and self._recorder.journal.is_failing:
            raise RouteError(503, "capture_failing", "Calls cannot be recorded now, and this proxy is to record all.")
        key = admission.keys.check(call.head.fields)
        try:
            choice = await choose(call, self._routes, key, max_body_bytes=admission.max_model_body_bytes)
        except (ClientLeft, asyncio.CancelledError):
            if call.is_departed:
                self._recorder.metrics.dropped(DropReason.LEFT_BEFORE_ROUTE)
            raise
        if choice.destination.route.max_body_bytes is not None:
            call.bound_body(choice.destination.route.max_body_bytes)
        return choice

    async def _record_while_served(self, call: ClientCall, choice: Choice) -> None:
        exchange = self._arrive(call, choice)
        total_s = choice.destination.route.timeouts.total_s
        try:
            if total_s is None:
                await self._forward(call, exchange, choice)
                return
            async with asyncio.timeout(total_s):
                await self._forward(call, exchange, choice)
        except TimeoutError:
            message = f"the call was not over within {total_s:g} s (total_timeout_s)"
            exchange.end(Outcome.UPSTREAM_TIMEOUT, message)
            answer_error(call, 504, "upstream_timeout", message, str(exchange.trace_id))
        finally:
            # Whatever was not ended by now was ended by the client's leaving or by our own stop.
            exchange.end(Outcome.CLIENT_DISCONNECT if call.is_departed else Outcome.INTERRUPTED)
            self._recorder.metrics.added(route=choice.destination.route.name, seconds=exchange.added_s)

    def _arrive(self, call: ClientCall, choice: Choice) -> Exchange:
        head, route = call.head, choice.destination.route
        trace_id = uuid7()
        capture = allowed_capture(route, head.fields)
        if capture is Capture.OFF:
            self._recorder.metrics.dropped(DropReason.CAPTURE_OFF)
        elif not is_sampled(route, head.fields, trace_id):
            self._recorder.metrics.dropped(DropReason.SAMPLED)
            capture = Capture.OFF
        return Exchange(self._recorder, trace_id, head, route, capture, proxy_key=choice.proxy_key)

    async def _forward(self, call: ClientCall, exchange: Exchange, choice: Choice) -> None:
        """Send the call on and its answer back, and say how it ended when it did not end well."""
        try:
            request = await _begin(call, exchange, choice)
            answer = await self._upstream.call(choice.destination, request)
            del request  # its body need not lie in memory while the answer comes
            if answer.is_event_stream:
                self._recorder.metrics.streams(1)
            try:
                await _relay_answer(call, exchange, answer)
            finally:
                if answer.is_event_stream:
                    self._recorder.metrics.streams(-1)
                await answer.close()
        except UpstreamError as error:
            exchange.end(error.outcome, str(error))
            trace_id = str(exchange.trace_id)
            answer_error(call, _STATUS_OF[error.outcome], error.outcome.value, str(error), trace_id)
        except ProxyError as error:
            # The client's own doing: its body is too large, has no end, or breaks the rules.
            exchange.end(Outcome.CLIENT_DISCONNECT, str(error))
            raise


async def _begin(call: ClientCall, exchange: Exchange, choice: Choice) -> Request:
    """Record that the call arrived, with what has come of its body, and make the request of it."""
    head, route = call.head, choice.destination.route
    begun_at = time.monotonic()
    body = call.read_nowait()
    try:
        if not body and not call.is_body_whole and not call.awaits_continue:
            body = await call.read_soon(_FIRST_BLOCK_S)  # most clients send head and body apart
            begun_at = time.monotonic()
    finally:
        exchange.begin(body)
    if call.failure is not None:
        raise call.failure
    if route.on_disconnect is OnDisconnect.DRAIN and call.is_body_whole:
        call.on_departure = _stay
    fields = for_route(to_upstream(head.fields, host=route.host, has_upgrade=is_offered(head)), route)
    fields, body = choice.rewrite(fields, body)
    blocks = body if call.is_body_whole else _blocks(call, exchange, body)
    exchange.added_s += time.monotonic() - begun_at

    def on_interim(status: int, reason: bytes, fields: Fields) -> None:
        call.interim(status, reason, passed_interim(fields))

    return Request(head.method, fields, blocks, on_interim, lambda: passed_trailers(call.trailers))


def _stay() -> None:
    """Read the answer to its end, though its client is gone."""


async def _blocks(call: ClientCall, exchange: Exchange, block: bytes) -> AsyncIterator[bytes]:
    """Yield the body as it comes, the part in front that was recorded with the call's beginning."""
    yield block
    while block := await call.read():
        exchange.capture_request(block)
        yield block


async def _relay_answer(call: ClientCall, exchange: Exchange, answer: Answer) -> None:
    """Send the answer on, each block as it comes; what completes it only when the trace is down."""
    exchange.capture_head(answer.status, answer.fields)
    if answer.status == 101:
        await run_tunnel(call, exchange, answer)
        return
    fields = forwarded(answer.fields)
    end = AnswerEnd(call.head.method, answer.status, fields, is_event_stream=answer.is_event_stream)
    if not end.has_body:
        await exchange.complete()
    ours = [(TRACE_ID_HEADER, str(exchange.trace_id).encode())]
    if answer.is_event_stream and first(fields, b"x-accel-buffering") is None:
        # nginx in front of us would hold events back otherwise.
        ours.append((b"X-Accel-Buffering", b"no"))
    call.begin_answer(answer.status, answer.reason, fields, has_body=end.has_body, added=ours)
    if not answer.has_block:
        call.flush()
    await _relay_blocks(call, exchange, answer, end)
    ended_at = time.monotonic()
    await exchange.complete()
    call.finish(passed_trailers(answer.trailers))
    exchange.added_s += time.monotonic() - ended_at


async def _relay_blocks(call: ClientCall, exchange: Exchange, answer: Answer, end: AnswerEnd) -> None:
    """Send each block on in the turn that brings it, but for the one that completes the answer."""
    last = (b"", Mark.PART)

    def send_on(block: bytes) -> bool:
        nonlocal last
        came_at = time.monotonic()
        exchange.capture_response(block)
        mark = end.mark(block)
        if mark is not Mark.PART:
            last = block, mark
            return False
        call.send(block)
        exchange.added_s += time.monotonic() - came_at
        return not call.is_full

    while await answer.pour(send_on):
        block, mark = last
        if mark is not Mark.PART:
            last = b"", Mark.PART
            came_at = time.monotonic()
            await (exchange.answered() if mark is Mark.DONE_EVENT else exchange.complete())
            call.send(block)
            exchange.added_s += time.monotonic() - came_at
        if call.is_full:
            await call.drained()
