"""A call in flight: the one object that owns its record and its end.

Whatever happens to a call - answered, refused, cut, its client gone, ourselves stopped - exactly one `END` is written
for it, by the first to say how it ended. Nothing in here can fail a call: what cannot be recorded is shed and counted.
"""

import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from proxy.assembly.endpoint import endpoint_of
from proxy.calls.body_copy import DEFAULT_HELD_BYTES, BodyCopy, HeldBytes
from proxy.calls.headers import RawHeaders, key_fingerprint, recorded_request, recorded_response
from proxy.calls.route import Capture, Route
from proxy.journal.format import EntryKind
from proxy.journal.writer import Journal
from proxy.metrics.worker_metrics import WorkerMetrics
from proxy.wire.head import RequestHead
from store.trace import Outcome

_log = logging.getLogger("tracemill.exchange")


@dataclass(frozen=True, slots=True)
class Recorder:
    """What every exchange of a worker records with.

    Attributes:
        max_capture_bytes: Most that is kept of a request's or an answer's body.
        salt: For key fingerprints.
        open: The exchanges in flight, so that a worker that stops can end them.
        held: What the copies of all calls hold in memory.
    """

    journal: Journal
    metrics: WorkerMetrics
    max_capture_bytes: int
    salt: bytes
    open: set["Exchange"]
    held: HeldBytes = field(default_factory=lambda: HeldBytes(DEFAULT_HELD_BYTES))


class Exchange:
    """One call from its arrival to its end.

    Attributes:
        trace_id: The id that the call's trace will have.
        added_s: Time that the call has spent with us, neither upstream nor client being waited for.
    """

    def __init__(
        self,
        recorder: Recorder,
        trace_id: UUID,
        head: RequestHead,
        route: Route,
        capture: Capture,
        *,
        proxy_key: str | None = None,
    ) -> None:
        """Note the arrival; nothing is written before `begin`.

        Args:
            recorder: What to record with.
            trace_id: The id that the call's trace will have.
            head: The request's head.
            route: The route that serves the call.
            capture: How much is kept; bodies only of the endpoints whose dialects are read.
            proxy_key: Name of the proxy key that let the call in.
        """
        self.trace_id = trace_id
        self._recorder = recorder
        self._journal: Journal | None = None if capture is Capture.OFF else recorder.journal
        self._head, self._route, self._capture, self._proxy_key = head, route, capture, proxy_key
        self._path = head.target.partition(b"?")[0]
        has_bodies = capture is Capture.FULL and endpoint_of(head.method, self._path) is not None
        self._arrived_at = time.time()
        self._arrived = time.monotonic()
        self.added_s = 0.0
        self._ended = False
        self._is_answered = False
        self._status: int | None = None
        self._response_headers: RawHeaders = ()
        self._ttft_s: float | None = None
        limit = recorder.max_capture_bytes if has_bodies else None
        self._request = BodyCopy(limit, recorder.held, self._spill_request, self._note_cut)
        self._response = BodyCopy(limit, recorder.held, self._spill_response, self._note_cut)

    @property
    def has_ended(self) -> bool:
        """Whether it is decided how the call ended."""
        return self._ended

    def begin(self, first_block: bytes) -> None:
        """Write that the call arrived, with what came of its body so far."""
        self._recorder.open.add(self)
        try:
            self._write_begin(self._request.cut(first_block))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not cost the call
            self._give_up(error)

    def capture_request(self, block: bytes) -> None:
        """Keep a copy of a later block of the request's body."""
        try:
            self._request.add(block)
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    def capture_head(self, status: int, headers: RawHeaders) -> None:
        """Note the answer's status and header fields."""
        self._status = status
        self._response_headers = headers

    def capture_response(self, block: bytes) -> None:
        """Keep a copy of a block of the answer's body."""
        if self._ttft_s is None:
            self._ttft_s = time.monotonic() - self._arrived
        try:
            self._response.add(block)
        except Exception as error:  # noqa: BLE001
            self._give_up(error)

    async def answered(self) -> None:
        """Write that the client is about to have the whole answer; returns when that is down."""
        self._is_answered = True
        written = self._write_closing(EntryKind.ANSWERED, self._whole)
        if written is not None:
            await written

    async def complete(self) -> None:
        """End the call with a whole answer; returns when that is down. Does nothing when it has ended."""
        if self._ended:
            return
        written = self._write_closing(EntryKind.END, self._whole)
        was_answered = self._is_answered
        self._close(self._whole)
        if written is not None and not was_answered:
            await written

    def end(self, outcome: Outcome, error: str | None = None) -> None:
        """End the call without waiting; the first end counts, later ones do nothing.

        An answer that was whole before its client left or we stopped stays a whole one.

        Args:
            outcome: How the call ended.
            error: One sentence for a person, without any content of the call.
        """
        if self._ended:
            return
        if self._is_answered:
            outcome, error = self._whole, None
        self._write_closing(EntryKind.END, outcome, error)
        self._close(outcome)

    def _write_begin(self, body: bytes) -> None:
        if self._journal is None:
            return
        if not self._journal.has_room(len(body)):
            self._shed("journal_backlog")
            self._stop_recording()
            return
        fields = self._head.fields
        meta = {
            "started_at": self._arrived_at,
            "method": self._head.method.decode(),
            "path": self._path.decode("latin-1"),
            "route": self._route.name,
            "upstream": self._route.upstream,
            "headers": recorded_request(fields, capture=self._capture, proxy_key=self._proxy_key),
            "key": None if self._proxy_key else key_fingerprint(fields, self._recorder.salt),
        }
        self._journal.append_nowait(EntryKind.BEGIN, self.trace_id, meta, body)

    def _write_closing(self, kind: EntryKind, outcome: Outcome, error: str | None = None) -> Awaitable[None] | None:
        """Append the entry that closes the call; return what is done when it is down, None when nothing is recorded."""
        if self._journal is None:
            return None
        try:
            meta, body = self._closing(outcome, error)
            return self._journal.append(kind, self.trace_id, meta, body)
        except Exception as failure:  # noqa: BLE001
            self._give_up(failure)
            return None

    def _give_up(self, failure: Exception) -> None:
        """Record no more of this call: recording must not be able to fail it."""
        _log.error("call %s could not be recorded; it goes on", self.trace_id, exc_info=failure)
        self._stop_recording()
        self._shed("capture_failed")

    def _stop_recording(self) -> None:
        self._journal = None
        self._request.stop()
        self._response.stop()

    @property
    def _whole(self) -> Outcome:
        """The outcome of a whole answer."""
        is_error = self._status is not None and self._status >= 400
        return Outcome.UPSTREAM_ERROR if is_error else Outcome.COMPLETED

    def _close(self, outcome: Outcome) -> None:
        self._ended = True
        self._request.stop()
        self._response.stop()
        self._recorder.open.discard(self)
        self._recorder.metrics.call_ended(
            route=self._route.name,
            status=self._status,
            outcome=outcome,
            duration_s=time.monotonic() - self._arrived,
            ttft_s=self._ttft_s,
        )

    def _closing(self, outcome: Outcome, error: str | None) -> tuple[dict[str, Any], bytes]:
        """Return meta and body of the entry that closes the call; a body that finds no room is shed, never the end."""
        self._request.spill()
        body = self._response.take()
        if body and self._journal is not None and not self._journal.has_room(len(body)):
            self._response.is_truncated = True
            self._shed("journal_backlog_body")
            body = b""
        return {
            "outcome": outcome,
            "status": self._status,
            "headers": recorded_response(self._response_headers),
            "request_bytes": self._request.size,
            "request_truncated": self._request.is_truncated,
            "response_bytes": self._response.size,
            "response_truncated": self._response.is_truncated,
            "ttft_ms": None if self._ttft_s is None else round(self._ttft_s * 1000, 3),
            "duration_ms": round((time.monotonic() - self._arrived) * 1000, 3),
            "error": error,
        }, body

    def _spill_request(self, part: bytes) -> bool:
        return self._spill(EntryKind.REQUEST, part)

    def _spill_response(self, part: bytes) -> bool:
        return self._spill(EntryKind.RESPONSE, part)

    def _spill(self, kind: EntryKind, part: bytes) -> bool:
        if self._journal is None:
            return False
        if not self._journal.has_room(len(part)):
            self._shed("journal_backlog_body")
            return False
        self._journal.append_nowait(kind, self.trace_id, None, part)
        return True

    def _shed(self, reason: str) -> None:
        self._recorder.metrics.dropped(reason)
        self._recorder.journal.shed(reason)

    def _note_cut(self) -> None:
        """Count a body that is larger than what is kept of one; its trace says so, too."""
        self._recorder.metrics.dropped("body_limit")
