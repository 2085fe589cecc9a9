"""The process that sends stored traces to an OTLP collector: off the data path, and nothing of capture waits for it.

It reads the store behind ingest, in the order of storing, and notes after each request that was taken how far it has
come. So every trace is sent at least once: the last request again after a crash, as spans of the same ids. The queue is
the store itself; in memory there is never more than one request. While the collector is down nothing is lost, and it is
asked ever more seldom. At its first start it begins with what is stored from then on.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from proxy.metrics.otlp_metrics import OtlpMetrics
from proxy.otlp.collector import Collector, Delivery, Verdict
from proxy.otlp.span import is_wanted, resource_spans
from store.errors import DatabaseMissingError, StoreError
from store.trace import Trace
from store.trace_feed import TraceFeed

_log = logging.getLogger("tracemill.otlp")

POSITION_FILE = "otlp-position"
_BATCH = 100
_IDLE_S = 1.0
_FIRST_WAIT_S = 1.0
_LAST_WAIT_S = 60.0


class Identity(NamedTuple):
    """What the spans say of their sender."""

    service: str
    version: str
    has_content: bool


class SpanExport:
    """Sends what is stored, from the noted position on."""

    def __init__(
        self, database: Path, collector: Collector, identity: Identity, metrics: OtlpMetrics, stop: asyncio.Event
    ) -> None:
        """Note nothing yet.

        Args:
            database: The `traces.db`; it need not be there yet. The position is kept beside it.
            collector: Stays the caller's to close.
            identity: What the spans say of their sender.
            metrics: Counts what is sent.
            stop: Ends the export at once; what is not sent is sent at the next start.
        """
        self._database = database
        self._position_path = database.with_name(POSITION_FILE)
        self._collector = collector
        self._identity = identity
        self._metrics = metrics
        self._stop = stop
        self._place: int | None = None
        self._cannot_note = False

    async def run(self) -> None:
        """Go on until told to stop; trouble with the store is waited out."""
        if not self._database.exists() and not self._position_path.exists():
            self._note(0)  # all that will ever be stored is new
        while not self._stop.is_set():
            try:
                async with await TraceFeed.open(self._database) as feed:
                    await self._follow(feed)
            except DatabaseMissingError:
                pass
            except (StoreError, OSError) as error:
                _log.warning("traces cannot be read for the collector (%s); trying again", error)
            await self._pause(_IDLE_S)

    async def _follow(self, feed: TraceFeed) -> None:
        place = await self._begin(feed)
        while not self._stop.is_set():
            newest = await feed.newest_place()
            # Traces were deleted, and their numbers are given again.
            place = min(place, newest)
            self._metrics.behind(newest - place)
            batch = await feed.after(place, _BATCH)
            if not batch:
                await self._pause(_IDLE_S)
                continue
            if not await self._deliver([fed.trace for fed in batch if is_wanted(fed.trace)]):
                return
            place = self._place = batch[-1].place
            self._note(place)

    async def _deliver(self, traces: list[Trace]) -> bool:
        """Send until the collector has decided; False when told to stop before."""
        if not traces:
            return True
        identity = self._identity
        spans = resource_spans(
            traces, service=identity.service, version=identity.version, has_content=identity.has_content
        )
        wait_s, failures = _FIRST_WAIT_S, 0
        while not self._stop.is_set():
            delivery = await self._send(spans)
            if delivery is None:
                return False
            if delivery.verdict is not Verdict.LATER:
                self._count(delivery, len(traces))
                if failures:
                    _log.warning("the OTLP collector answers again")
                return True
            self._metrics.failed()
            failures += 1
            if failures == 1:
                _log.warning("the OTLP collector takes nothing now (%s); traces wait in the store", delivery.detail)
            await self._pause(wait_s if delivery.wait_s is None else delivery.wait_s)
            wait_s = min(wait_s * 2, _LAST_WAIT_S)
        return False

    async def _send(self, spans: ResourceSpans) -> Delivery | None:
        """Send once; None when told to stop before there was an answer, for a stop waits for no collector."""
        sending = asyncio.create_task(self._collector.send(spans))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if sending.done():
            return sending.result()
        sending.cancel()
        return None

    def _count(self, delivery: Delivery, spans: int) -> None:
        is_refused = delivery.verdict is Verdict.REFUSED
        rejected = spans if is_refused else min(delivery.rejected, spans)
        self._metrics.sent(spans - rejected)
        self._metrics.rejected(rejected)
        if is_refused:
            _log.error("the OTLP collector refused %d spans for good (%s); they are left out", spans, delivery.detail)
        elif rejected:
            _log.warning("the OTLP collector left out %d of %d spans", rejected, spans)

    async def _begin(self, feed: TraceFeed) -> int:
        if self._place is not None:
            return self._place
        try:
            return int(self._position_path.read_text())
        except FileNotFoundError:
            place = await feed.newest_place()
            self._note(place)
            return place
        except ValueError:
            _log.error("%s holds no position; traces stored up to now are not sent", self._position_path)
            return await feed.newest_place()

    def _note(self, place: int) -> None:
        """Keep the position for the next start; while that cannot be done, more is sent again then."""
        try:
            self._replace(place)
        except OSError as error:
            if not self._cannot_note:
                _log.warning("%s cannot be written (%s); the export goes on", self._position_path, error)
            self._cannot_note = True
        else:
            self._cannot_note = False

    def _replace(self, place: int) -> None:
        hidden = self._position_path.with_name(f".{POSITION_FILE}")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{place}\n")
        hidden.replace(self._position_path)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
