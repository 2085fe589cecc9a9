"""Calls to write into a journal, and what comes out of one."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from proxy.journal.format import EntryKind
from proxy.journal.raw_call import RawCall
from proxy.journal.reader import JournalReader
from proxy.journal.writer import Journal
from store.trace import DeadLetter
from store.uuid7 import uuid7

BEGIN = {"started_at": 1_760_000_000.5, "method": "POST", "path": "/v1/chat/completions", "route": "default",
         "upstream": "http://up/v1", "headers": [["content-type", "application/json"]], "key": None}  # fmt: skip
END = {"outcome": "completed", "status": 200, "headers": [], "ttft_ms": 1.5, "duration_ms": 2.5}


def open_journal(root: Path, **options: Any) -> Journal:
    return Journal(root, **{"max_pending_bytes": 1 << 20, "max_disk_bytes": 1 << 30, **options})


def only_folder(root: Path) -> Path:
    (folder,) = root.iterdir()
    return folder


async def write_call(journal: Journal, request: bytes = b"ask", response: bytes = b"answer") -> UUID:
    trace_id = uuid7()
    journal.append_nowait(EntryKind.BEGIN, trace_id, BEGIN, request)
    await journal.append(EntryKind.END, trace_id, END, response)
    return trace_id


def read_all(root: Path) -> tuple[list[RawCall], list[DeadLetter]]:
    """Read what dead writers left, as ingest does."""
    calls: list[RawCall] = []
    letters: list[DeadLetter] = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if not folder.name.startswith("."):
            reader = JournalReader(folder)
            calls += reader.finish()
            letters += reader.take_dead_letters()
    return calls, letters


async def wait_until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        await asyncio.sleep(0.005)
