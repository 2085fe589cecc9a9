import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from store.trace import Flag, Outcome, Reply, Trace
from store.traces import TraceReader, TraceSummary, TraceWriter
from tracemill.cli import main
from tracemill.terminal_text import many_lines, one_line
from tracemill.trace_text import table_lines, trace_lines

START = datetime(2026, 1, 2, tzinfo=UTC)
HOSTILE = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202eevil\r\nnext"
WHOLE = Trace(
    id=UUID(int=1),
    created_at=START,
    method="POST",
    path="/v1/chat/completions",
    route="default",
    upstream="http://u/v1",
    status=200,
    outcome=Outcome.COMPLETED,
    endpoint="chat.completions",
    requested_model="m-1",
    messages=(json.dumps({"role": "user", "content": HOSTILE}).encode(),),
    parameters=b'{"parallel_tool_calls":true}',
    replies=(Reply(0, b'{"role":"assistant","content":"Hello \xe2\x80\xa8 [bold]you[/bold]"}', "stop"),),
    upstream_id="chatcmpl-1",
    prompt_tokens=3,
)
CUT = replace(
    WHOLE,
    id=UUID(int=2),
    created_at=START + timedelta(seconds=1),
    outcome=Outcome.CLIENT_DISCONNECT,
    requested_model=HOSTILE,
    flags=frozenset({Flag.STREAM_UNFINISHED}),
)
EMBEDDING = Trace(
    id=UUID(int=3),
    created_at=START + timedelta(seconds=2),
    method="POST",
    path="/v1/embeddings",
    route="default",
    upstream="http://u/v1",
    outcome=Outcome.COMPLETED,
)


class Result(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Run]:
    """The command line in this process: arguments in, exit code and output out."""
    umask = os.umask(0o022)

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["tracemill", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsysbinary.readouterr()
        return Result(int(exit_.value.code or 0), out, err.decode())

    yield run
    os.umask(umask)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"

    async def write() -> None:
        async with await TraceWriter.open(folder / "traces.db") as writer:
            await writer.write([WHOLE, CUT, EMBEDDING])

    asyncio.run(write())
    return folder


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


# list and show -------------------------------------------------------------------------------------------------------


def test_list_shows_the_newest_first(run: Run, data_dir: Path) -> None:
    result = run("traces", "list", "--data-dir", data_dir)
    assert result.code == 0
    ids = [line.split()[0] for line in result.out.decode().splitlines()[1:]]
    assert ids == [str(trace.id) for trace in (EMBEDDING, CUT, WHOLE)]


def test_list_as_json_goes_on_by_cursor(run: Run, data_dir: Path) -> None:
    first = run("traces", "list", "--data-dir", data_dir, "--limit", "2", "--json").json
    assert [summary["id"] for summary in first["data"]] == [str(EMBEDDING.id), str(CUT.id)]
    rest = run("traces", "list", "--data-dir", data_dir, "--cursor", first["next_cursor"], "--json").json
    assert [summary["id"] for summary in rest["data"]] == [str(WHOLE.id)]


def test_list_takes_a_filter(run: Run, data_dir: Path) -> None:
    found = run("traces", "list", "--data-dir", data_dir, "--where", "model = m-1", "--json").json["data"]
    assert [summary["id"] for summary in found] == [str(WHOLE.id)]
    assert b"No traces" in run("traces", "list", "--data-dir", data_dir, "--where", "model = none").out


@pytest.mark.parametrize("asked", [str(WHOLE.id), "chatcmpl-1"])
def test_show_prints_one_trace_with_its_messages(run: Run, data_dir: Path, asked: str) -> None:
    result = run("traces", "show", asked, "--data-dir", data_dir)
    assert result.code == 0
    assert "── user" in result.out.decode()
    assert "[bold]you[/bold]" in result.out.decode()


def test_show_as_json_gives_the_whole_trace(run: Run, data_dir: Path) -> None:
    shown = run("traces", "show", str(CUT.id), "--data-dir", data_dir, "--json").json
    assert (shown["id"], shown["outcome"], shown["flags"]) == (str(CUT.id), "client_disconnect", ["stream_unfinished"])
    assert shown["messages"][0]["content"] == HOSTILE


@pytest.mark.parametrize("command", [("list",), ("show", str(CUT.id))])
def test_hostile_text_never_steers_the_terminal(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    text = run("traces", *command, "--data-dir", data_dir).out.decode()
    assert not set(text) & set("\x1b\x07\x9b\r\u202e\u2028")


def test_characters_that_steer_are_shown_as_escapes() -> None:
    assert one_line("a\x1b[0m\n\tb\u202e\ud800") == r"a\u001b[0m\n\tb\u202e\ud800"
    assert many_lines("a\x1b\r\n\tb") == "a\\u001b\\r\n\tb"
    assert one_line("漢字🙂é") == "漢字🙂é"
    assert one_line("abcdef", 4) == "abc…"


def test_an_unknown_id_is_bad_input(run: Run, data_dir: Path) -> None:
    result = run("traces", "show", "nothing", "--data-dir", data_dir)
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith("error: ")
    assert '"nothing"' in result.err
    assert "traces list" in result.err


def test_a_table_leaves_out_what_does_not_fit_and_says_so(data_dir: Path) -> None:
    """Rich cut cells short, ids among them, and dropped whole columns without a word."""

    async def summaries() -> list[TraceSummary]:
        async with await TraceReader.open(data_dir / "traces.db") as reader:
            return (await reader.page()).summaries

    found = asyncio.run(summaries())
    whole = list(table_lines(found, None))
    assert whole[0].split("  ")[0] == "id"
    assert whole[0].split()[-1] == "ms"
    for width in (10, 36, 60, 80, 100):
        *rows, note = table_lines(found, width)
        assert [row.split()[0] for row in rows[1:]] == [str(summary.id) for summary in found]
        assert all(len(row) <= max(width, 36) for row in rows)
        assert all(full.startswith(row) for row, full in zip(rows, whole[:-1] + whole[-1:], strict=True))
        assert "ms" in note
    assert list(table_lines(found, 36))[-1].startswith("Too narrow for: arrived (UTC), outcome, model")


def test_a_message_that_is_no_object_is_shown_as_it_is() -> None:
    """Clients send what they like; `traces show` failed on it."""
    assert '"just text"' in list(trace_lines(replace(WHOLE, messages=(b'"just text"',))))


# export --------------------------------------------------------------------------------------------------------------


def test_export_writes_whole_traces_to_a_private_file(run: Run, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("export", "--data-dir", data_dir, "-o", out)
    assert result.code == 0
    assert [line["metadata"] for line in lines_of(out)] == [{"trace_id": str(WHOLE.id)}]
    assert lines_of(out)[0]["messages"][0]["content"] == HOSTILE
    assert out.stat().st_mode & 0o777 == 0o600
    assert b"1 incomplete; --all adds them" in result.out
    assert b"1 kept as metadata only" in result.out


def test_export_all_adds_incomplete_traces_with_their_outcome(run: Run, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("export", "--data-dir", data_dir, "--all", "--format", "traces", "-o", out, "--json")
    assert result.json == {"lines": 2, "traces": 2, "left_out_incomplete": 0, "left_out_metadata_only": 1}
    assert [line["metadata"].get("outcome") for line in lines_of(out)] == [None, "client_disconnect"]


def test_export_takes_filter_and_format(run: Run, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run("export", "--data-dir", data_dir, "--format", "openai", "--where", "outcome = completed", "-o", out)
    (line,) = lines_of(out)
    assert line["parallel_tool_calls"] is True


def test_export_to_standard_output_is_lines_alone(run: Run, data_dir: Path) -> None:
    result = run("export", "--data-dir", data_dir, "-o", "-")
    assert [json.loads(line)["metadata"]["trace_id"] for line in result.out.splitlines()] == [str(WHOLE.id)]
    assert "Wrote 1 line from 1 trace to" in result.err


def test_export_works_while_a_writer_writes(run: Run, data_dir: Path, tmp_path: Path) -> None:
    holder = sqlite3.connect(data_dir / "traces.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        assert run("export", "--data-dir", data_dir, "-o", tmp_path / "out.jsonl").code == 0
    finally:
        holder.close()
    assert len(lines_of(tmp_path / "out.jsonl")) == 1


def test_an_export_that_fails_leaves_the_older_file(run: Run, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"older\n")
    (data_dir / "traces.db").write_bytes(b"no database" * 100)
    assert run("export", "--data-dir", data_dir, "-o", out).code == 1
    assert out.read_bytes() == b"older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out.jsonl"]


def test_a_reader_that_had_enough_ends_the_export_quietly(data_dir: Path) -> None:
    """`tracemill export -o - | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tracemill.cli", "export", "--data-dir", str(data_dir), "-o", "-"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, b"Traceback" in done.stderr, b"Exception" in done.stderr) == (1, False, False)


@pytest.mark.parametrize("command", [("traces", "list"), ("traces", "list", "--json"), ("export", "-o", "-")])
def test_a_full_standard_output_is_one_clear_line(data_dir: Path, command: tuple[str, ...]) -> None:
    call = [sys.executable, "-m", "tracemill.cli", *command, "--data-dir", str(data_dir)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_export_leaves_nothing_behind(
    data_dir: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = f"""
import os, signal, sys
from store import export
write = export.ExportFile.write
def write_and_be_stopped(file, line):
    write(file, line)
    os.kill(os.getpid(), {number.value})
export.ExportFile.write = write_and_be_stopped
from tracemill.cli import main
main()
"""
    call = [sys.executable, "-c", script, "export", "--data-dir", str(data_dir), "-o", str(out / "out.jsonl")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert list(out.iterdir()) == []


# Bad input -----------------------------------------------------------------------------------------------------------

COMMANDS = [("traces", "list"), ("traces", "show", "x"), ("export", "-o", "-")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_data_directory_is_named(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--data-dir", tmp_path / "nowhere")
    assert (result.code, result.out) == (1, b"")
    assert "nowhere" in result.err
    assert "--data-dir" in result.err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_schema_is_refused_and_left_alone(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    database = sqlite3.connect(data_dir / "traces.db")
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("PRAGMA user_version = 999")
    database.close()
    before = (data_dir / "traces.db").read_bytes()
    result = run(*command, "--data-dir", data_dir)
    assert (result.code, "999" in result.err) == (1, True)
    assert (data_dir / "traces.db").read_bytes() == before


@pytest.mark.parametrize("command", [("traces", "list"), ("export", "-o", "-")])
def test_a_bad_filter_is_a_usage_error(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--data-dir", data_dir, "--where", "bogus = 1")
    assert (result.code, result.out) == (2, b"")
    assert "bogus" in result.err


@pytest.mark.parametrize(
    "command",
    [("export",), ("export", "-o", "-", "--format", "csv"), ("traces", "list", "--limit", "0"), ("traces", "nonsense")],
)
def test_usage_errors_exit_2(run: Run, command: tuple[str, ...]) -> None:
    assert run(*command).code == 2


def test_a_cursor_of_no_page_is_bad_input(run: Run, data_dir: Path) -> None:
    assert run("traces", "list", "--data-dir", data_dir, "--cursor", "junk").code == 1


@pytest.mark.parametrize("name", ["no/out.jsonl", "data", ""])
def test_a_file_that_cannot_be_written_is_named(run: Run, data_dir: Path, tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name) if name else ""
    result = run("export", "--data-dir", data_dir, "-o", path)
    assert result.code == 1
    assert result.err.startswith(f'error: "{path}" cannot be written: ')


@pytest.mark.parametrize(
    "name", ["traces.db", "traces.db-wal", "work.db", "key-salt", "journal/w/00000001.seg", "raw/1.raw"]
)
def test_an_export_never_replaces_a_file_of_the_store(run: Run, data_dir: Path, name: str) -> None:
    path = data_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    result = run("export", "--data-dir", data_dir, "-o", path)
    assert result.code == 1
    assert result.err == f'error: "{path}" cannot be written: it belongs to a data directory; choose another name.\n'
    assert (path.read_bytes() if path.exists() else None) == before
    assert run("export", "--data-dir", data_dir, "-o", data_dir / "out.jsonl").code == 0


def test_the_environment_names_the_data_directory(run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMILL_DATA_DIR", str(data_dir))
    assert len(run("traces", "list", "--json").json["data"]) == 3
