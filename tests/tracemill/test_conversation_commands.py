"""`tracemill conversations`: for people and for programs."""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path

import pytest

from store.traces import TraceWriter
from tests.store.test_conversation_reader import CALLS
from tracemill.cli import main


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    async def store() -> None:
        async with await TraceWriter.open(tmp_path / "traces.db") as writer:
            await writer.write(CALLS)

    asyncio.run(store())
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["tracemill", "conversations", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    told = capfdbinary.readouterr()
    if left.value.code:
        return told.err.decode()
    return told.out.decode()


def test_a_list_names_each_conversation_on_a_line(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir).splitlines()
    assert len(lines) == 3
    assert "2 calls, 1 turn, 2 leaves" in lines[0]
    assert lines[0].endswith("session s")
    assert "5 calls, 3 turns, 3 leaves  m, n, no model" in lines[1]
    selected = run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir, "--where", "requested_model = n")
    assert selected.splitlines() == [lines[1]]
    assert "No conversations with" in run(
        monkeypatch, capfdbinary, "list", "--data-dir", data_dir, "--where", "status = 9"
    )


def test_a_conversation_is_shown_as_a_tree(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    found = json.loads(run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir, "--json"))
    name = found["data"][1]["id"]
    text = run(monkeypatch, capfdbinary, "show", name, "--data-dir", data_dir)
    tree = text.split("\n\n")[1].splitlines()
    assert [(len(line) - len(line.lstrip()), int(line.split()[0][-4:], 16)) for line in tree] == [
        (0, 1),
        (2, 3),
        (2, 4),
        (2, 5),
        (0, 2),
    ]
    assert "20 in, 1 out" in text
    assert tree[3].endswith("turn 3  reply 1, leaf")
    as_json = json.loads(run(monkeypatch, capfdbinary, "show", name, "--data-dir", data_dir, "--json"))
    assert [member["turn"] for member in as_json["members"]] == [1, 1, 2, 2, 3]
    assert as_json["id"] == name


def test_an_unknown_id_is_told_with_the_way_to_find_one(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    told = run(monkeypatch, capfdbinary, "show", "12", "--data-dir", data_dir)
    assert "tracemill conversations list" in told


def test_all_calls_are_stitched_again_by_a_command(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    listed = run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir)
    with sqlite3.connect(data_dir / "traces.db") as database:
        database.execute("UPDATE conversation_traces SET conversation = 1")
    assert run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir) != listed
    assert run(monkeypatch, capfdbinary, "rebuild", "--data-dir", data_dir) == "Stitched 8 calls again.\n"
    assert run(monkeypatch, capfdbinary, "list", "--data-dir", data_dir) == listed
