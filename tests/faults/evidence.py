"""What the product has to show afterwards: its export, its database, its metrics."""

import asyncio
import json
import re
import sqlite3
import time
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from store.data_files import TRACES_FILE
from store.traces import TraceReader
from tests.faults.drill import Report
from tests.faults.load import Received, own_words, wait_until
from tests.server import Server, export

DROPPED = "tracemill_capture_dropped_total"


class Metrics(NamedTuple):
    """What `/metrics` says, name and labels to value."""

    values: dict[str, float]

    def total(self, name: str, **labels: str) -> float:
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        matching = [key for key in self.values if key.partition("{")[0] == name and all(each in key for each in wanted)]
        return sum(self.values[key] for key in matching)


def metrics(server: Server) -> Metrics:
    with urllib.request.urlopen(server.admin_url + "/metrics", timeout=10) as answer:
        lines = re.findall(r"^([^#\s]\S*) (\S+)$", answer.read().decode(), re.MULTILINE)
    return Metrics({key: float(value) for key, value in lines})


async def settled_metrics(server: Server, calls: int) -> Metrics:
    """Return the metrics once they tell of that many calls: workers need not count in the same instant."""

    def settled() -> Metrics | None:
        found = metrics(server)
        return found if found.total("tracemill_calls_total") >= calls else None

    found: Metrics = await wait_until(settled, 10)
    return found


class Record(NamedTuple):
    """What the database says of one call."""

    outcome: str
    duration_ms: float | None


def records(data_dir: Path) -> dict[str, Record]:
    """Return what the database holds, by trace id."""
    with closing(sqlite3.connect(f"file:{data_dir / TRACES_FILE}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, outcome, duration_ms FROM traces")
        return {str(UUID(bytes=row[0])): Record(*row[1:]) for row in rows}


def stored(data_dir: Path) -> set[str]:
    """Return the ids of the traces in the database."""
    return set(records(data_dir))


async def dead_letters(data_dir: Path) -> Counter[str]:
    """Return how many dead letters there are of each reason."""
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        return Counter([letter.reason async for letter in reader.dead_letters()])


async def declared_missing(data_dir: Path, reason: str = "journal_backlog") -> int:
    """Add up what the gaps declare."""
    async with await TraceReader.open(data_dir / TRACES_FILE) as reader:
        gaps = [json.loads(letter.body) async for letter in reader.dead_letters() if letter.reason == "gap"]
    return sum(gap["count"] for gap in gaps if gap["reason"] == reason)


async def wait_declared(data_dir: Path, count: int, timeout_s: float = 15) -> int:
    """Wait until so many are declared missing; return how many are then, also when they never came to be."""
    deadline = time.monotonic() + timeout_s
    while (declared := await declared_missing(data_dir)) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return declared


async def check_each_once(
    report: Report, data_dir: Path, received: list[Received], *, missing: int = 0, timeout_s: float = 20
) -> None:
    """Hold the export to what the clients hold: each whole answer once, word for word, but for those missing."""
    whole = {each.trace_id: each for each in received if each.is_whole}
    with suppress(AssertionError):  # the counts below say how many are missing
        await wait_until(lambda: len(stored(data_dir) & set(whole)) >= len(whole) - missing, timeout_s)
    lines = await asyncio.to_thread(export, data_dir)
    ids = Counter(line["metadata"]["trace_id"] for line in lines)
    texts = {line["metadata"]["trace_id"]: line["messages"][-1]["content"] for line in lines}
    lost = [each for each in whole if each not in ids]
    not_stored = len(set(whole) - stored(data_dir))
    report.add(calls=len(received), answered_whole=len(whole), exported=len(lines), not_exported=len(lost))
    report.add(not_stored=not_stored)
    report.promise(len(lost) <= missing, f"{len(lost)} answered calls are in no export, {missing} are accounted for")
    report.promise(max(ids.values(), default=1) == 1, "a call is in the export twice")
    wrong = [each for each in whole.values() if texts.get(each.trace_id or "", each.text) != each.text]
    report.promise(not wrong, f"{len(wrong)} exported answers are not what the client got")
    odd = [each for each in whole.values() if each.text != own_words(each.question)]
    report.promise(not odd, f"{len(odd)} clients got another answer than the upstream gave")
