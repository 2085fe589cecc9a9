"""The journal: where a data worker writes what crosses it, before the client has its last byte.

One worker writes one folder, `journal/<writer>/`, of numbered segments. Appending is a `write(2)` into the page cache,
which survives the death of any of our processes; a second thread flushes to the disk every 200 ms, so that a power
failure costs at most that. Nobody else ever writes here; ingest reads along and deletes segments it has done with.

The event loop never waits for the disk. What is appended in one turn of the loop is handed over as one batch, written
with one system call and reported back with one wake-up (`docs/decisions/0004-one-hand-over-a-turn.md`). Where the
contract wants an entry to be down before a byte goes out, that byte waits for it, at most `_PATIENCE_S`. A disk that is
stuck, full or gone holds each answer for that long once; from then on nobody waits until it has caught up. What waits
in memory meanwhile is bounded: callers ask `has_room` before they hand a body over, and `shed` it when there is none.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from proxy.journal.batch import Batch
from proxy.journal.disk import Disk
from proxy.journal.format import MARK_SIZE, EntryKind, encode
from proxy.journal.gap import GapLedger
from proxy.journal.writer_thread import JournalThreads
from store.uuid7 import uuid7

JOURNAL_FOLDER = "journal"

Durability = Literal["none", "process", "power"]
"""What an answer waits for before its last block: nothing, the page cache (outlives our processes), or the disk."""

_log = logging.getLogger("tracemill.journal")

_PATIENCE_S = 0.1
"""Longest that an answer waits for the journal (`docs/contract.md`, C8)."""
_CLOSE_PATIENCE_S = 5.0
_GAP_INTERVAL_S = 1.0
"""How often it is tried to declare what was shed; one declaration covers all that was shed meanwhile."""


class Journal:
    """The journal of one writer. Open it on the event loop's thread and append there; close it exactly once."""

    def __init__(
        self,
        root: Path,
        *,
        max_pending_bytes: int,
        max_disk_bytes: int,
        durability: Durability = "process",
        disk: Disk | None = None,
    ) -> None:
        """Start the threads. The writer's folder is made with the first entry, and again whenever it is gone.

        Args:
            root: The data directory's `journal` folder.
            max_pending_bytes: What may wait in memory for the disk.
            max_disk_bytes: What may lie on the disk waiting for ingest.
            durability: What `append` waits for.
            disk: The system calls to write with.
        """
        self.mark = secrets.token_bytes(MARK_SIZE)
        self._max_pending_bytes = max_pending_bytes
        self._durability = durability
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._nothing_to_wait_for: asyncio.Future[None] = self._loop.create_future()
        self._nothing_to_wait_for.set_result(None)
        self._batch = Batch()
        self._awaited: deque[Batch] = deque()
        self._overdue_timer: asyncio.TimerHandle | None = None
        self._gap_timer: asyncio.TimerHandle | None = None
        self._gaps = GapLedger()
        self._handed_over_bytes = 0
        self._is_closed = False
        self._threads = JournalThreads(
            root,
            self.mark,
            max_disk_bytes=max_disk_bytes,
            waits_for_sync=durability == "power",
            report=self._report,
            disk=disk or Disk(),
        )

    def has_room(self, size: int) -> bool:
        """Tell whether a body of this size may still wait in memory; the caller sheds it otherwise."""
        return self.pending_bytes + size <= self._max_pending_bytes

    def shed(self, reason: str) -> None:
        """Note that a call or a body is not recorded; once there is room again, a gap in the journal declares it."""
        self._gaps.add(reason)
        if self._gap_timer is None and not self._is_closed:
            self._gap_timer = self._loop.call_later(_GAP_INTERVAL_S, self._declare_gaps)

    def append_nowait(
        self, kind: EntryKind, trace_id: UUID, meta: dict[str, Any] | None = None, body: bytes = b""
    ) -> None:
        """Append an entry; it is on its way to the disk when this turn of the event loop is over."""
        self._add(encode(self.mark, kind, trace_id, meta, body))

    def append(
        self, kind: EntryKind, trace_id: UUID, meta: dict[str, Any] | None = None, body: bytes = b""
    ) -> asyncio.Future[None]:
        """Append an entry; awaiting the answer waits until it is down, but never longer than the contract allows."""
        self._add(encode(self.mark, kind, trace_id, meta, body))
        if not self.is_waited_for:
            return self._nothing_to_wait_for
        written = self._loop.create_future()
        self._batch.waiters.append(written)
        return written

    @property
    def is_waited_for(self) -> bool:
        """Whether an answer waits for its entry now: not at level `none`, and not while the disk is stuck."""
        return self._durability != "none" and not self.is_stuck

    @property
    def is_stuck(self) -> bool:
        """Whether the threads have been at one batch for longer than anybody should wait: the breaker is open."""
        since = self._threads.waiting_since
        return since > 0 and time.monotonic() - since > _PATIENCE_S

    @property
    def is_failing(self) -> bool:
        """Whether a call that came now might not be recorded as promised: stuck, without room, or not flushed."""
        return self.is_stuck or self._threads.is_failing or not self.has_room(0)

    @property
    def lag_s(self) -> float:
        """How long the oldest entry has waited for what the level of durability promises; 0.0 when none waits."""
        since = self._threads.waiting_since
        return time.monotonic() - since if since else 0.0

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait in memory for the disk."""
        return self._handed_over_bytes - self._threads.written_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes of this writer's segments, counted whenever one is begun, and what was written since."""
        return self._threads.disk_bytes

    @property
    def entries_written(self) -> int:
        """Entries that are down, since the start."""
        return self._threads.entries_written

    @property
    def batches_written(self) -> int:
        """System calls that took them, since the start."""
        return self._threads.batches_written

    @property
    def sync_failures(self) -> int:
        """Flushes that the disk refused, since the start; each cost a segment its end, none a call."""
        return self._threads.sync_failures

    @property
    def shed_counts(self) -> dict[str, int]:
        """What was shed since the start, by reason."""
        return dict(self._gaps.shed)

    def close(self) -> None:
        """Write what is waiting, within a bound, and give the folder up to ingest. From any thread."""
        if threading.get_ident() == self._loop_thread or not self._loop.is_running():
            self._hand_over_last()
        else:
            handed_over = threading.Event()
            self._loop.call_soon_threadsafe(self._hand_over_last, handed_over)
            handed_over.wait(_CLOSE_PATIENCE_S)
        if not self._threads.close(_CLOSE_PATIENCE_S):
            _log.error("the journal could not be written to the end; %d bytes are lost", self.pending_bytes)

    def _add(self, entry: bytes) -> None:
        self._handed_over_bytes += len(entry)
        entries = self._batch.entries
        if not entries:
            self._loop.call_soon(self._hand_over)
        entries.append(entry)

    def _hand_over(self) -> None:
        batch = self._batch
        if not batch.entries:
            return
        self._batch = Batch()
        batch.handed_over_at = time.monotonic()
        if batch.waiters:
            self._awaited.append(batch)
            if self._overdue_timer is None:
                self._overdue_timer = self._loop.call_later(_PATIENCE_S, self._release_overdue)
        self._threads.take(batch)

    def _hand_over_last(self, done: threading.Event | None = None) -> None:
        self._is_closed = True
        for timer in (self._gap_timer, self._overdue_timer):
            if timer is not None:
                timer.cancel()
        self._add_gaps()
        self._hand_over()
        if done is not None:
            done.set()

    def _declare_gaps(self) -> None:
        self._gap_timer = None
        if self.is_stuck or self._threads.is_failing:
            self._gap_timer = self._loop.call_later(_GAP_INTERVAL_S, self._declare_gaps)
            return
        self._add_gaps()

    def _add_gaps(self) -> None:
        for meta in self._gaps.take():
            self._add(encode(self.mark, EntryKind.GAP, uuid7(), meta))

    # What the threads report.

    def _report(self, batches: list[Batch]) -> None:
        """Let the loop settle batches that are as durable as they were to be; called on a thread."""
        awaited = [batch for batch in batches if batch.waiters]
        if awaited:
            # The loop is gone only when its worker is ending; nobody waits any more then.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._settle, awaited)

    def _settle(self, batches: list[Batch]) -> None:
        for batch in batches:
            if batch.is_settled:
                continue
            batch.is_settled = True
            for written in batch.waiters:
                if not written.done():
                    written.set_result(None)

    def _release_overdue(self) -> None:
        """Let go of who has waited long enough: one timer for all, as one each would cost more than the append."""
        self._overdue_timer = None
        now = time.monotonic()
        awaited = self._awaited
        while awaited and (awaited[0].is_settled or now - awaited[0].handed_over_at >= _PATIENCE_S):
            self._settle([awaited.popleft()])
        if awaited:
            remaining_s = awaited[0].handed_over_at + _PATIENCE_S - now
            self._overdue_timer = self._loop.call_later(remaining_s, self._release_overdue)
