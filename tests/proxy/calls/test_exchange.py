"""The owner of a call's record: whatever happens to the record, the call goes on."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.calls.exchange import Exchange, Recorder
from proxy.calls.route import Capture, parse_upstream
from proxy.journal.format import EntryKind
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader
from proxy.journal.writer import JOURNAL_FOLDER, Journal
from proxy.metrics import catalog
from proxy.metrics.worker_metrics import WorkerMetrics
from proxy.wire.head import RequestHead
from store.trace import Outcome
from store.uuid7 import uuid7

ROUTE = parse_upstream("http://up/v1")
HEAD = RequestHead(b"POST", b"/v1/chat/completions?api-version=1", b"1.1", [(b"Authorization", b"Bearer sk-canary")])


class FailingJournal(Journal):
    """A journal with a mistake in it: entries of some kinds cannot be made."""

    broken: frozenset[EntryKind] = frozenset()

    def _add(self, entry: bytes) -> None:
        if EntryKind(entry[16]) in self.broken:
            raise RuntimeError("a mistake of ours")
        super()._add(entry)


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[FailingJournal]:
    journal = FailingJournal(tmp_path / JOURNAL_FOLDER, max_pending_bytes=1 << 20, max_disk_bytes=1 << 30)
    try:
        yield journal
    finally:
        journal.broken = frozenset()
        await asyncio.to_thread(journal.close)


def recorder(journal: Journal, max_capture_bytes: int = 1 << 20) -> Recorder:
    return Recorder(journal, WorkerMetrics(), max_capture_bytes, b"salt", set())


def dropped(counting: Recorder) -> dict[str, float]:
    return {labels[0]: n for labels, n in counting.metrics.counts().counters[catalog.DROPPED.name].items() if n}


async def serve(counting: Recorder, blocks: list[bytes]) -> Exchange:
    exchange = Exchange(counting, uuid7(), HEAD, ROUTE, Capture.FULL)
    exchange.begin(b"{}")
    exchange.capture_request(b"more")
    exchange.capture_head(200, [(b"content-type", b"text/event-stream")])
    for block in blocks:
        exchange.capture_response(block)
    await exchange.answered()
    await exchange.complete()
    exchange.end(Outcome.INTERRUPTED)
    return exchange


def recorded(tmp_path: Path) -> list[RawCall]:
    (folder,) = (tmp_path / JOURNAL_FOLDER).iterdir()
    return list(JournalReader(folder, None).finish())


@pytest.mark.parametrize("kinds", [{kind} for kind in EntryKind] + [set(EntryKind)], ids=str)
async def test_a_mistake_in_recording_costs_the_record_and_never_the_call(
    tmp_path: Path, kinds: set[EntryKind], caplog: pytest.LogCaptureFixture
) -> None:
    """A transform that raised in the middle of a stream ended the whole process of another gateway (Portkey #1206)."""
    async with opened(tmp_path) as journal:
        journal.broken = frozenset(kinds)
        counting = recorder(journal)
        exchange = await serve(counting, [b"x" * 300_000, b"data: [DONE]"])
    assert exchange.has_ended
    assert counting.open == set()
    is_hit = bool(kinds - {EntryKind.GAP, EntryKind.CHANGE})
    assert dropped(counting) == ({"capture_failed": 1} if is_hit else {})
    assert ("could not be recorded" in caplog.text) is is_hit


async def test_a_body_past_its_bound_is_cut_flagged_and_counted_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        counting = recorder(journal, max_capture_bytes=10)
        await serve(counting, [b"12345678", b"9abcdef", b"more"])
    assert dropped(counting) == {"body_limit": 1}
    (call,) = recorded(tmp_path)
    assert (call.response_body, call.response_bytes, call.is_response_truncated) == (b"123456789a", 19, True)
    assert (call.request_body, call.is_request_truncated) == (b"{}more", False)


async def test_a_call_has_one_end_whoever_says_it_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        exchange = Exchange(recorder(journal), uuid7(), HEAD, ROUTE, Capture.FULL)
        exchange.begin(b"{}")
        exchange.end(Outcome.CLIENT_DISCONNECT)
        exchange.end(Outcome.INTERRUPTED)
        await exchange.complete()
    (call,) = recorded(tmp_path)
    assert call.outcome is Outcome.CLIENT_DISCONNECT
    assert call.path == "/v1/chat/completions"


async def test_a_call_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    """What refers to itself in a circle lies in memory, its bodies with it, until the collector comes."""
    async with opened(tmp_path) as journal:
        await serve(recorder(journal), [b"data: [DONE]"])
        gc.collect()
        gc.disable()
        try:
            await serve(recorder(journal), [b"data: [DONE]"])
            left = gc.collect()
        finally:
            gc.enable()
    assert left == 0
