"""A server stitches what was stored before there were conversations."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from proxy.ingest.ingest import run_ingest
from proxy.serve.ingest_process import make_chores, make_raw_calls
from proxy.settings import ServeSettings
from store.conversation_reader import list_conversations
from store.traces import TraceReader, TraceWriter

RELEASED = Path(__file__).parents[2] / "store" / "released" / "traces-1.sql"


async def test_a_database_of_an_earlier_version_gets_its_conversations_while_a_server_runs(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(RELEASED.read_text("utf-8"))
        database.execute("PRAGMA journal_mode = WAL")
    await (await TraceWriter.open(path)).close()
    settings = ServeSettings(data_dir=tmp_path, upstream="https://upstream.test/v1")
    raw_calls, stop = make_raw_calls(settings), asyncio.Event()
    async with await TraceReader.open(path) as reader:
        before = await reader.look(list_conversations)
        chores = make_chores(settings, raw_calls)
        ingest = asyncio.create_task(
            run_ingest(tmp_path, stop, max_decoded_bytes=1 << 20, chores=chores, raw_calls=raw_calls)
        )
        async with asyncio.timeout(10):
            while not (after := await reader.look(list_conversations)).is_settled:
                await asyncio.sleep(0.01)
        stop.set()
        await ingest
    assert (before.conversations, before.is_settled) == ([], False)
    assert sorted((each.calls, each.turns, each.session) for each in after.conversations) == [(1, 1, "s"), (5, 4, None)]
