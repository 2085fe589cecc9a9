"""Finding traces on the command line."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from store.search_index import SearchChore
from store.traces import TraceWriter
from tests.tracemill.test_trace_commands import CUT, EMBEDDING, WHOLE
from tracemill.cli import app

SLOW = replace(CUT, duration_ms=900.5, messages=(b'{"role":"user","content":"A \\u001b[2J refund, please"}',))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    async def write() -> None:
        async with await TraceWriter.open(tmp_path / "traces.db") as writer:
            await writer.write([replace(WHOLE, duration_ms=1.0), SLOW, EMBEDDING])
            chore = SearchChore()
            while (await writer.perform(chore)).has_more:
                pass
            await writer.write(
                [replace(WHOLE, id=CUT.id.__class__(int=9), messages=(b'{"role":"user","content":"x"}',))]
            )

    asyncio.run(write())
    return tmp_path


def run(data_dir: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["traces", *arguments, "--data-dir", str(data_dir)])
    assert result.exit_code == 0, result.output
    return result.output


def test_list_takes_an_order(data_dir: Path) -> None:
    found = json.loads(run(data_dir, "list", "--order", "-duration_ms", "--json"))["data"]
    assert [each["duration_ms"] for each in found] == [900.5, 1.0]


def test_a_search_shows_where_the_words_are_and_what_is_not_indexed_yet(data_dir: Path) -> None:
    shown = run(data_dir, "list", "--where", "text ~ refund")
    assert str(SLOW.id) in shown
    assert "refund, please" in shown
    assert "\x1b" not in shown
    assert "not in the index for search yet" in shown
    told = json.loads(run(data_dir, "list", "--where", "text ~ refund", "--json").splitlines()[0])
    assert list(told["snippets"]) == [str(SLOW.id)]
    assert told["search_behind"] > 0


def test_a_trace_is_shown_by_the_beginning_of_its_id(data_dir: Path) -> None:
    assert str(SLOW.id) in run(data_dir, "show", "00000000-0000-0000-0000-000000000002")
    result = CliRunner().invoke(app, ["traces", "show", "00000000", "--data-dir", str(data_dir)])
    assert result.exit_code == 1
    assert "several trace ids begin with" in result.output
    assert str(EMBEDDING.id) in run(data_dir, "show", str(EMBEDDING.id)[:36])
