"""Raw calls at ingest: kept of what is kept as a trace, of nothing else, and good for making the trace again."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from proxy.ingest import ingest as ingest_module
from proxy.ingest.ingest import run_ingest
from proxy.ingest.kept_bytes import derive_again
from proxy.journal.call_entries import call_entries, read_call
from proxy.journal.format import EntryKind
from proxy.metrics import catalog
from proxy.metrics.ingest_metrics import IngestMetrics
from proxy.redaction.redactor import Redactor
from store.data_files import TRACES_FILE
from store.raw_calls import RawCalls, RawRetention, find_raw_call
from store.traces import TraceReader
from store.uuid7 import uuid7
from tests import chat
from tests.proxy.ingest.raw_calls import BASE, made
from tests.proxy.ingest.test_ingest import END, journal_in
from tests.proxy.journal.calls import BEGIN
from tests.proxy.redaction.redactors import redactor

CONTENT = "the words of a client"
REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": CONTENT}]}


async def ingest(data_dir: Path, begin: dict[str, Any], body: bytes, chosen: Redactor | None = None) -> UUID:
    """Take one call in."""
    trace_id = uuid7()
    async with journal_in(data_dir) as journal:
        journal.append_nowait(EntryKind.BEGIN, trace_id, {**BEGIN, **begin}, body)
        await journal.append(EntryKind.END, trace_id, END, json.dumps(chat.completion(chat.text("yes"))).encode())
    stop = asyncio.Event()
    stop.set()
    raw = RawCalls(data_dir, RawRetention(10**9, 7))
    await run_ingest_once(data_dir, stop, raw, chosen)
    return trace_id


async def run_ingest_once(data_dir: Path, stop: asyncio.Event, raw: RawCalls, chosen: Redactor | None) -> None:
    stop.clear()
    task = asyncio.create_task(run_ingest(data_dir, stop, max_decoded_bytes=1 << 24, redactor=chosen, raw_calls=raw))
    await asyncio.sleep(0)
    stop.set()
    await task


async def kept(data_dir: Path, trace_id: UUID) -> bytes | None:
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        assert await reader.trace(trace_id) is not None
        return await reader.look(lambda db: find_raw_call(db, trace_id))


async def test_a_stored_call_can_be_made_again_of_its_bytes(tmp_path: Path) -> None:
    trace_id = await ingest(tmp_path, {}, json.dumps(REQUEST).encode())
    raw = await kept(tmp_path, trace_id)
    assert raw is not None
    assert (read_call(raw).trace_id, read_call(raw).request_body) == (trace_id, json.dumps(REQUEST).encode())
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        assert derive_again(raw, max_decoded_bytes=1 << 24) == await reader.trace(trace_id)


@pytest.mark.parametrize(
    ("begin", "body"),
    [
        ({"headers": [["x-tracemill-capture", "metadata"]]}, json.dumps(REQUEST).encode()),
        ({}, json.dumps({**REQUEST, "store": False}).encode()),
        ({}, json.dumps({**REQUEST, "store": False}).encode()[:-4]),
        ({"path": "/v1/embeddings"}, json.dumps({"input": CONTENT}).encode()),
    ],
    ids=["metadata", "store", "not read to its end", "another endpoint"],
)
async def test_of_a_call_whose_content_is_not_kept_no_bytes_are(tmp_path: Path, begin: Any, body: bytes) -> None:
    trace_id = await ingest(tmp_path, begin, body)
    assert await kept(tmp_path, trace_id) is None
    assert not (tmp_path / "raw").exists()


async def test_where_calls_are_redacted_no_bytes_are_kept(tmp_path: Path) -> None:
    trace_id = await ingest(tmp_path, {}, json.dumps(REQUEST).encode(), redactor())
    assert await kept(tmp_path, trace_id) is None
    assert not (tmp_path / "raw").exists()


async def test_calls_whose_bytes_cannot_be_kept_are_counted_and_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_of: list[IngestMetrics] = []

    class Seen(IngestMetrics):
        def __init__(self) -> None:
            super().__init__()
            made_of.append(self)

    monkeypatch.setattr(ingest_module, "IngestMetrics", Seen)
    (tmp_path / "raw").write_bytes(b"in the way")
    trace_id = await ingest(tmp_path, {}, json.dumps(REQUEST).encode())
    async with await TraceReader.open(tmp_path / TRACES_FILE) as reader:
        assert await reader.trace(trace_id) is not None
    (metrics,) = made_of
    assert metrics.counts().counters[catalog.RAW_CALLS_LOST.name] == {(): 1}


def test_bytes_of_something_else_are_refused() -> None:
    assert derive_again(call_entries(BASE), max_decoded_bytes=1_000_000) == made()
    with pytest.raises(ValueError, match="kept call"):
        derive_again(b"x", max_decoded_bytes=1_000_000)
