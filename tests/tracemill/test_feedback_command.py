import asyncio
import json
import sys
from pathlib import Path
from uuid import UUID

import pytest

from store.trace import Reply
from store.traces import TraceWriter
from tests.store.traces import make_trace
from tracemill.cli import main

ANSWER = rb'{"role":"assistant","content":"\ud800 \u2028","x":1.0}'
TRACE = make_trace(
    1,
    messages=(b'{"role":"user","content":"a"}',),
    replies=(Reply(0, b'{"role":"assistant","content":"c"}'),),
    upstream_id="chatcmpl-1",
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    async def write() -> None:
        async with await TraceWriter.open(tmp_path / "data" / "traces.db") as writer:
            await writer.write([TRACE])

    asyncio.run(write())
    return tmp_path / "data"


def run(monkeypatch: pytest.MonkeyPatch, data_dir: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tracemill", *arguments, "--data-dir", str(data_dir)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_what_was_said_is_listed_exported_and_shown(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "answer.json").write_bytes(ANSWER)
    trace_id = str(TRACE.id)
    for arguments in (
        ("chatcmpl-1", "--name", "helpful", "--value", "true", "--by", "anna"),
        (trace_id, "--name", "helpful", "--value", "false", "--by", "anna"),
        (trace_id, "--name", "score", "--value", "0.70"),
        (trace_id, "--comment", "too\x1b[2J long"),
        (trace_id, "--demonstration", str(tmp_path / "answer.json"), "--choice", "0"),
        (trace_id, "--name", "score", "--retract"),
    ):
        assert run(monkeypatch, data_dir, "feedback", "add", *arguments) == 0
        assert capfdbinary.readouterr().out == b"Noted.\n"
    assert run(monkeypatch, data_dir, "feedback", "list", trace_id) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "- helpful: true",
        "  helpful: false",
        "- score: 0.70",
        "  comment: too\\u001b[2J long",
        "  demonstration: \\ud800 \\u2028 on reply 0",
        "- score: null",
    ]
    assert run(monkeypatch, data_dir, "feedback", "list", "chatcmpl-1", "--json") == 0
    assert [each["value"] for each in json.loads(capfdbinary.readouterr().out)["data"]][:3] == [True, False, 0.7]
    assert run(monkeypatch, data_dir, "export", "-o", "-") == 0
    exported = capfdbinary.readouterr().out
    assert ANSWER in exported
    said = json.loads(exported)["metadata"]["feedback"]
    assert [each["name"] for each in said] == ["helpful", "comment", "demonstration"]
    assert run(monkeypatch, data_dir, "traces", "show", trace_id) == 0
    assert b"feedback  helpful: false (anna" in capfdbinary.readouterr().out
    assert run(monkeypatch, data_dir, "traces", "show", trace_id, "--json") == 0
    assert len(json.loads(capfdbinary.readouterr().out)["feedback"]) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((str(UUID(int=5)), "--name", "a", "--value", "1"), 1, "no trace, completion or request in"),
        (("x", "--name", "a", "--value", "1"), 1, "no trace, completion or request in"),
        ((str(TRACE.id), "--value", "1"), 1, "name: is missing"),
        ((str(TRACE.id), "--name", "a", "--value", "much"), 2, "expected true, false or a number"),
        ((str(TRACE.id), "--name", "a", "--value", "[1]"), 2, "expected true, false or a number"),
        ((str(TRACE.id), "--name", "a", "--value", "1", "--comment", "b"), 2, "give exactly one of"),
        ((str(TRACE.id), "--demonstration", "none.json"), 1, "none.json: cannot be read"),
        ((str(TRACE.id), "--name", "a", "--value", "1", "--message", "7"), 1, "the request has 1 messages"),
    ],
)
def test_what_cannot_be_said_is_told_and_changes_nothing(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, data_dir, "feedback", "add", *arguments) == code
    assert message in capfd.readouterr().err
    assert run(monkeypatch, data_dir, "feedback", "list", str(TRACE.id)) == 0
    assert capfd.readouterr().out == "Nobody has said anything of this trace.\n"
