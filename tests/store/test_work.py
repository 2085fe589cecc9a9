import asyncio
import sqlite3
from pathlib import Path

import pytest

from store.call import Call, Verdict, call_key, content_key
from store.database import TRACES, WORK, Schema, open_writer
from store.errors import DatabaseMissingError
from store.job import JobStatus
from store.work import WorkStore

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


def made(key: bytes, reply: bytes | None = b'{"choices":[]}', error: str | None = None) -> Call:
    return Call(key, "filter", "m", "http://x/v1", b'{"model":"m"}', reply, b'{"total_tokens":3}', 0.25, 2, error)


def test_the_key_of_a_call_is_its_content_and_not_the_order_of_its_fields() -> None:
    key = call_key(base_url="http://x/v1", body=BODY)
    assert key == call_key(base_url="http://x/v1", body=dict(reversed(list(BODY.items()))))
    others = {
        call_key(base_url="http://y/v1", body=BODY),
        call_key(base_url="http://x/v1", body={**BODY, "temperature": 1}),
        call_key(base_url="http://x/v1", body=BODY, attempt=1),
    }
    assert len(others | {key}) == 4


def test_the_key_is_stable_across_versions_of_the_program() -> None:
    assert content_key("a", {"b": [1, None, "\ud800"]}).hex() == "29ffc3a2cd15eb6694990cb973c68206dc41af9f"


async def test_a_call_comes_back_as_it_was_and_the_first_one_stays(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        assert await work.call(b"k") is None
        await work.add_call(made(b"k"))
        await work.add_call(made(b"k", reply=None, error="rejected"))
    async with await WorkStore.open_to_read(tmp_path / "work.db") as work:
        assert await work.call(b"k") == made(b"k")


async def test_verdicts_of_one_call_are_found_one_by_one(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        await work.add_call(made(b"k"))
        await work.add_verdicts({b"1": {"relevance": 5}, b"2": {"relevance": 1}}, b"k")
        assert await work.verdicts([b"2", b"3"]) == {b"2": Verdict({"relevance": 1}, b"k")}


async def test_two_writers_take_turns_without_losing_a_call(tmp_path: Path) -> None:
    path = tmp_path / "work.db"

    async def write(work: WorkStore, name: str) -> None:
        await asyncio.gather(*(work.add_call(made(f"{name}{number}".encode())) for number in range(20)))

    async with await WorkStore.open(path) as one, await WorkStore.open(path) as two:
        await asyncio.gather(write(one, "a"), write(two, "b"))
        found = [await two.call(f"{name}{number}".encode()) for name in "ab" for number in range(20)]
    assert all(found)


async def test_a_cancelled_write_is_finished_and_leaves_the_store_usable(tmp_path: Path) -> None:
    """Cancelled in the middle of BEGIN, the connection once stayed inside a transaction for good."""
    async with await WorkStore.open(tmp_path / "work.db") as work:
        for steps in range(12):
            writing = asyncio.create_task(work.add_call(made(bytes([steps]))))
            for _ in range(steps):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await work.add_call(made(b"next" + bytes([steps])))
    async with await WorkStore.open_to_read(tmp_path / "work.db") as work:
        # A task that is cancelled before its first step never begins to write.
        assert all([await work.call(bytes([steps])) for steps in range(1, 12)])
        assert all([await work.call(b"next" + bytes([steps])) for steps in range(12)])


async def test_a_job_keeps_its_id_when_it_is_run_again_into_the_same_folder(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db") as work:
        first = await work.start_job(tmp_path / "out", name="bank", config={"a": 1})
        assert (first.status, first.ended_at, first.name) == (JobStatus.RUNNING, None, "bank")
        await work.end_job(first.run_id, JobStatus.FAILURE, counts={"kept": 1}, error="too few")
        failed = await work.job("bank")
        assert failed is not None
        assert (failed.status, failed.counts, failed.error) == (JobStatus.FAILURE, {"kept": 1}, "too few")
        again = await work.start_job(tmp_path / "out", name="bank", config={"a": 2})
        assert again.run_id == first.run_id
        assert (again.error, again.counts, again.config) == (None, None, {"a": 2})
        await work.end_job(again.run_id, JobStatus.SUCCESS, base_model_performance={"rouge": 0.5})
        for name in (again.run_id, "bank", str(tmp_path / "out")):
            found = await work.job(name)
            assert found is not None
            assert found.base_model_performance == {"rouge": 0.5}
        assert await work.job("nobody") is None


async def test_reading_before_anything_was_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissingError):
        await WorkStore.open_to_read(tmp_path / "work.db")


async def test_migrations_lead_to_the_schema_that_is_shown(tmp_path: Path) -> None:
    async with await WorkStore.open(tmp_path / "work.db"):
        pass
    shown = sqlite3.connect(":memory:")
    shown.executescript(WORK.sql())
    made_ = sqlite3.connect(tmp_path / "work.db")
    question = "SELECT name, type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    tables = [name for name, kind, _ in shown.execute(question) if kind == "table"]
    assert list(shown.execute(question)) == list(made_.execute(question))
    for table in tables:
        columns = f"PRAGMA table_info({table})"
        assert list(shown.execute(columns)) == list(made_.execute(columns))
    shown.close()
    made_.close()
    assert (tmp_path / "work.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("schema", [WORK, TRACES], ids=["work", "traces"])
async def test_a_commit_outlives_a_power_cut(tmp_path: Path, schema: Schema) -> None:
    """With NORMAL the last commits may be lost; by then the journal's segment, or the teacher's bill, is gone."""
    connection = await open_writer(tmp_path / "a.db", schema)
    async with connection.execute("PRAGMA synchronous") as cursor:
        found = await cursor.fetchone()
    await connection.close()
    full = 2
    assert found == (full,)
