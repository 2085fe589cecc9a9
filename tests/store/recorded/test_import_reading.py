import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.export import ExportFormat, export_lines
from store.recorded.errors import RejectReason
from store.recorded.import_reading import ImportReader, Rejected
from store.recorded.message import Json
from store.recorded.source_format import SourceFormat
from store.trace import ORIGIN_FLAGS, Flag, JsonText, Outcome, Reply, Trace
from store.trace_code import decode_traces, encode_traces
from tests.store.traces import ODD_TEXT, make_trace

SEEDS = Path(__file__).parents[2] / "processing" / "data" / "seeds"
TRACE_ID = UUID("019b76da-a800-7000-8000-000000000001")
ASKED = {"role": "user", "content": "hi"}
ANSWERED = {"role": "assistant", "content": "yo"}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def read(*lines: bytes | Json, source_format: SourceFormat | None = None) -> tuple[list[Trace], list[Rejected]]:
    reader = ImportReader(source_format, imported_at=NOW)
    data = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    found = list(reader.read([data], "f.jsonl"))
    traces = [each for each in found if isinstance(each, Trace)]
    (counts,) = reader.files
    assert counts.lines == data.count(b"\n")
    assert counts.traces == len(traces)
    assert counts.records == counts.traces + counts.joined + sum(counts.rejected.values())
    return traces, [each for each in found if isinstance(each, Rejected)]


def read_one(line: bytes | Json, source_format: SourceFormat | None = None) -> Trace:
    (trace,), rejected = read(line, source_format=source_format)
    assert not rejected
    return trace


def compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_a_bare_conversation_tells_nothing_but_what_was_said() -> None:
    trace = read_one({"messages": [{"role": "system", "content": "s"}, ASKED, ANSWERED]})
    assert trace.messages == (compact({"role": "system", "content": "s"}), compact(ASKED))
    assert trace.replies == (Reply(0, compact(ANSWERED)),)
    assert (trace.route, trace.upstream, trace.endpoint) == ("import", "openai_messages", "chat.completions")
    nothing = (trace.status, trace.ttft_ms, trace.duration_ms, trace.usage, trace.requested_model, trace.served_model)
    assert nothing == (None,) * 6
    assert trace.flags == {*ORIGIN_FLAGS, Flag.NO_USAGE, Flag.NO_FINISH_REASON}
    assert (trace.outcome, trace.is_complete) == (Outcome.COMPLETED, True)
    assert (trace.created_at - NOW).microseconds == 1


def test_a_transcript_that_ends_in_a_tools_result_is_a_call_without_a_reply() -> None:
    trace = read_one((SEEDS / "weather.jsonl").read_bytes().rstrip())
    assert [json.loads(message)["role"] for message in trace.messages] == ["system", "user", "assistant", "tool"]
    assert "tool_call_id" not in json.loads(trace.messages[3])
    assert (trace.replies, trace.is_complete) == ((), False)


def test_text_in_chat_form_stays_letter_by_letter() -> None:
    message = (
        b'{"role":"user","content":"\\u2028\\ud800\\u0000 \xe2\x80\xa8 \\/","n":1e400,"m":12345678901234567890123.0}'
    )
    tools = b'[{"function":{"parameters":{"maximum":1E5},"name":"f"},"type":"function"}]'
    line = b'{ "tools": ' + tools + b', "messages": [' + message + b', {"role": "assistant", "content": "yo"}]}'
    trace = read_one(line)
    assert (trace.messages, trace.tools) == ((message,), tools)


def test_messages_in_other_forms_are_brought_into_chat_form_each_for_itself() -> None:
    foreign = {"role": "assistant", "toolCalls": [{"id": "c", "name": "f", "arguments": {"a": 1}}]}
    trace = read_one({"messages": [ASKED, foreign, {"role": "tool", "toolCallId": "c", "content": {"b": 2}}, ANSWERED]})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert [json.loads(message) for message in trace.messages] == [
        ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"b":2}', "tool_call_id": "c"},
    ]
    assert trace.messages[0] == compact(ASKED)


def test_what_stands_beside_the_messages_is_kept() -> None:
    trace = read_one(
        b'{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}],"temperature":0.10,'
        b'"functions":[{"name":"f"}],"response_format":{"type":"json_object"},"model":"m","user":"u",'
        b'"metadata":{"finish_reason":"stop","session":"s","created_at":"2026-01-01T00:00:00Z","more":[1.0]}}'
    )
    assert trace.parameters == b'{"temperature":0.10,"functions":[{"name":"f"}]}'
    assert trace.response_format == b'{"type":"json_object"}'
    assert (trace.requested_model, trace.user, trace.session, trace.tools) == ("m", "u", "s", None)
    assert trace.metadata is not None
    assert trace.metadata.endswith(b'"more":[1.0]}')
    assert (trace.replies[0].finish_reason, trace.created_at) == ("stop", datetime(2026, 1, 1, tzinfo=UTC))
    assert trace.flags == {Flag.IMPORTED, Flag.NO_USAGE, Flag.OUTCOME_UNTOLD}


def test_an_observation_of_langfuse_becomes_a_trace_with_all_it_tells() -> None:
    trace = read_one(
        {
            "id": "o1",
            "traceId": "t1",
            "type": "GENERATION",
            "startTime": "2026-01-01T00:00:00.000Z",
            "completionStartTime": "2026-01-01T00:00:00.250Z",
            "endTime": "2026-01-01T00:00:01.500Z",
            "model": "m",
            "modelParameters": {"temperature": 0.2},
            "sessionId": "s",
            "userId": "u",
            "tags": ["a", "b"],
            "input": [ASKED],
            "output": ANSWERED,
            "usageDetails": {"input": 3, "output": 4},
            "metadata": {"env": "prod"},
        }
    )
    assert (trace.requested_model, trace.session, trace.user, trace.tags) == ("m", "s", "u", {"a": "", "b": ""})
    assert (trace.ttft_ms, trace.duration_ms) == (250.0, 1500.0)
    assert (trace.prompt_tokens, trace.completion_tokens, trace.usage) == (3, 4, b'{"input":3,"output":4}')
    assert json.loads(trace.metadata or b"") == {"env": "prod", "source": {"id": "o1", "trace_id": "t1"}}
    assert trace.flags == {Flag.IMPORTED, Flag.NO_FINISH_REASON}
    assert trace.id.int >> 80 == 1767225600000


def test_a_failed_observation_is_a_failed_call() -> None:
    trace = read_one({"id": "o", "level": "ERROR", "statusMessage": "429", "input": [ASKED], "startTime": 1767225600})
    assert (trace.outcome, trace.error, trace.is_complete) == (Outcome.UPSTREAM_ERROR, "429", False)


def test_a_completion_with_several_choices_is_one_trace() -> None:
    choices = [{"index": n, "message": {**ANSWERED, "content": str(n)}, "finish_reason": "stop"} for n in (0, 1)]
    trace = read_one({"input": {"messages": [ASKED]}, "output": {"choices": choices}, "tags": {}})
    assert [(reply.index, json.loads(reply.message)["content"]) for reply in trace.replies] == [(0, "0"), (1, "1")]


def test_reading_again_gives_the_same_ids_and_other_calls_give_others() -> None:
    line = {"messages": [ASKED, ANSWERED]}
    ids = [read_one(value).id for value in (line, line, {"messages": [ASKED, {**ANSWERED, "content": "no"}]})]
    assert ids[0] == ids[1] != ids[2]
    assert {id_.version for id_ in ids} == {8}
    assert str(ids[0]) == "00000000-0000-861b-8b44-97acd3b5c854"


def test_one_id_given_to_two_calls_by_their_source_does_not_make_them_one() -> None:
    first, second = ({"id": "1", "input": [ASKED], "output": text} for text in ("a", "b"))
    assert read_one(first).id != read_one(second).id


def test_calls_that_say_the_same_under_two_ids_are_two() -> None:
    asked = {"input": {"messages": [ASKED]}, "output": ANSWERED, "tags": {}}
    first, second = (read_one({**asked, "id": id_}, SourceFormat.OPENPIPE) for id_ in ("1", "2"))
    assert first.id != second.id


def test_tags_of_the_importer_are_no_part_of_the_id() -> None:
    data = compact({"messages": [ASKED, ANSWERED]})
    (plain,) = ImportReader().read([data], "f")
    (tagged,) = ImportReader(tags={"run": "1"}).read([data], "f")
    assert isinstance(plain, Trace)
    assert isinstance(tagged, Trace)
    assert (plain.id, tagged.tags) == (tagged.id, {"run": "1"})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", RejectReason.NOT_JSON),
        (b'{"messages": "\xff"}', RejectReason.NOT_UTF8),
        (b'[{"messages": []}]', RejectReason.NOT_OBJECT),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", RejectReason.TOO_DEEP),
        (b"{}", RejectReason.NO_MESSAGES),
        (b'{"messages":[{"role":"bot","content":"x"}]}', RejectReason.BAD_MESSAGE),
        (b'{"messages":[{"role":"user","content":"x"}],"tools":{}}', RejectReason.BAD_TOOLS),
        (b'{"messages":[{"role":"user","content":"x"}],"response_format":"json"}', RejectReason.BAD_RESPONSE_FORMAT),
        (b'{"type":"SPAN","input":"x"}', RejectReason.NOT_GENERATION),
        (b'{"input":null,"output":null}', RejectReason.NO_INPUT_OUTPUT),
        (b'{"context":"x"}', RejectReason.BAD_CONTEXT),
        (b'{"resourceSpans":[]}', RejectReason.NOT_GENERATION),
    ],
)
def test_a_bad_line_is_set_aside_whole_with_number_and_reason(raw: bytes, reason: RejectReason) -> None:
    traces, (rejected,) = read({"messages": [ASKED, ANSWERED]}, b"", raw)
    assert len(traces) == 1
    assert (rejected.source, rejected.line, rejected.reason, rejected.text) == ("f.jsonl", 3, reason, raw)
    assert json.loads(rejected.to_json())["reason"] == reason.value


def test_of_a_line_with_several_records_the_bad_one_alone_is_set_aside() -> None:
    good = {"id": "a", "input": [ASKED], "output": ANSWERED}
    traces, (rejected,) = read({"trace": {"sessionId": "s"}, "observations": [good, {"type": "SPAN"}]})
    assert [trace.session for trace in traces] == ["s"]
    assert json.loads(rejected.text) == {"sessionId": "s", "type": "SPAN"}


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    trace = read_one(b'{"messages":[],"messages":[{"role":"user","content":"a","content":"b"}]}')
    assert trace.messages == (b'{"role":"user","content":"a","content":"b"}',)


def test_numbers_that_json_does_not_have_become_text_and_cost_nothing() -> None:
    trace = read_one(b'{"messages":[{"role":"user","content":"x"}],"top_p":NaN,"max_tokens":Infinity}')
    assert json.loads(trace.parameters) == {"top_p": "NaN", "max_tokens": "Infinity"}


def test_a_format_that_was_asked_for_is_not_guessed() -> None:
    _, (rejected,) = read({"messages": [ASKED]}, source_format=SourceFormat.TRACES)
    assert rejected.reason is RejectReason.NOT_OUR_EXPORT
    _, (rejected,) = read({"messages": [ASKED]}, source_format=SourceFormat.LANGFUSE)
    assert rejected.reason is RejectReason.NO_INPUT_OUTPUT


def test_the_formats_of_a_mixed_file_are_told_line_by_line() -> None:
    reader = ImportReader()
    lines = [
        {"messages": [ASKED]},
        {"messages": [ASKED], "metadata": {"trace_id": str(TRACE_ID)}},
        {"id": "1", "input": "x"},
        {"input": {"messages": [ASKED]}, "tags": {}},
        {"gen_ai.input.messages": [ASKED]},
        {"context": "[]"},
    ]
    list(reader.read([b"\n".join(map(compact, lines))], "f"))
    formats = [SourceFormat.OPENAI_MESSAGES, SourceFormat.TRACES, SourceFormat.LANGFUSE, SourceFormat.OPENPIPE]
    expected = {each.value: 1 for each in (*formats, SourceFormat.OTEL_GENAI, SourceFormat.UNSTRUCTURED)}
    assert reader.files[0].formats == expected


def test_compressed_files_are_read_as_others_are() -> None:
    lines = b"".join(compact({"messages": [ASKED, {**ANSWERED, "content": str(n)}]}) + b"\n" for n in range(50))
    plain = list(ImportReader(imported_at=NOW).read([lines], "f"))
    assert list(ImportReader(imported_at=NOW).read([gzip.compress(lines)], "f.gz")) == plain


MESSAGE = st.builds(
    lambda role, content: compact({"role": role, "content": content}), ODD_TEXT, ODD_TEXT | st.none() | st.integers()
)
OWN_TRACES = st.builds(
    lambda messages, replies, tools, response_format, parameters, flags, outcome: make_trace(
        1,
        id=TRACE_ID,
        messages=tuple(messages),
        replies=tuple(Reply(index, message) for index, message in enumerate(replies)),
        tools=tools,
        response_format=response_format,
        parameters=parameters,
        flags=flags,
        outcome=outcome,
    ),
    st.lists(MESSAGE, min_size=1, max_size=3),
    st.lists(ODD_TEXT.map(lambda text: compact({"role": "assistant", "content": text})), min_size=1, max_size=3),
    st.sampled_from([None, b'[{"type":"custom","custom":{"name":"x"}}]', b'[{"function":{"name":"f"}}]', b"[]"]),
    st.sampled_from([None, b'{"type":"json_object"}', b'{"type":"json_schema","json_schema":{"maximum":1E5}}']),
    st.sampled_from([b"{}", b'{"functions":[{"name":"f"}]}', b'{"parallel_tool_calls":false}']),
    st.frozensets(st.sampled_from([flag for flag in Flag if flag not in ORIGIN_FLAGS]), max_size=2),
    st.sampled_from(Outcome),
)


@given(OWN_TRACES, st.sampled_from(ExportFormat))
def test_what_our_export_wrote_comes_back_the_same(trace: Trace, export_format: ExportFormat) -> None:
    lines = export_lines(trace, export_format)
    (again,), _ = read(*[line.rstrip(b"\n") for line in lines])
    assert again.id == trace.id
    assert export_lines(again, export_format) == lines
    assert again.is_complete == trace.is_complete
    assert again.created_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_our_own_export_of_a_reply_without_flags_tells_of_a_whole_trace() -> None:
    trace = read_one({"messages": [ASKED, ANSWERED], "metadata": {"trace_id": str(TRACE_ID)}})
    assert (trace.id, trace.outcome, trace.flags) == (TRACE_ID, Outcome.COMPLETED, {Flag.IMPORTED})


def test_somebodys_own_trace_id_is_not_taken_for_one_of_ours() -> None:
    shared = {"trace_id": str(TRACE_ID), "customer": "c"}
    first, second = ({"messages": [ASKED, {**ANSWERED, "content": text}], "metadata": shared} for text in "ab")
    traces, _ = read(first, second)
    assert len({trace.id for trace in traces} | {TRACE_ID}) == 3


_ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ODD_TEXT, inner, max_size=2),
    max_leaves=4,
)
_ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function", "bot"])
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_call", "tool_call_response", "tool-call", "tool-result", "reasoning"])},
    optional={"content": _ANY, "text": _ANY, "id": _ANY, "name": _ANY, "arguments": _ANY, "response": _ANY,
              "toolCallId": _ANY, "toolName": _ANY, "input": _ANY, "modality": st.just("image")},
)  # fmt: skip
_MESSAGE = st.fixed_dictionaries(
    {"role": _ROLES},
    optional={
        "content": ODD_TEXT | _ANY | st.lists(_PART | ODD_TEXT, max_size=2),
        "parts": st.lists(_PART | _ANY, max_size=2) | _ANY,
        "tool_calls": st.lists(st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": ODD_TEXT})}) | _ANY),
        "toolCalls": _ANY,
        "tool_call_id": _ANY,
        "reasoning": _ANY,
        "finish_reason": _ANY,
    },
)
_MESSAGES = st.lists(_MESSAGE, max_size=3) | _ANY
_JSON_OR_TEXT = st.booleans()
_REQUEST = st.fixed_dictionaries({"messages": _MESSAGES}, optional={"tools": _ANY, "model": _ANY, "metadata": _ANY})
_COMPLETION = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": _MESSAGE | _ANY}, optional={"index": _ANY}), max_size=2)},
    optional={"usage": _ANY, "id": _ANY, "created": _ANY, "error": _ANY},
)


def _maybe_text(values: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return values | values.map(json.dumps)


_NAMES: dict[str, st.SearchStrategy[Json]] = {
    "messages": _MESSAGES,
    "input": _maybe_text(_REQUEST | _MESSAGES),
    "output": _maybe_text(_COMPLETION | _MESSAGE | _ANY),
    "request": _maybe_text(_REQUEST),
    "tools": _ANY,
    "response_format": _ANY,
    "metadata": _ANY
    | st.fixed_dictionaries({"trace_id": st.just(str(TRACE_ID))}, optional={"choice": _ANY, "flags": _ANY}),
    "tags": _ANY,
    "id": _ANY,
    "type": _ANY | st.just("GENERATION"),
    "level": st.sampled_from(["ERROR", "DEFAULT"]),
    "startTime": _ANY | st.sampled_from(["2026-01-01", "0001-01-01T00:00:00+23:59", "9" * 19, 1e308, -5]),
    "endTime": _ANY,
    "usage": _ANY,
    "modelParameters": _ANY,
    "observations": st.lists(_ANY, max_size=2) | _ANY,
    "context": _maybe_text(_MESSAGES),
    "attributes": st.dictionaries(st.sampled_from(
        ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt", "gen_ai.completion.0.content",
         "gen_ai.prompt.0.tool_calls.0.name", "gen_ai.system_instructions", "gen_ai.usage.input_tokens",
         "gen_ai.response.finish_reasons", "gen_ai.response.time_to_first_chunk", "gen_ai.tool.definitions"]),
        _maybe_text(_MESSAGES), max_size=3) | _ANY,
    "events": st.lists(st.fixed_dictionaries(
        {"name": st.sampled_from(["gen_ai.user.message", "gen_ai.choice", "x"])},
        optional={"attributes": _ANY, "body": _MESSAGE | _ANY}), max_size=2) | _ANY,
    "resourceSpans": _ANY,
    "status": _ANY,
}  # fmt: skip
_LINE = st.one_of(
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")),
    st.dictionaries(st.sampled_from(list(_NAMES)), st.none(), max_size=6)
    .flatmap(lambda names: st.fixed_dictionaries({name: _NAMES[name] for name in names}))
    .map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(_LINE, max_size=3), st.sampled_from([None, *SourceFormat]))
def test_whatever_the_lines_hold_every_record_is_accounted_for(
    lines: list[bytes], source_format: SourceFormat | None
) -> None:
    traces, _ = read(*lines, source_format=source_format)
    for trace in traces:
        assert decode_traces(encode_traces([trace])) == [trace]
        assert all(_is_json(text) for text in (*trace.messages, *[reply.message for reply in trace.replies]))
        assert _is_json(trace.parameters)
        assert all(text is None or _is_json(text) for text in (trace.tools, trace.response_format, trace.metadata))


def _is_json(text: JsonText) -> bool:
    json.loads(text, parse_constant=_refuse)
    return True


def _refuse(name: str) -> Json:
    raise AssertionError(f"{name} is not JSON")
