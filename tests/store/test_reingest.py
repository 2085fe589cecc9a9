"""Traces made again of their raw calls: in place, with all that hangs on them, or left as they were."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from store.change import Change, ChangeKind, find_change
from store.database_check import view
from store.erasing.sweep import Sweep
from store.follower import StoredTrace
from store.json_text import dumps
from store.raw_calls import Derive, RawCalls, RawRetention
from store.reingest import MOST_TRACES, Reingest, bundles
from store.trace import Flag, Reply, Trace
from store.trace_feed import TraceFeed
from store.trace_writer import TraceWriter
from store.uuid7 import uuid7
from store.verify import verify
from tests.store.traces import make_trace

GENEROUS = RawRetention(10**9, 7)
OLD = make_trace(
    1,
    messages=(dumps({"role": "user", "content": "hi"}),),
    replies=(Reply(0, dumps({"role": "assistant", "content": "old"}), "stop", b"[1]"), Reply(1, b"{}")),
    usage=b'{"total_tokens":1}',
    tags={"team": "a", "b": "c"},
)
NEW = replace(
    OLD,
    replies=(Reply(0, dumps({"role": "assistant", "content": "new"}), "length"),),
    usage=b'{"total_tokens":2}',
    tags={"team": "b"},
    parameters=b'{"seed":1}',
    prompt_tokens=9,
    flags=frozenset({Flag.NO_USAGE}),
)


class Watching:
    """A follower that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[int]]] = []

    def add(self, _db: object, traces: Sequence[StoredTrace]) -> None:
        self.told.append(("add", [stored.number for stored in traces]))

    def remove(self, _db: object, numbers: Sequence[int]) -> None:
        self.told.append(("remove", list(numbers)))

    def forget(self) -> None:
        """Remember nothing anyway."""


async def reingest(
    path: Path, ids: object, derive: Derive | None, followers: Sequence[Watching] = ()
) -> dict[str, Any]:
    """Ask for it, and give what came of it."""
    raw = RawCalls(path.parent, GENEROUS, derive)
    change = Change(uuid7(), ChangeKind.REINGEST, datetime.now(UTC), "anna", json.dumps(ids).encode())
    async with await TraceWriter.open(path, raw_calls=raw) as writer:
        writer._appliers = {ChangeKind.REINGEST: Reingest(raw, [*followers, raw])}
        await writer.write(changes=[change])
    async with await TraceFeed.open(path) as reader:
        record = await reader.look(lambda db: find_change(db, change.id))
    assert record is not None
    return dict(record.result)


async def store(path: Path, traces: Sequence[Trace], without_raw: Sequence[Trace] = ()) -> None:
    raw = RawCalls(path.parent, GENEROUS)
    async with await TraceWriter.open(path, raw_calls=raw) as writer:
        raw.offer({trace.id: trace.id.bytes + b"raw" for trace in traces})
        await writer.write([*traces, *without_raw])


async def stored(path: Path) -> list[Trace]:
    async with await TraceFeed.open(path) as feed:
        return [fed.trace for fed in await feed.after(0, 1000)]


def of(*traces: Trace) -> dict[str, list[str]]:
    return {"ids": [str(trace.id) for trace in traces]}


async def test_a_trace_is_replaced_in_its_place_and_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    before, after = make_trace(5), make_trace(6, messages=NEW.messages)
    await store(path, [before, OLD, after])
    watching = Watching()
    result = await reingest(path, of(OLD), lambda kept: NEW if kept == OLD.id.bytes + b"raw" else OLD, [watching])
    assert result == {"replaced": 1, "without_raw": 0, "failed": 0, "gone": 0}
    assert await stored(path) == [before, NEW, after]
    assert watching.told == [("remove", [2]), ("add", [2])]
    checked = view(path, lambda connection: verify(connection, lambda _done, _total: None))
    assert [finding.kind.name for finding in checked.findings()] == ["verified"]
    assert (await reingest(path, of(OLD), lambda _: OLD))["replaced"] == 1
    assert await stored(path) == [before, OLD, after], "its raw call is still there"


async def test_what_only_the_old_trace_held_is_deleted_and_what_the_new_one_holds_is_not(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await store(path, [OLD])
    raw = RawCalls(path.parent, GENEROUS, lambda _: NEW)
    change = Change(uuid7(), ChangeKind.REINGEST, datetime.now(UTC), None, json.dumps(of(OLD)).encode())
    async with await TraceWriter.open(path, raw_calls=raw) as writer, await TraceFeed.open(path) as reader:
        before = await reader.stats()
        await writer.write(changes=[change])
        sweep = Sweep()
        while (await writer.perform(sweep)).has_more:
            pass
        after = await reader.stats()
    assert await stored(path) == [NEW]
    assert (before.nodes, after.nodes) == (3, 2), "a question and two replies; the question and one"
    checked = view(path, lambda connection: verify(connection, lambda _done, _total: None))
    assert [finding.kind.name for finding in checked.findings()] == ["verified"]


async def test_what_has_no_bytes_or_is_gone_or_cannot_be_made_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    redacted = replace(OLD, id=UUID(int=2), flags=frozenset({Flag.REDACTED}))
    expired = replace(OLD, id=UUID(int=7), flags=frozenset({Flag.CONTENT_EXPIRED}))
    bare, broken, other, odd = (replace(OLD, id=UUID(int=number)) for number in (3, 4, 5, 6))
    await store(path, [redacted, expired, broken, other, odd], [bare])
    before = await stored(path)

    def derive(kept: bytes) -> Trace:
        number = UUID(bytes=kept[:16]).int
        if number == 4:
            raise ZeroDivisionError
        return replace(NEW, id=UUID(int=99)) if number == 5 else replace(NEW, id=odd.id, messages=(b"{",))

    result = await reingest(path, of(OLD, redacted, expired, bare, broken, other, odd), derive)
    assert result == {"replaced": 0, "without_raw": 3, "failed": 3, "gone": 1}
    assert await stored(path) == before


async def test_where_calls_are_redacted_it_is_refused_politely(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    await store(path, [OLD])
    assert "redacted" in (await reingest(path, of(OLD), None))["error"]
    assert await stored(path) == [OLD]


@pytest.mark.parametrize("body", [[], {}, {"ids": 3}, {"ids": ["x"]}, {"ids": [3]}, of(*[OLD] * 2), "too many"])
async def test_what_names_no_traces_changes_nothing_and_one_named_twice_is_made_once(
    tmp_path: Path, body: object
) -> None:
    path = tmp_path / "traces.db"
    await store(path, [OLD])
    asked = {"ids": [str(UUID(int=n)) for n in range(MOST_TRACES + 1)]} if body == "too many" else body
    result = await reingest(path, asked, lambda _: NEW)
    if body == of(OLD, OLD):
        assert result == {"replaced": 1, "without_raw": 0, "failed": 0, "gone": 0}
    else:
        assert "error" in result
        assert await stored(path) == [OLD]


def test_ids_are_cut_into_changes_that_may_be_applied() -> None:
    ids = [UUID(int=number) for number in range(2 * MOST_TRACES + 1)]
    found = list(bundles(ids))
    assert [len(each["ids"]) for each in found] == [MOST_TRACES, MOST_TRACES, 1]
    assert [UUID(text) for each in found for text in each["ids"]] == ids
