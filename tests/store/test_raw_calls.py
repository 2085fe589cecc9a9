"""Raw calls: found by their trace, erased to the last byte, pruned with their room, and never in the way of traces."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.connection import transaction_now
from store.erasing.removal import remove_content, remove_traces
from store.finding import Finding
from store.raw_call_check import check_raw_calls
from store.raw_call_files import RawCallFiles
from store.raw_call_pack import DamagedPackError, RawCallBytes, decode_pack, encode_into, encode_pack
from store.raw_call_retention import RawCallPruning
from store.raw_calls import RawCalls, RawRetention, erase, find_raw_call, find_raw_calls
from store.trace_writer import TraceWriter
from store.traces import TraceReader
from tests.store.traces import make_trace

KIB = 1024
GENEROUS = RawRetention(1024 * KIB * KIB, 7)
CALLS = st.lists(st.builds(RawCallBytes, st.integers(0, 2**40), st.binary(min_size=16, max_size=16), st.binary()))


def noise(number: int, size: int = 3000) -> bytes:
    """Make bytes that no compressor makes smaller, and that stand in a file as they are."""
    return Random(number).randbytes(size)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


async def store(database: Path, numbers: range, retention: RawRetention = GENEROUS, batch: int = 10) -> None:
    """Store traces by batches, with raw calls for all of them."""
    raw = RawCalls(database.parent, retention)
    async with await TraceWriter.open(database, raw_calls=raw) as writer:
        for first in range(numbers.start, numbers.stop, batch):
            some = range(first, min(first + batch, numbers.stop))
            raw.offer({UUID(int=number): noise(number) for number in some})
            await writer.write([make_trace(number) for number in some])
            raw.offer({})


async def found(database: Path, numbers: range) -> list[int]:
    """Tell which raw calls can be read, and that each is the right one."""
    async with await TraceReader.open(database) as reader:
        bodies = {n: await reader.look(lambda db, n=n: find_raw_call(db, UUID(int=n))) for n in numbers}  # type: ignore[misc]
    there = {number: body for number, body in bodies.items() if body is not None}
    assert there == {number: noise(number) for number in there}
    return sorted(there)


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def connect(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def db(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that stands for the writer's, to a database that has been made."""
    yield from connect(database)


@given(CALLS)
def test_a_pack_gives_back_what_it_was_made_of(calls: list[RawCallBytes]) -> None:
    pack = encode_pack(calls)
    assert decode_pack(pack + bytes(100)) == calls


@given(CALLS, st.data())
@settings(max_examples=60)
def test_a_pack_with_any_byte_changed_is_refused(calls: list[RawCallBytes], data: st.DataObject) -> None:
    pack = encode_pack(calls)
    at = data.draw(st.integers(0, len(pack) - 1))
    with pytest.raises(DamagedPackError):
        decode_pack(pack[:at] + bytes([pack[at] ^ 1]) + pack[at + 1 :])
    with pytest.raises(DamagedPackError):
        decode_pack(pack[:at])


@given(st.lists(st.binary(max_size=3000), min_size=2, max_size=20), st.data())
@settings(max_examples=60)
def test_fewer_calls_fit_into_the_place_of_more(bodies: list[bytes], data: st.DataObject) -> None:
    calls = [RawCallBytes(number, bytes(16), body) for number, body in enumerate(bodies)]
    size = len(encode_pack(calls))
    gone = data.draw(st.integers(0, len(calls) - 1))
    left = [call for call in calls if call.number != gone]
    smaller = encode_into(left, size)
    assert smaller is not None
    assert len(smaller) == size
    assert decode_pack(smaller) == left


async def test_every_call_is_found_by_its_trace_and_no_other(database: Path) -> None:
    await store(database, range(1, 35))
    assert await found(database, range(60)) == list(range(1, 35))
    async with await TraceReader.open(database) as reader:
        some = await reader.look(lambda connection: find_raw_calls(connection, [3, 17, 99]))
    assert some == {UUID(int=number): noise(number) for number in (3, 17)}


async def test_files_are_for_their_owner_alone(database: Path) -> None:
    await store(database, range(1, 3))
    folder = database.parent / "raw"
    assert (folder.stat().st_mode & 0o777, [path.stat().st_mode & 0o777 for path in folder.iterdir()]) == (
        0o700,
        [0o600],
    )


async def test_with_nothing_to_be_kept_there_is_no_folder(database: Path) -> None:
    for retention in (RawRetention(), RawRetention(0, 7), RawRetention(10**9, 0)):
        await store(database, range(1, 3), retention)
    assert not (database.parent / "raw").exists()
    assert await found(database, range(3)) == []


async def test_erased_calls_are_in_no_file_and_all_others_are_as_they_were(database: Path) -> None:
    await store(database, range(1, 41))
    gone = [1, 5, *range(11, 21), 40]
    assert all(noise(number) in all_bytes(database.parent) for number in range(1, 41))
    for connection in connect(database):
        with transaction_now(connection):
            assert erase(connection, [*gone, 4711]) == len(gone)
            assert erase(connection, gone) == 0
    kept = [number for number in range(1, 41) if number not in gone]
    left = all_bytes(database.parent)
    assert [number for number in range(1, 41) if noise(number) in left] == kept
    assert await found(database, range(50)) == kept
    await store(database, range(41, 51))
    assert await found(database, range(60)) == [*kept, *range(41, 51)]


async def test_with_a_trace_or_its_contents_the_bytes_of_its_call_go(database: Path) -> None:
    await store(database, range(1, 11))
    raw = RawCalls(database.parent, GENEROUS)
    for connection in connect(database):
        with transaction_now(connection):
            remove_traces(connection, [2, 3], [raw], None)
            remove_content(connection, [5], [raw])
    assert await found(database, range(20)) == [1, 4, *range(6, 11)]
    left = all_bytes(database.parent)
    assert not any(noise(number) in left for number in (2, 3, 5))


async def test_a_number_that_is_given_out_again_gets_its_own_call(database: Path) -> None:
    await store(database, range(1, 11))
    for connection in connect(database):
        with transaction_now(connection):
            erase(connection, [8, 9, 10])
            connection.execute("DELETE FROM traces WHERE number >= 8")
    await store(database, range(21, 41))
    assert await found(database, range(60)) == [*range(1, 8), *range(21, 41)]


async def test_what_a_transaction_wrote_that_was_rolled_back_is_cut_off(database: Path) -> None:
    raw = RawCalls(database.parent, GENEROUS)
    async with await TraceWriter.open(database, raw_calls=raw) as writer:
        raw.offer({UUID(int=number): noise(number) for number in range(9)})
        await writer.write([make_trace(1)])
        with pytest.raises(AttributeError):
            await writer.write([make_trace(2), make_trace(3)], changes=["no change"])  # type: ignore[list-item]
        assert noise(2) in all_bytes(database.parent / "raw")
        await writer.write([make_trace(4)])
        await writer.write([make_trace(5)])
    assert noise(2) not in all_bytes(database.parent)
    assert await found(database, range(9)) == [1, 4, 5]


async def test_what_a_killed_process_wrote_is_cut_off_by_the_next(database: Path) -> None:
    await store(database, range(1, 3))
    (file,) = (database.parent / "raw").iterdir()
    with file.open("ab") as end:
        end.write(noise(77))
    stray = file.with_name("00000009.raw")
    stray.write_bytes(noise(78))
    async with await TraceWriter.open(database, raw_calls=(raw := RawCalls(database.parent, GENEROUS))) as writer:
        await writer.perform(RawCallPruning(raw))
    left = all_bytes(database.parent)
    assert (noise(77) in left, noise(78) in left, stray.exists()) == (False, False, False)
    assert await found(database, range(5)) == [1, 2]


async def test_the_oldest_go_when_there_are_too_many_and_the_disk_has_the_room_back(database: Path) -> None:
    retention = RawRetention(256 * KIB, 7)
    await store(database, range(1, 301), retention)
    raw = RawCalls(database.parent, retention)
    assert sum(raw.files.segments().values()) > 800 * KIB
    await prune(database, raw)
    assert sum(raw.files.segments().values()) <= 256 * KIB
    left = await found(database, range(301))
    assert left == list(range(left[0], 301))
    assert len(left) > 40


async def test_calls_go_when_they_have_the_age_and_not_before(database: Path) -> None:
    retention = RawRetention(10**9, 1)
    await store(database, range(1, 21), retention)
    raw = RawCalls(database.parent, retention)
    now = database.stat().st_mtime
    await prune(database, raw, now=now + 86_000)
    assert await found(database, range(21)) == list(range(1, 21))
    await prune(database, raw, now=now + 86_500)
    assert await found(database, range(21)) == []
    assert list((database.parent / "raw").iterdir()) == []


async def test_when_none_are_to_be_kept_any_more_all_go(database: Path) -> None:
    await store(database, range(1, 21))
    await prune(database, RawCalls(database.parent))
    assert list((database.parent / "raw").iterdir()) == []
    for connection in connect(database):
        assert connection.execute("SELECT count(*) FROM raw_packs").fetchone() == (0,)


async def prune(database: Path, raw: RawCalls, now: float | None = None) -> None:
    chore = RawCallPruning(raw) if now is None else RawCallPruning(raw, clock=lambda: now)
    async with await TraceWriter.open(database, raw_calls=raw) as writer:
        while (await writer.perform(chore)).has_more:
            pass


async def test_a_file_that_is_gone_or_damaged_costs_its_own_calls_and_can_be_erased(database: Path) -> None:
    small = RawRetention(256 * KIB, 7)
    await store(database, range(1, 101), small)
    files = RawCallFiles(database.parent / "raw")
    first, second, *_ = files.segments()
    files.delete(first)
    with files.path(second).open("r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 9)
    left = await found(database, range(101))
    assert 20 < len(left) < 90
    for connection in connect(database):
        with transaction_now(connection):
            erase(connection, range(1, 101))
    assert await found(database, range(101)) == []
    assert not any(noise(number) in all_bytes(database.parent) for number in range(1, 101))


async def test_every_pack_is_read_when_the_store_is_verified(database: Path) -> None:
    await store(database, range(1, 31), batch=10)
    assert [(each.kind.name, each.facts["calls"]) for each in checked(database)] == [("raw_calls", 30)]
    (file,) = (database.parent / "raw").iterdir()
    whole = file.read_bytes()
    for at in (20, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        (damaged,) = checked(database)
        assert (damaged.kind.name, damaged.facts["count"], damaged.facts["calls"]) == ("raw_calls_damaged", 1, 20)
    file.write_bytes(whole)
    with sqlite3.connect(database) as db:
        db.execute("UPDATE raw_packs SET first_trace = first_trace - 1 WHERE number = 2")
    assert "other calls" in checked(database)[0].what
    with sqlite3.connect(database) as db:
        db.execute("UPDATE raw_packs SET first_trace = first_trace + 1 WHERE number = 2")
        db.execute("UPDATE traces SET id = randomblob(16) WHERE number = 15")
    assert "1 of its calls are of other traces" in checked(database)[0].what
    file.unlink()
    assert checked(database)[0].facts["count"] == 3


def checked(database: Path) -> list[Finding]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return list(check_raw_calls(connection, database.parent))
    finally:
        connection.close()


async def test_files_that_cannot_be_written_cost_raw_calls_and_no_trace(database: Path) -> None:
    (database.parent / "raw").write_bytes(b"in the way")
    raw = RawCalls(database.parent, GENEROUS)
    async with await TraceWriter.open(database, raw_calls=raw) as writer:
        raw.offer({UUID(int=1): b"x"})
        assert (await writer.write([make_trace(1)])).traces == 1
        (database.parent / "raw").unlink()
        raw.offer({UUID(int=2): noise(2)})
        await writer.write([make_trace(2)])
    assert (raw.take_lost(), raw.take_lost()) == (1, 0)
    assert await found(database, range(3)) == [2]
