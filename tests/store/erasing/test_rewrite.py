"""Writing a database anew."""

from pathlib import Path

import pytest

from store.connection import connect_sqlite
from store.errors import DatabaseMissingError, WriterBusyError
from store.retention_rewrite import rewrite
from store.traces import TraceReader, TraceWriter
from tests.store.erasing.store import chat, erase, faults, rows


async def test_a_database_of_an_earlier_version_is_smaller_and_can_shrink_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer:
        await writer.write([chat(n, f"question {n} " * 50, f"answer {n}", user=f"u{n % 2}") for n in range(1, 600)])
    as_of_old = connect_sqlite(path, mode="rw")
    as_of_old.execute("PRAGMA auto_vacuum = NONE")
    as_of_old.execute("VACUUM")
    as_of_old.close()
    async with await TraceWriter.open(path) as writer:
        await erase(writer, "user", "u1")
        with pytest.raises(WriterBusyError):
            rewrite(path)
    done = rewrite(path)
    assert done.after < done.before * 0.8
    assert done.after == path.stat().st_size
    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]
    assert faults(path) == []
    async with await TraceReader.open(path) as reader:
        assert len([trace async for trace in reader.traces()]) == 299


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissingError):
        rewrite(tmp_path / "traces.db")
    assert list(tmp_path.iterdir()) == []
