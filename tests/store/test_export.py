import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from store.export import ExportFile, ExportFormat, export, export_lines
from store.feedback import Feedback
from store.trace import Flag, Outcome, Reply, Trace

WHOLE = Trace(
    id=UUID(int=7),
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    method="POST",
    path="/v1/chat/completions",
    route="default",
    upstream="http://u/v1",
    outcome=Outcome.COMPLETED,
    endpoint="chat.completions",
    messages=(b'{"role":"system","content":"Be brief."}', b'{"role":"user","content":"Hi"}'),
    tools=b'[{"type":"function","function":{"name":"f"}}]',
    response_format=b'{"type":"json_object"}',
    parameters=b'{"model":"m","parallel_tool_calls":false,"temperature":1.0}',
    replies=(Reply(0, b'{"role":"assistant","content":"Hello"}', "stop"),),
)


def only_line(trace: Trace, export_format: ExportFormat = ExportFormat.TRACES) -> bytes:
    (line,) = export_lines(trace, export_format)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return line


async def stream(*traces: Trace) -> AsyncIterator[tuple[Trace, Sequence[Feedback]]]:
    for trace in traces:
        yield trace, ()


async def exported(*traces: Trace, include_incomplete: bool) -> list[str]:
    lines = export(stream(*traces), ExportFormat.TRACES, include_incomplete=include_incomplete)
    return [json.loads(line)["metadata"]["trace_id"] async for line in lines]


def test_a_line_is_the_conversation_with_its_reply() -> None:
    assert json.loads(only_line(WHOLE)) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "metadata": {"trace_id": "00000000-0000-0000-0000-000000000007"},
    }


def test_the_openai_format_adds_parallel_tool_calls_as_recorded() -> None:
    assert json.loads(only_line(WHOLE, ExportFormat.OPENAI))["parallel_tool_calls"] is False
    bare = replace(WHOLE, parameters=b'{"x":"parallel_tool_calls","parallel_tool_calls":null}')
    assert "parallel_tool_calls" not in json.loads(only_line(bare, ExportFormat.OPENAI))


def test_what_was_not_asked_for_is_left_out() -> None:
    line = json.loads(only_line(replace(WHOLE, tools=None, response_format=None, parameters=b"{}")))
    assert list(line) == ["messages", "metadata"]


def test_legacy_functions_keep_their_name_and_shape() -> None:
    legacy = replace(WHOLE, tools=None, parameters=b'{"functions":[{"name":"f"}]}')
    line = json.loads(only_line(legacy))
    assert line["functions"] == [{"name": "f"}]
    assert "tools" not in line


def test_texts_come_out_as_they_came_in() -> None:
    message = rb'{"role":"user","n":123456789012345678901234567890,"f":1E5,"content":"\u0041 \ud800 \u0000","a":-0.0}'
    reply = rb'{"content":"\u00e9","role":"assistant","x":1.10}'
    line = only_line(replace(WHOLE, messages=(message,), replies=(Reply(0, reply),)))
    assert message in line
    assert reply in line


def test_line_separators_are_escaped() -> None:
    """`str.splitlines` and some editors break lines at them."""
    line = only_line(replace(WHOLE, messages=('{"role":"user","content":"a\u2028b\u2029c"}'.encode(),)))
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["messages"][0]["content"] == "a\u2028b\u2029c"


def test_each_choice_is_a_line_of_its_own() -> None:
    replies = tuple(Reply(index, b'{"role":"assistant","content":"%d"}' % index, "stop") for index in (0, 1))
    lines = [json.loads(line) for line in export_lines(replace(WHOLE, replies=replies), ExportFormat.TRACES)]
    assert [(line["metadata"]["choice"], line["messages"][-1]["content"]) for line in lines] == [(0, "0"), (1, "1")]


@pytest.mark.parametrize("reply", [b'{"content":"x"}', b'{"role":null,"content":"x"}', b'{"role":"","content":"x"}'])
def test_a_reply_without_a_role_is_the_assistants(reply: bytes) -> None:
    last = json.loads(only_line(replace(WHOLE, replies=(Reply(0, reply),))))["messages"][-1]
    assert last == {"role": "assistant", "content": "x"}


async def test_incomplete_traces_come_only_when_asked_for() -> None:
    cut = replace(WHOLE, id=UUID(int=8), outcome=Outcome.CLIENT_DISCONNECT, replies=())
    metadata_only = replace(WHOLE, id=UUID(int=9), endpoint=None, messages=(), replies=())
    traces = (WHOLE, cut, metadata_only)
    assert await exported(*traces, include_incomplete=False) == [str(UUID(int=7))]
    assert await exported(*traces, include_incomplete=True) == [str(UUID(int=7)), str(UUID(int=8))]


def test_an_incomplete_trace_says_how_it_ended_and_what_is_missing() -> None:
    cut = replace(WHOLE, outcome=Outcome.UPSTREAM_ABORTED, flags=frozenset({Flag.STREAM_UNFINISHED, Flag.NO_USAGE}))
    metadata = json.loads(only_line(cut))["metadata"]
    assert metadata["outcome"] == "upstream_aborted"
    assert metadata["flags"] == ["no_usage", "stream_unfinished"]


def test_a_call_without_a_reply_ends_with_the_request() -> None:
    line = json.loads(only_line(replace(WHOLE, outcome=Outcome.UPSTREAM_ERROR, replies=())))
    assert [message["role"] for message in line["messages"]] == ["system", "user"]


def test_an_export_file_appears_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ExportFile(path) as file:
        file.write(b"one\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_older_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"older\n")
    file = ExportFile(path)
    file.__enter__()
    file.write(b"newer\n")
    file.__exit__(KeyError, KeyError("half way"), None)
    assert path.read_bytes() == b"older\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), ExportFile(tmp_path / "no" / "out.jsonl"):
        pass


def test_what_is_no_file_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    """`-o /dev/null` put a file in the place of the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with ExportFile(pipe) as file:
            file.write(b"one\n")
        assert os.read(reading, 100) == b"one\n"
    finally:
        os.close(reading)
    assert pipe.is_fifo()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "latest.jsonl"
    link.symlink_to(tmp_path / "real" / "out.jsonl")
    with ExportFile(link) as file:
        file.write(b"one\n")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.jsonl").read_bytes() == b"one\n"


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_folder_is_refused_before_anything_is_read(path: str) -> None:
    with pytest.raises(IsADirectoryError), ExportFile(Path(path)):
        pass


def test_the_longest_file_name_will_do(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with ExportFile(path) as file:
        file.write(b"one\n")
    assert path.read_bytes() == b"one\n"


def test_a_training_file_holds_no_field_of_another_dialect() -> None:
    """What a message was before it was put into chat form is kept with the trace, and no trainer knows it."""
    message = b'{"role":"assistant","content":"Hi","verbatim":[{"type":"text","text":"Hi"}]}'
    trace = replace(WHOLE, messages=(b'{"role":"user","content":"Hi"}', message), replies=(Reply(0, message),))
    (line,) = export_lines(trace, ExportFormat.OPENAI)
    assert [sorted(each) for each in json.loads(line)["messages"]] == [["content", "role"]] * 3
    (line,) = export_lines(trace, ExportFormat.TRACES)
    assert [("verbatim" in each) for each in json.loads(line)["messages"]] == [False, True, True]
