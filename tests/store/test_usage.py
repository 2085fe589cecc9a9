"""Usage and cost are kept along with the traces: the sums are those of a full recount, whatever happened before."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.chore import NOTHING_TO_DO, Step
from store.connection import transaction_now
from store.database import TRACES, open_writer
from store.filter import parse_filter
from store.follower import StoredTrace
from store.json_text import dumps
from store.latency_histogram import add_to, bucket_of, pack_histogram, percentile, unpack_histogram
from store.price import PriceBook, PriceRule
from store.trace import Outcome, Trace
from store.traces import TraceReader, TraceWriter
from store.usage import UsageFollower
from store.usage_chore import UsageChore
from store.usage_stats import Dimension, Selection, read_usage
from tests.store.test_migration import RELEASED, traces_of_all_kinds
from tests.store.traces import ODD_TEXT, make_trace

START = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
CHEAP = PriceBook([PriceRule("a*", dollars={"input": "1", "output": "2"})])
DEAR = PriceBook([PriceRule("b*", dollars={"input": "3", "output": "5", "cached": "1"}), *CHEAP.rules])

USAGES = st.none() | st.builds(
    lambda into, out, cached: dumps(
        {"prompt_tokens": into, "completion_tokens": out, "prompt_tokens_details": {"cached_tokens": cached}}
    ),
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 1000),
    st.none() | st.integers(0, 100),
)
FIELDS = st.fixed_dictionaries(
    {
        "usage": USAGES,
        "requested_model": st.sampled_from([None, "", "a", "b", "c"]) | ODD_TEXT,
        "served_model": st.sampled_from([None, "a-1", "b-1"]),
        "route": st.sampled_from(["default", "x"]),
        "outcome": st.sampled_from(Outcome),
        "status": st.sampled_from([None, 200, 429, 500]),
        "duration_ms": st.none() | st.floats(0, 1e12),
        "ttft_ms": st.none() | st.floats(0, 1e6),
        "prompt_tokens": st.none() | st.integers(0, 2**42),
        "request_bytes": st.integers(0, 2**40),
        "created_at": st.integers(0, 3 * 86400).map(lambda seconds: START + timedelta(seconds=seconds)),
        "parameters": st.sampled_from([b"{}", b'{"service_tier":"flex"}']),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(FIELDS, min_size=1, max_size=5)),
        st.tuples(st.just("remove"), st.sets(st.integers(1, 12), max_size=4)),
        st.tuples(st.just("price"), st.sampled_from([CHEAP, DEAR, PriceBook()])),
        st.tuples(st.just("step"), st.none()),
    ),
    max_size=8,
)


class Remove:
    """Take traces away as erasing does."""

    name = "remove"

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def step(self, db: sqlite3.Connection) -> Step:
        with transaction_now(db):
            there = [n for n in self._numbers if db.execute("SELECT 1 FROM traces WHERE number = ?", [n]).fetchone()]
            UsageFollower().remove(db, there)
            for number in there:
                db.execute("DELETE FROM usages WHERE trace = ?", [number])
                db.execute("DELETE FROM traces WHERE number = ?", [number])
        return NOTHING_TO_DO


async def open_counting(path: Path) -> TraceWriter:
    """Open a writer that keeps no other derived tables."""
    return TraceWriter(await open_writer(path, TRACES), path, [UsageFollower()])


async def finish(writer: TraceWriter, book: PriceBook) -> None:
    chore = UsageChore(book)
    while (await writer.perform(chore)).has_more:
        pass


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as database:
        key = "day, route, upstream, requested_model, served_model, outcome, status"
        days = [row[1:] for row in database.execute(f"SELECT * FROM usage_days ORDER BY {key}")]  # noqa: S608
        costs = database.execute(
            "SELECT t.id, c.* FROM costs c JOIN traces t ON t.number = c.trace ORDER BY t.id"
        ).fetchall()
        return {"days": days, "costs": [(row[0], *row[2:]) for row in costs]}


@settings(deadline=None, max_examples=40)
@given(STEPS)
async def test_the_sums_are_those_of_a_recount_whatever_happened_before(steps: list[tuple[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path, again = Path(folder) / "traces.db", Path(folder) / "again.db"
        book = PriceBook()
        kept: dict[int, Trace] = {}
        async with await open_counting(path) as writer:
            for what, value in steps:
                if what == "write":
                    first = max(kept, default=0) + 1
                    fresh = {n: make_trace(1000 + n, **fields) for n, fields in enumerate(value, first)}
                    await writer.write(list(fresh.values()))
                    kept |= fresh
                elif what == "remove":
                    # The last row stays: its number would be given out again.
                    gone = [n for n in value if n in kept and n != max(kept)]
                    await writer.perform(Remove(gone))
                    for number in gone:
                        del kept[number]
                else:
                    book = value or book
                    await writer.perform(UsageChore(book))
            await finish(writer, book)
            async with await TraceReader.open(path) as reader:
                stats, total = await reader.stats(), (await read_usage(reader)).total
                scanned = (await read_usage(reader, (), Selection(where="created_at > 2000-01-01"))).total
        async with await open_counting(again) as writer:
            await finish(writer, book)
            await writer.write(list(kept.values()))
        assert tables(path) == tables(again)
        assert stats.traces == len(kept) == total.group.sums[0]
        assert scanned.to_json() == total.to_json()


@pytest.mark.parametrize("released", sorted(RELEASED.glob("traces-*.sql")), ids=lambda path: path.stem)
async def test_an_older_database_is_counted_step_by_step_and_told_right_meanwhile(
    released: Path, tmp_path: Path
) -> None:
    path, fresh = tmp_path / "traces.db", tmp_path / "fresh.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(released.read_text("utf-8"))
    late = make_trace(500, usage=b'{"prompt_tokens":3,"completion_tokens":1}', requested_model="a")
    async with await TraceWriter.open(fresh) as writer:
        await finish(writer, CHEAP)
        await writer.write([*traces_of_all_kinds(), late])
        async with await TraceReader.open(fresh) as reader:
            expected, usage = await reader.stats(), (await read_usage(reader, [Dimension.MODEL])).to_json()
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([late])
        before = await reader.stats()
        assert (await read_usage(reader)).uncounted == expected.traces - 1
        scanned = (await read_usage(reader, (), Selection(where="complete or not complete"))).total.group.sums[0]
        await finish(writer, CHEAP)
        after = await reader.stats()
        assert (await read_usage(reader)).uncounted == 0
        assert (await read_usage(reader, [Dimension.MODEL])).to_json() == usage
    for stats in (before, after):
        assert (stats.traces, stats.by_model, stats.by_outcome) == (
            expected.traces,
            expected.by_model,
            expected.by_outcome,
        )
        assert (stats.prompt_tokens, stats.complete) == (expected.prompt_tokens, expected.complete)
    assert scanned == expected.traces
    assert tables(path) == tables(fresh)


class Again:
    """Make traces again as reingesting does."""

    name = "again"

    def __init__(self, traces: dict[int, Trace]) -> None:
        self._traces = traces

    def step(self, db: sqlite3.Connection) -> Step:
        with transaction_now(db):
            for number, trace in self._traces.items():
                UsageFollower().remove(db, [number])
                UsageFollower().add(db, [StoredTrace(number, trace, (), ())])
        return NOTHING_TO_DO


async def test_a_trace_that_is_made_again_before_it_was_counted_counts_once(tmp_path: Path) -> None:
    path, fresh = tmp_path / "traces.db", tmp_path / "fresh.db"
    traces = traces_of_all_kinds()
    with closing(sqlite3.connect(path)) as database:
        database.executescript((RELEASED / "traces-2.sql").read_text("utf-8"))
    async with await TraceWriter.open(path) as writer:
        await writer.perform(Again({1: traces[0], 4: traces[3]}))
        await finish(writer, CHEAP)
        await writer.perform(Again({2: traces[1], 4: traces[3]}))
    async with await TraceWriter.open(fresh) as writer:
        await finish(writer, CHEAP)
        await writer.write(traces)
    assert tables(path) == tables(fresh)


async def test_new_prices_hold_for_what_is_stored_and_the_old_sums_follow(tmp_path: Path) -> None:
    usage = b'{"prompt_tokens":1000000,"completion_tokens":0}'
    path = tmp_path / "traces.db"
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write([make_trace(n, requested_model="ab"[n % 2], usage=usage) for n in range(1, 7)])
        await writer.write([make_trace(9, requested_model="a"), make_trace(10, usage=b"{}", requested_model="a")])

        async def costs() -> list[tuple[Any, Any, Any]]:
            report = await read_usage(reader, [Dimension.MODEL])
            told = [(row["model"], row["cost_usd"], row["unpriced_calls"]) for row in report.rows()]
            assert report.total.to_json()["unreported_calls"] == 2
            return sorted(told)

        assert await costs() == [("a", None, 3), ("b", None, 3)]
        await finish(writer, CHEAP)
        assert await costs() == [("a", 3.0, 0), ("b", None, 3)]
        await finish(writer, DEAR)
        assert await costs() == [("a", 3.0, 0), ("b", 9.0, 0)]
        await writer.write([make_trace(11, requested_model="b", usage=usage)])
        assert await costs() == [("a", 3.0, 0), ("b", 12.0, 0)]
        await finish(writer, PriceBook())
        assert await costs() == [("a", None, 3), ("b", None, 4)]


async def test_calls_are_grouped_and_selected(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    day = datetime(2026, 1, 2, tzinfo=UTC)
    traces = [
        make_trace(1, created_at=day, status=200, requested_model="a", duration_ms=100.0, ttft_ms=10.0),
        make_trace(2, created_at=day, status=500, requested_model="a", outcome=Outcome.UPSTREAM_ERROR, duration_ms=1.0),
        make_trace(3, created_at=day + timedelta(days=1), requested_model=None, outcome=Outcome.UPSTREAM_UNREACHABLE),
        make_trace(4, created_at=day + timedelta(days=2), status=200, requested_model="b", route="x"),
    ]
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await writer.write(traces)

        async def grouped(by: Sequence[Dimension], **selected: Any) -> list[tuple[Any, ...]]:
            report = await read_usage(reader, by, Selection(**selected))
            assert report.is_scan == ("where" in selected)
            return [(*[row[name.value] for name in by], row["calls"], row["errors"]) for row in report.rows()]

        assert await grouped([Dimension.MODEL]) == [("a", 2, 1), (None, 1, 1), ("b", 1, 0)]
        assert await grouped([Dimension.DAY, Dimension.STATUS]) == [
            ("2026-01-02", "2xx", 1, 0),
            ("2026-01-02", "5xx", 1, 1),
            ("2026-01-03", None, 1, 1),
            ("2026-01-04", "2xx", 1, 0),
        ]
        assert await grouped([Dimension.ROUTE], first=date(2026, 1, 3), last=date(2026, 1, 3)) == [("default", 1, 1)]
        assert await grouped([Dimension.MODEL], where="model = a or route = x", last=date(2026, 1, 3)) == [("a", 2, 1)]
        (row,) = (await read_usage(reader, [Dimension.MODEL], Selection(where="model = a"))).rows()
        assert row["error_rate"] == 0.5
        assert row["ttft_ms"] == dict.fromkeys(("p50", "p95", "p99"), pytest.approx(10, rel=0.04))


@given(st.lists(st.floats(0.01, 1e9), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_right_to_four_percent(durations: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for duration in durations:
        add_to(histogram, {bucket_of(duration): 1})
    exact = sorted(durations)[max(0, -(-int(share * 1000) * len(durations) // 1000) - 1)]
    assert percentile(histogram, share) == pytest.approx(exact, rel=0.04)
    assert unpack_histogram(pack_histogram(histogram)) == histogram
    add_to(histogram, dict(histogram), -1)
    assert histogram == {}
    assert percentile(histogram, share) is None


@pytest.mark.parametrize("duration", [0.0, -1.0, float("inf"), float("nan"), 1e-300, 1e300])
def test_odd_durations_have_a_bucket(duration: float) -> None:
    assert unpack_histogram(pack_histogram({bucket_of(duration): 1})) == {bucket_of(duration): 1}


async def test_amounts_beyond_all_sense_are_bounded_and_stop_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    huge = dumps({"prompt_tokens": 2**40, "completion_tokens": 2**40})
    async with await TraceWriter.open(path) as writer, await TraceReader.open(path) as reader:
        await finish(writer, PriceBook([PriceRule(dollars={"input": "999999", "output": "1"})]))
        traces = [make_trace(n, usage=huge, request_bytes=2**63 - 1, status=2**62) for n in range(1, 4)]
        assert (await writer.write(traces)).traces == 3
        assert (await reader.stats()).request_bytes == 2**63 - 1
        assert (await read_usage(reader)).total.to_json()["unpriced_calls"] == 3


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("cost >= 0.000001", [1]),
        ("cost = 0", [2]),
        ("cost = null", [3, 4]),
        ("cost != 0", [1, 3, 4]),
        ("cached_tokens > 0", [1, 3]),
        ("reasoning_tokens = 2", [1, 3]),
    ],
)
async def test_traces_are_selected_by_usage_and_cost(tmp_path: Path, where: str, numbers: list[int]) -> None:
    rich = dumps(
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    )
    poor = dumps({"prompt_tokens": 10, "completion_tokens": 0})
    book = PriceBook([PriceRule("a", dollars={"input": "1", "output": "1"}), PriceRule("b", dollars={"input": "0"})])
    async with await TraceWriter.open(tmp_path / "traces.db") as writer:
        await finish(writer, book)
        await writer.write(
            [
                make_trace(1, requested_model="a", usage=rich),
                make_trace(2, requested_model="b", usage=poor),
                make_trace(3, requested_model="c", usage=rich),
                make_trace(4, requested_model="a"),
            ]
        )
    async with await TraceReader.open(tmp_path / "traces.db") as reader:
        assert [trace.id.int async for trace in reader.traces(parse_filter(where))] == numbers
        costs = {summary.id.int: summary.cost_usd for summary in (await reader.page()).summaries}
    assert costs == {1: 0.000015, 2: 0.0, 3: None, 4: None}
