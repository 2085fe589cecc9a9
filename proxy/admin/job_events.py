"""The events of a job as an answer that goes on until the job has ended.

It is server-sent events where those are asked for, so that a page's `EventSource` can follow and take up again by
itself; else a line of JSON for each event.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from proxy.admin.media_type import LINES
from store.filed_job import FiledJob
from store.job_folder import Event, EventKind, JobFolder

SERVER_SENT = "text/event-stream"
_LOOK_S = 0.2
_WAITING_EVERY_S = 15.0
"""Load balancers hang up after 30 s or 60 s of silence."""


class EventsAnswer(Response):
    """An answer of all events after one, and of those to come.

    Args:
        folder: Of the job.
        look: Gives the job as it stands.
        after: Id of the last event that is known; 0 for none.
        is_server_sent: Which of the two forms it has.
    """

    def __init__(
        self, folder: JobFolder, look: Callable[[], Awaitable[FiledJob | None]], after: int, *, is_server_sent: bool
    ) -> None:
        super().__init__(media_type=SERVER_SENT if is_server_sent else LINES)
        self._folder = folder
        self._look = look
        self._after = after
        self._write = _server_sent if is_server_sent else _line
        self._is_server_sent = is_server_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the job has ended or the client is gone."""
        await StreamingResponse(self._blocks(), media_type=self.media_type)(scope, receive, send)

    async def _blocks(self) -> AsyncIterator[bytes]:
        after, status, silent_s = self._after, None, 0.0
        while True:
            events = await asyncio.to_thread(self._folder.events, after)
            job = None if events else await self._look()
            if not events and job is None:  # it was deleted
                return
            ended = job if job is not None and await self._has_ended(job) else None
            if ended is not None:
                # What was told until the end.
                events = await asyncio.to_thread(self._folder.events, after)
            if events:
                after, silent_s = events[-1].id, 0.0
                status = next((e.facts["status"] for e in reversed(events) if "status" in e.facts), status)
                yield b"".join(map(self._write, events))
            elif ended is not None:
                if status not in (None, ended.job.status):  # its process died before it could tell
                    yield self._write(Event(after, _status_of(ended)))
                return
            else:
                await asyncio.sleep(_LOOK_S)
                silent_s += _LOOK_S
                if silent_s >= _WAITING_EVERY_S:
                    silent_s = 0.0
                    yield b":\n\n" if self._is_server_sent else _line(Event(after, _waiting()))

    async def _has_ended(self, job: FiledJob) -> bool:
        """Whether nothing more will be told of it."""
        return job.has_ended and not await asyncio.to_thread(self._folder.is_held)


def _status_of(ended: FiledJob) -> Mapping[str, object]:
    return {"type": EventKind.STATUS, "at": ended.job.ended_at, "status": ended.job.status, "error": ended.job.error}


def _waiting() -> Mapping[str, object]:
    return {"type": "waiting", "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _server_sent(event: Event) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.id,
        str(event.facts["type"]).encode(),
        json.dumps({"id": event.id, **event.facts}).encode(),
    )


def _line(event: Event) -> bytes:
    return json.dumps({"id": event.id, **event.facts}).encode() + b"\n"
