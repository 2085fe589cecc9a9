import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.price import PriceBook, PriceRule
from store.trace import Outcome
from store.traces import TraceReader, TraceWriter
from store.usage_chore import UsageChore
from store.usage_stats import Dimension, Selection, UsageReport, read_usage
from tests.store.traces import make_trace
from tracemill.cli import main
from tracemill.stats_command import usage_lines

START = datetime(2026, 1, 2, tzinfo=UTC)
USAGE = b'{"prompt_tokens":1000000,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":7}}'


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    traces = [
        make_trace(1, created_at=START, requested_model="a", usage=USAGE, status=200, duration_ms=100.0),
        make_trace(2, created_at=START, requested_model="a\x1b[2J", usage=USAGE, outcome=Outcome.UPSTREAM_ABORTED),
        make_trace(3, created_at=START + timedelta(days=1), requested_model="a"),
    ]

    async def write() -> None:
        async with await TraceWriter.open(tmp_path / "data" / "traces.db") as writer:
            await writer.write(traces)
            chore = UsageChore(PriceBook([PriceRule("a", dollars={"input": "2.5", "output": "0"})]))
            while (await writer.perform(chore)).has_more:
                pass

    asyncio.run(write())
    return tmp_path / "data"


def run(monkeypatch: pytest.MonkeyPatch, data_dir: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tracemill", "stats", *arguments, "--data-dir", str(data_dir)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_a_table_tells_what_calls_used_and_cost(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, data_dir) == 0
    told = capfd.readouterr()
    head, *rows = [line.split() for line in told.out.splitlines()]
    assert head[:3] == ["model", "calls", "errors"]
    assert rows[0][:7] == ["a", "2", "0", "1,000,000", "10", "2.5000", "1"]
    assert rows[1][:4] == ["a\\u001b[2J", "1", "1", "(100.0%)"]
    assert rows[2][:2] == ["total", "3"]
    assert "1 call without a price, so" in told.err
    assert "1 call without usage" in told.err


def test_a_narrow_terminal_is_told_what_does_not_fit(data_dir: Path) -> None:
    """Wider tables were folded by the terminal, so that no number stood under its name."""

    async def read() -> UsageReport:
        async with await TraceReader.open(data_dir / "traces.db") as reader:
            return await read_usage(reader, [Dimension.MODEL, Dimension.DAY], Selection())

    report = asyncio.run(read())
    whole = list(usage_lines(report, None))
    *rows, note = usage_lines(report, 80)
    assert all(full.startswith(row) and len(row) <= 80 for row, full in zip(rows, whole, strict=True))
    assert "cost $" in rows[0]
    assert note == "Too narrow for: p50 ms, p95 ms, ttft p50, cached, reasoning. --json has everything."


def test_json_is_what_the_admin_side_gives(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, data_dir, "--by", "day,model", "--since", "2026-01-03", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert [(row["day"], row["model"], row["calls"]) for row in told["groups"]] == [("2026-01-03", "a", 1)]
    assert run(monkeypatch, data_dir, "--by", "", "--where", "model = a", "--until", "2026-01-02", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["is_scan"], told["total"]["calls"], told["total"]["cost_usd"]) == (True, 1, 2.5)
    assert run(monkeypatch, data_dir, "--since", "1d", "--json") == 0
    assert json.loads(capfd.readouterr().out)["total"]["calls"] == 0


@pytest.mark.parametrize("arguments", [("--by", "colour"), ("--since", "yesterday"), ("--where", "model =")])
def test_what_cannot_be_asked_is_wrong_usage(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]
) -> None:
    assert run(monkeypatch, data_dir, *arguments) == 2
