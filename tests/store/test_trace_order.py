"""Orders and places: pages neither repeat nor skip a trace, whatever comes in between them."""

import random
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import CursorError
from store.trace_lookup import ids_beginning
from store.trace_order import Order, Place, from_cursor, to_cursor
from store.traces import TraceReader, TraceWriter
from tests.store.traces import STARTED_AT, make_trace


@pytest.mark.parametrize("order", Order)
async def test_pages_are_stable_while_traces_come_in(tmp_path: Path, order: Order) -> None:
    chance = random.Random(3)
    numbers = iter(range(1, 1000))

    def make(count: int) -> list[object]:
        return [
            make_trace(
                next(numbers),
                created_at=STARTED_AT + timedelta(seconds=chance.randrange(9)),
                duration_ms=chance.choice([None, 1.0, 1.5, 2.5]),
                prompt_tokens=chance.choice([None, 1, 2]),
                completion_tokens=chance.choice([None, 1, 2]),
            )
            for _ in range(count)
        ]

    first = make(60)
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write(first)  # type: ignore[arg-type]
        async with await TraceReader.open(tmp_path / "traces.db") as reader:
            found: list[UUID] = []
            cursor = None
            while cursor is not None or not found:
                page = await reader.page(None, cursor, 7, order)
                found += [summary.id for summary in page.summaries]
                cursor = page.next_cursor
                if cursor is None:
                    break
                await writer.write(make(3))  # type: ignore[arg-type]
    assert len(found) == len(set(found))
    listed = {trace.id for trace in first if getattr(trace, order.column) is not None}  # type: ignore[attr-defined]
    assert listed <= set(found)


@given(
    order=st.sampled_from([o for o in Order if o.is_of_time]),
    key=st.integers(-(2**62), 2**62),
    tie=st.binary(min_size=16, max_size=16),
)
def test_a_place_in_time_survives_its_cursor(order: Order, key: int, tie: bytes) -> None:
    assert from_cursor(order, to_cursor(order, Place(key, tie))) == Place(key, tie)


@given(order=st.sampled_from([o for o in Order if not o.is_of_time]), key=st.floats(0, 1e15), tie=st.integers(0, 2**62))
def test_a_place_by_a_value_survives_its_cursor(order: Order, key: float, tie: int) -> None:
    assert from_cursor(order, to_cursor(order, Place(key, tie))) == Place(key, tie)


@given(order=st.sampled_from(Order), cursor=st.text(max_size=40))
def test_any_other_text_is_refused(order: Order, cursor: str) -> None:
    try:
        place = from_cursor(order, cursor)
    except CursorError:
        return
    assert from_cursor(order, to_cursor(order, place)) == place


async def test_a_trace_is_named_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    ids = [UUID("01920a6e-0000-7000-8000-000000000001"), UUID("01920a6e-0000-7000-8000-000000000002")]
    ids.append(UUID("01920b00-0000-7000-8000-000000000000"))
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await writer.write([make_trace(n, id=id_) for n, id_ in enumerate(ids)])
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert await ids_beginning(reader, "01920B") == ids[2:]
        assert await ids_beginning(reader, "01920a6e-0000") == ids[:2]
        assert await ids_beginning(reader, str(ids[0])) == ids[:1]
        for text in ("019", "", "chat", "01920a6e-0000-7000-8000-0000000000010", "' OR 1"):
            assert await ids_beginning(reader, text) == []
