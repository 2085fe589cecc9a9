import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.convert import convert
from processing.errors import SourceError
from processing.sources import FORMATS, Intake, from_store, read_lines, read_traces
from store.export import ExportFormat, export_lines
from store.recorded.errors import RejectReason
from store.recorded.message import Json, Message, ToolCall, Turn
from store.trace import Flag, Outcome, Reply, Trace
from store.traces import TraceReader, TraceWriter

SEEDS = Path(__file__).parent / "data" / "seeds"


def user(text: str | None) -> dict[str, Json]:
    return {"role": "user", "content": text}


def assistant(text: str | None, **more: Json) -> dict[str, Json]:
    return {"role": "assistant", "content": text, **more}


def lines(*values: Json) -> list[bytes]:
    return [json.dumps(value).encode() + b"\n" for value in values]


def read(*values: Json, observation_format: str = "openai_messages") -> Intake:
    return read_lines(lines(*values), "traces.jsonl", observation_format)


def is_conserved(intake: Intake) -> bool:
    return intake.records == (len(intake.conversations) + intake.absorbed + intake.duplicates + len(intake.rejected))


def test_the_seeds_banking_lines_are_two_conversations() -> None:
    intake = read_traces(SEEDS / "banking.jsonl")
    assert [[message.role for message in c.messages] for c in intake.conversations] == [
        ["system", "user", "assistant"]
    ] * 2
    assert intake.conversations[1].messages[2].content == (
        "I've transferred $100 from your checking to your savings account."
    )
    assert [c.source for c in intake.conversations] == ["banking.jsonl:1", "banking.jsonl:2"]


def test_the_seeds_weather_line_pairs_the_result_that_names_no_call() -> None:
    (conversation,) = read_traces(SEEDS / "weather.jsonl").conversations
    assert conversation.messages[2].tool_calls == (ToolCall("get_weather", '{"city": "London"}', "call_1"),)
    assert conversation.messages[3] == Message(
        "tool", '{"temperature": 15, "condition": "cloudy"}', tool_call_id="call_1"
    )
    assert conversation.tools is not None
    assert conversation.tools[0]["function"]["name"] == "get_weather"


def test_the_seeds_langfuse_fields_give_a_call_with_its_tools() -> None:
    (conversation,) = read_traces(SEEDS / "langfuse.jsonl", "langfuse").conversations
    assert conversation.messages[-1] == Message(
        "assistant", None, (ToolCall("get_weather", '{"city":"London"}', "call_1"),)
    )
    assert conversation.turns == {2: Turn(trace_id="obs_1")}
    weather = json.loads((SEEDS / "weather.jsonl").read_text())
    assert conversation.tools == weather["tools"]


@pytest.mark.parametrize("name", ["banking", "weather", "langfuse"])
def test_auto_reads_each_seed_as_its_own_format_does(name: str) -> None:
    own = "langfuse" if name == "langfuse" else "openai_messages"
    path = SEEDS / f"{name}.jsonl"
    assert read_traces(path, "auto") == read_traces(path, own)


@pytest.mark.parametrize("order", ["as recorded", "reversed"])
def test_twelve_turns_recorded_call_by_call_are_one_conversation_with_twelve_traces(order: str) -> None:
    history, recorded = [{"role": "system", "content": "bank"}], []
    for turn in range(12):
        history += [user(f"question {turn}"), assistant(f"answer {turn}")]
        recorded.append({"messages": list(history), "metadata": {"trace_id": f"t{turn}", "outcome": "completed"}})
    intake = read(*(recorded if order == "as recorded" else reversed(recorded)))
    (conversation,) = intake.conversations
    assert (intake.records, intake.absorbed, intake.duplicates) == (12, 11, 0)
    assert [turn.trace_id for _, turn in sorted(conversation.turns.items())] == [f"t{turn}" for turn in range(12)]
    assert len(convert([conversation], single_turn=True).examples) == 12


def test_a_client_that_trims_the_echo_and_drops_reasoning_is_still_stitched_with_the_reasoning() -> None:
    first = {"messages": [user("2+2?"), assistant(" 4 ", reasoning_content="2+2")], "metadata": {"trace_id": "a"}}
    second = {"messages": [user("2+2?"), assistant("4"), user("sure?"), assistant("yes")]}
    (conversation,) = read(first, second).conversations
    assert conversation.messages[1].reasoning == "2+2"
    assert conversation.turns[1].trace_id == "a"


def test_a_regenerated_reply_gives_two_conversations_of_one_tree() -> None:
    first, second = read(
        {"messages": [user("joke"), assistant("a")]}, {"messages": [user("joke"), assistant("b")]}
    ).conversations
    assert first.tree == second.tree
    assert first.id != second.id


def test_a_failed_call_is_absorbed_by_its_retry() -> None:
    intake = read(
        {"messages": [user("hi")], "metadata": {"trace_id": "a", "outcome": "upstream_error"}},
        {"messages": [user("hi"), assistant("hello")], "metadata": {"trace_id": "b"}},
    )
    assert (len(intake.conversations), intake.absorbed) == (1, 1)
    assert intake.conversations[0].turns == {1: Turn(trace_id="b")}


def test_equal_lines_are_counted_as_duplicates_and_other_tools_are_not_equal() -> None:
    line = {"messages": [user("hi"), assistant("hello")]}
    tool = {"type": "function", "function": {"name": "f"}}
    intake = read(line, line, {**line, "tools": [tool]})
    assert (len(intake.conversations), intake.duplicates) == (2, 1)


def test_line_separators_inside_strings_do_not_end_a_line() -> None:
    value = {"messages": [user("a\u2028b\u2029c\x85d"), assistant("e")]}
    raw = json.dumps(value, ensure_ascii=False).encode() + b"\r\n\n"
    (conversation,) = read_lines([raw], "f").conversations
    assert conversation.messages[0].content == "a\u2028b\u2029c\x85d"


def test_a_file_is_split_at_newline_bytes_only(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    text = json.dumps({"messages": [user("a\u2028b"), assistant("e")]}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n" + text.replace("b", "c").encode())
    assert [c.messages[0].content for c in read_traces(path).conversations] == ["a\u2028b", "a\u2028c"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"messages": [', RejectReason.NOT_JSON),
        (b'{"n": ' + b"9" * 5000 + b"}", RejectReason.NOT_JSON),
        (b'{"messages": "\xff"}', RejectReason.NOT_UTF8),
        (b"[1]", RejectReason.NOT_OBJECT),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", RejectReason.TOO_DEEP),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", RejectReason.TOO_DEEP),
        (b'{"prompt": "x"}', RejectReason.NO_MESSAGES),
        (b'{"messages": []}', RejectReason.NO_MESSAGES),
        (b'{"messages": [{"role": "bot"}]}', RejectReason.BAD_MESSAGE),
        (b'{"messages": [{"role": "user", "content": "x"}], "tools": {}}', RejectReason.BAD_TOOLS),
    ],
)
def test_a_bad_line_is_kept_with_its_number_and_reason_and_stops_nothing(raw: bytes, reason: Json) -> None:
    good = lines({"messages": [user("hi"), assistant("hello")]})
    intake = read_lines([raw + b"\n", *good], "traces.jsonl")
    (rejected,) = intake.rejected
    assert (rejected.source, rejected.line, rejected.reason, rejected.raw) == ("traces.jsonl", 1, reason, raw)
    assert len(intake.conversations) == 1
    assert intake.reasons == {str(reason): 1}


def test_strict_raises_at_the_first_bad_line_and_says_where() -> None:
    with pytest.raises(SourceError, match=r"^traces\.jsonl:2: message 0: role is 'bot'; allowed: system, developer"):
        read_lines([*lines({"messages": [user("a")]}, {"messages": [{"role": "bot"}]})], "traces.jsonl", strict=True)


def test_calls_of_openpipe_and_of_opentelemetry_are_conversations() -> None:
    openpipe = {"input": {"messages": [user("hi")]}, "output": {"choices": [{"message": assistant("hello")}]}}
    parts = [{"type": "text", "content": "hi"}]
    span = {"gen_ai.input.messages": [{"role": "user", "parts": parts}], "gen_ai.output.messages": "hello"}
    for value, observation_format in ((openpipe, "openpipe"), (span, "otel_genai")):
        (conversation,) = read(value, observation_format=observation_format).conversations
        assert [message.content for message in conversation.messages] == ["hi", "hello"]


def test_an_unknown_format_and_a_missing_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='observation_format is "langfuze"; expected one of: openai_messages'):
        read_lines([], "f", "langfuze")
    with pytest.raises(SourceError, match="No such file"):
        read_traces(tmp_path / "none.jsonl")


def test_unstructured_lines_hold_the_messages_as_a_string() -> None:
    context = json.dumps([user("hi"), assistant("hello")])
    intake = read({"context": context}, {"context": "no json"}, observation_format="unstructured_with_openai_messages")
    assert [message.content for message in intake.conversations[0].messages] == ["hi", "hello"]
    assert intake.reasons == {"bad_context": 1}


def test_images_are_kept_as_parts() -> None:
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    intake = read({"messages": [user(parts), assistant("a cat")]}, observation_format="openai_messages_with_images")
    assert intake.conversations[0].messages[0].content == parts


def test_infinity_in_a_langfuse_record_does_not_cost_the_record() -> None:
    raw = b'{"id": "x", "input": "hi", "output": "hello", "metadata": {"max_tokens": Infinity, "n": 1e999}}'
    (conversation,) = read_lines([raw], "f", "langfuse").conversations
    assert conversation.metadata == {"max_tokens": "Infinity", "n": "1e999"}


_role = st.sampled_from(["system", "user", "assistant", "tool", "bot"])
_message = st.fixed_dictionaries(
    {"role": _role, "content": st.sampled_from(["a", "b", "", None, 1])},
    optional={"tool_calls": st.just([{"id": "c", "function": {"name": "f", "arguments": "{}"}}])},
)
_any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_observation = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=2) | st.none(),
        "type": st.sampled_from(["GENERATION", "SPAN", None]),
        "level": st.sampled_from(["ERROR", "DEFAULT"]),
        "input": st.lists(_message, max_size=3) | st.fixed_dictionaries({"messages": st.lists(_message)}) | _any,
        "output": _message
        | st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"message": _message | _any}))})
        | st.lists(
            st.fixed_dictionaries({"toolCallId": st.text(max_size=2), "toolName": st.text(max_size=2), "input": _any})
        )
        | _any,
        "metadata": _any | st.fixed_dictionaries({"tools": _any}),
        "context": _any,
        "messages": st.lists(_message, max_size=4) | _any,
        "tools": _any,
        "observations": _any,
    },
)
_line = st.one_of(st.binary(max_size=20), (_observation | _any).map(lambda value: json.dumps(value).encode()))


@settings(max_examples=300)
@given(
    st.lists(_line, max_size=6),
    st.sampled_from(FORMATS),
)
def test_whatever_the_lines_hold_every_record_is_accounted_for(raw: bytes, observation_format: str) -> None:
    intake = read_lines([line.replace(b"\n", b" ") for line in raw], "f", observation_format)
    assert is_conserved(intake)
    assert intake.records >= sum(1 for line in raw if line.replace(b"\n", b" ").removeprefix(b"\xef\xbb\xbf").strip())
    converted = convert(intake.conversations, single_turn=True)
    assert {example.conversation_id for example in converted.examples}.isdisjoint(converted.without_example)
    json.dumps([c.metadata for c in intake.conversations], allow_nan=False)


def stored(number: int, messages: list[Json], replies: tuple[Reply, ...], **more: Json) -> Trace:
    texts = tuple(json.dumps(message, separators=(",", ":")).encode() for message in messages)
    fields = {"endpoint": "chat.completions", "outcome": Outcome.COMPLETED, "served_model": "m-1", **more}
    return Trace(
        id=UUID(int=number),
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        method="POST",
        path="/v1/chat/completions",
        route="default",
        upstream="http://up/v1",
        messages=texts,
        replies=replies,
        **fields,
    )


def reply(text: str, index: int = 0, finish_reason: str | None = "stop") -> Reply:
    return Reply(index, json.dumps(assistant(text), separators=(",", ":")).encode(), finish_reason)


async def read_stored(path: Path, traces: list[Trace]) -> Intake:
    async with await TraceWriter.open(path) as writer:
        await writer.write(traces, [], [])
    async with await TraceReader.open(path) as reader:
        return await from_store(reader)


async def test_stored_calls_of_one_chat_are_one_conversation_with_model_and_finish_reason(tmp_path: Path) -> None:
    first = [user("a")]
    second = [*first, assistant("b"), user("c")]
    intake = await read_stored(
        tmp_path / "traces.db",
        [stored(1, first, (reply("b"),)), stored(2, second, (reply("d", finish_reason="length"),))],
    )
    (conversation,) = intake.conversations
    assert conversation.turns == {
        1: Turn(str(UUID(int=1)), "m-1", "stop", "completed"),
        3: Turn(str(UUID(int=2)), "m-1", "length", "completed"),
    }
    assert (intake.records, intake.absorbed) == (2, 1)


@pytest.mark.parametrize("endpoint", ["responses", "messages"])
async def test_stored_calls_of_other_dialects_are_read_as_chats(tmp_path: Path, endpoint: str) -> None:
    told = {**assistant("b"), "verbatim": [{"type": "text", "text": "b"}]}
    replies = (Reply(0, json.dumps(told, separators=(",", ":")).encode(), "end_turn"),)
    intake = await read_stored(tmp_path / "traces.db", [stored(1, [user("a")], replies, endpoint=endpoint)])
    (conversation,) = intake.conversations
    assert [message.content for message in conversation.messages] == ["a", "b"]
    assert conversation.messages[-1].extra == {}


async def test_what_the_store_holds_besides_whole_chats_is_accounted_for(tmp_path: Path) -> None:
    intake = await read_stored(
        tmp_path / "traces.db",
        [
            stored(1, [user("two")], (reply("x"), reply("y", 1))),
            stored(2, [], (), endpoint=None),
            stored(5, [user("Once")], (reply(" upon"),), endpoint="completions"),
            stored(3, [user("fails")], (), outcome=Outcome.UPSTREAM_ERROR, status=500),
            stored(4, [user("cut")], (reply("half", finish_reason=None),), flags=frozenset({Flag.RESPONSE_TRUNCATED})),
        ],
    )
    assert is_conserved(intake)
    assert intake.reasons == {"not_chat": 2}
    assert [c.messages[-1].content for c in intake.conversations] == ["x", "y", "fails", "half"]
    converted = convert(intake.conversations, single_turn=True)
    assert [example.messages[-1].content for example in converted.examples] == ["x", "y"]
    assert converted.reasons == {"incomplete": 1, "no_assistant_turn": 1}


async def test_the_store_and_its_export_give_the_same_conversations(tmp_path: Path) -> None:
    traces = [
        stored(1, [user("a")], (reply("b"),), tools=b'[{"type":"function","function":{"name":"f"}}]'),
        stored(2, [user("a\u2028")], (reply("half"),), flags=frozenset({Flag.STREAM_UNFINISHED})),
    ]
    direct = await read_stored(tmp_path / "traces.db", traces)
    exported = read_lines((line for trace in traces for line in export_lines(trace, ExportFormat.TRACES)), "f")
    assert [c.id for c in direct.conversations] == [c.id for c in exported.conversations]
    assert [c.turns[1].outcome for c in direct.conversations] == ["completed", "incomplete"]
    assert [c.turns[1].outcome for c in exported.conversations] == [None, "incomplete"]
