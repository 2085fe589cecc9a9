"""A folded stream is the same answer, of any stream: ordinary, odd, broken or made to deceive."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.assembly import messages_answer
from proxy.assembly.dialect import DIALECTS
from proxy.assembly.endpoint import Endpoint
from proxy.assembly.text_run import fold_runs
from tests.proxy.assembly.dialects import assemble, told

CHAT = Endpoint.CHAT_COMPLETIONS
_PLAIN = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'


def folded(stream: bytes, endpoint: Endpoint = CHAT) -> bytes:
    carried_text = DIALECTS[endpoint].carried_text
    assert carried_text is not None
    return fold_runs(stream, carried_text)


def assert_same(stream: bytes, endpoint: Endpoint = CHAT) -> None:
    assert assemble(endpoint, folded(stream, endpoint)) == assemble(endpoint, stream)


def events(*datas: bytes, line_end: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + data + 2 * line_end for data in datas)


def plain(*texts: bytes) -> bytes:
    return events(*[_PLAIN % text for text in texts])


def message_of(stream: bytes) -> Any:
    return told(assemble(CHAT, stream))["replies"][0][1]


def chunk(delta: object, **fields: object) -> str:
    return json.dumps(
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} | fields
    )


_HOLE = "@"
_CHUNKS = [
    chunk({"content": _HOLE}),
    chunk({"content": _HOLE}, obfuscation="aB3"),
    chunk({"content": _HOLE, "role": "assistant", "refusal": None, "reasoning_details": [], "tool_calls": []}),
    chunk({"content": _HOLE}, usage={"prompt_tokens": 1}, system_fingerprint="fp", x_groq={"usage": {"a": 1}}),
    chunk({"content": None, "reasoning_content": _HOLE}),
    chunk({"content": _HOLE, "reasoning": "r"}),
    chunk({"content": [{"type": "text", "text": _HOLE}]}),
    chunk({"content": 5}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": _HOLE}}]}),
    chunk({"tool_calls": [{"index": 1, "function": {"arguments": _HOLE}}]}),
    chunk({"tool_calls": [{"function": {"arguments": _HOLE}}]}),
    chunk({"tool_calls": [{"index": 0, "id": "i", "type": "function", "function": {"name": "f", "arguments": _HOLE}}]}),
    chunk({"tool_calls": [{"index": 0, "id": "j", "function": {"arguments": _HOLE}}]}),
    chunk({"tool_calls": {"index": 0}}),
    chunk({"tool_calls": "x"}),
    chunk({"role": {"content": _HOLE, "list": [1]}, "content": _HOLE}),
    chunk({"name": "n", "content": _HOLE}, error={"message": _HOLE}),
    chunk({"content": _HOLE}, object="error"),
    json.dumps({"choices": [{"index": 0, "delta": {"content": _HOLE}, "logprobs": {"content": [{"token": "t"}]}}]}),
    json.dumps({"choices": [{"index": 0, "delta": {"content": _HOLE}}, {"index": 1, "delta": {"content": "b"}}]}),
    json.dumps({"choices": [{"index": 1, "delta": {"content": _HOLE}}]}),
    json.dumps({"choices": [{"index": 0, "delta": {"content": _HOLE}, "finish_reason": "stop"}]}),
    json.dumps({"choices": [{"index": 0, "text": _HOLE}]}),
    json.dumps({"choices": [{"index": 0, "text": _HOLE, "message": {"content": "m"}}]}),
    json.dumps({"choices": [], "usage": {"total_tokens": 3}}),
    '{"choices":[{"delta":{"cont\\u0065nt":"x"},"meta":{"content":"@"}}]}',
    '{"choices":[{"delta":{"content":"x","content":"@"}}]}',
    '{"choices":[{"delta":{"content":"@","content":"x"}}]}',
    '{"choices":[{"delta":{"content":"@"}}],"created":1e400}',
    '{"choices":[{"delta":{"content":"@"}}],"created":NaN}',
    '{"choices":[{"delta":{"content":"@"}}],"created":123456789012345678901234567890}',
    '{"obfuscation":"","choices":[{"delta":{"content":"@"}}],"z":{"obfuscation":"aB3"}',
    '{"choices":[{"delta":{"obfuscation":"@","content":"@"}}],"x":"content","obfuscation":"aB3"}',
]
_TIGHT_CHUNKS = [text.replace('": ', '":').replace(', "', ',"') for text in _CHUNKS]
_DELTA = '{"type":"content_block_delta","index":0,"delta":%s}'
_MESSAGE_EVENTS = [
    '{"type":"message_start","message":{"id":"m","model":"c","content":[]}}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"@"}}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"n","input":{}}}',
    _DELTA % '{"type":"text_delta","text":"@"}',
    _DELTA % '{"type":"text_delta","text":"@","more":"@"}',
    _DELTA % '{"type":"thinking_delta","thinking":"@"}',
    _DELTA % '{"type":"input_json_delta","partial_json":"@"}',
    _DELTA % '{"type":"signature_delta","signature":"@","thinking":null}',
    _DELTA % '{"type":"citations_delta","citation":{"text":"@"}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"error","delta":{"text":"@"}}',
    '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}',
    '{"type":"message_stop"}',
]
_PIECES = ["a", " ", "b c", "é", "漢🙂", "\u2028", "\\n", '\\"', "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude42"]
_ODD_PIECES = ['"', "\\", "\x00", "\\x", "\\u12", "\\ud83d", "\\ude42", '","content":"', '"}}]}', "]", "{}", "\r", "\n"]
_TEXT = st.lists(st.sampled_from(_PIECES), max_size=3).map("".join)
_ODD_TEXT = st.lists(st.sampled_from(_PIECES + _ODD_PIECES), max_size=3).map("".join)
_PREFIXES = ["data: "] * 8 + [
    "data:",
    "event: error\ndata: ",
    "event: content_block_delta\ndata: ",
    "id: 7\ndata: ",
    ": c\n",
]
_ENDS = ["\n\n"] * 8 + ["\r\n\r\n", "\n\r\n", "\n\n\n", "\n", " \n\n", "\nevent: error\n\n", "\ndata: \n\n"]


@st.composite
def streams(draw: st.DrawFn, chunks: list[str]) -> bytes:
    """Runs of chunks that differ in their texts, now and then one that is odd, and in the end a few broken bytes."""
    written = []
    for _ in range(draw(st.integers(1, 4))):
        frame = draw(st.sampled_from(chunks))
        prefix, end = draw(st.sampled_from(_PREFIXES)), draw(st.sampled_from(_ENDS))
        texts = draw(st.lists(_TEXT, min_size=1, max_size=5)) + draw(st.lists(_ODD_TEXT, max_size=1))
        written += [prefix + frame.replace(_HOLE, text) + end for text in draw(st.permutations(texts))]
    if draw(st.booleans()):
        written = draw(st.permutations(written))
    stream = "".join([*written, draw(st.sampled_from(["", "data: [DONE]\n\n", "data: [DONE]"]))]).encode()
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        start = draw(st.integers(0, len(stream)))
        stream = (
            stream[:start] + draw(st.sampled_from([b"", b'"', b"\\", b"\xff", b"\n\n", b"{"])) + stream[start + 1 :]
        )
    return stream[: draw(st.integers(0, len(stream)))] if draw(st.integers(0, 3)) == 0 else stream


@settings(max_examples=1500)
@given(streams(_CHUNKS + _TIGHT_CHUNKS))
def test_a_folded_stream_of_chunks_is_the_same_completion(stream: bytes) -> None:
    assert_same(stream)


@settings(max_examples=400)
@given(streams(_MESSAGE_EVENTS))
def test_a_folded_stream_of_message_events_is_the_same_message(stream: bytes) -> None:
    assert_same(stream, Endpoint.MESSAGES)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("obfuscation", ["", ',"obfuscation":"%s"'], ids=["bare", "padded"])
@pytest.mark.parametrize("space", ["", " "], ids=["tight", "spaced"])
def test_the_text_chunks_of_an_ordinary_stream_become_one(line_end: bytes, obfuscation: str, space: str) -> None:
    frame = chunk({"content": "@"}).replace('": ', '":' + space)
    texts = ["Gr", "üße", " \\n", '\\"', "", "🙂"] * 20
    datas = [
        frame.replace("@", text)[:-1] + (obfuscation and obfuscation % ("x" * n)) + "}" for n, text in enumerate(texts)
    ]
    stream = events(*[data.encode() for data in datas], b"[DONE]", line_end=line_end)
    assert folded(stream).count(b"\n\n") == 2
    assert_same(stream)
    assert message_of(folded(stream)) == {"role": "assistant", "content": 'Grüße \n"🙂' * 20}


def test_the_arguments_of_each_call_become_one() -> None:
    frame = chunk({"tool_calls": [{"index": 0, "function": {"arguments": "@"}}]})
    first = [frame.replace("@", text).encode() for text in ('{\\"a\\"', ":", "1}")]
    second = [text.replace(b'"index": 0, "f', b'"index": 1, "f') for text in first]
    stream = events(*first, *second)
    assert folded(stream).count(b"\n\n") == 2
    assert_same(stream)
    assert [call["function"]["arguments"] for call in message_of(folded(stream))["tool_calls"]] == ['{"a":1}'] * 2


def test_the_texts_of_a_block_become_one() -> None:
    data = (_DELTA % '{"type":"text_delta","text":"a"}').encode()
    stream = (b"event: content_block_delta\ndata: " + data + b"\n\n") * 5
    assert folded(stream, Endpoint.MESSAGES).count(b"\n\n") == 1
    assert_same(stream, Endpoint.MESSAGES)


@pytest.mark.parametrize(
    "texts",
    [
        (rb"\ud83d", rb"\ude42"),
        (b"a\xf0\x9f", b"\x99\x82b"),
        (b"a\\", b'"b'),
        (b"a\\", b',"b'),
        (rb"\u00", b"e9"),
        (b'a","role":"tool', b'","role":"user'),
        (b'"}}]}', b"b"),
        (b"a\x00", b"b"),
    ],
    ids=ascii,
)
def test_what_is_no_text_by_itself_is_not_made_one_by_its_neighbour(texts: tuple[bytes, bytes]) -> None:
    stream = plain(b"x", b"y", *texts, b"z", b"z")
    assert_same(stream)
    for text in texts:
        assert _PLAIN % text in folded(stream)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"content":"', b'"},"logprobs":{"content":[{"token":"a"}]'),
        (b'"role":{"a":[1]},"content":"', b'"'),
        (b'"reasoning":"r","content":"', b'"'),
        (b'"content":"', b'","name":[1]'),
        (b'"content":"x","meta":{"content":"', b'"}'),
        (b'"content":"', b'","content":"y"'),
    ],
)
def test_chunks_that_bring_more_than_one_text_stay_apart(before: bytes, after: bytes) -> None:
    data = b'{"choices":[{"delta":{%sa%s}}]}' % (before, after)
    stream = events(data, data, data)
    assert folded(stream) == stream


@pytest.mark.parametrize("line_end", [b"\n", b"\r"], ids=["LF", "CR"])
def test_an_event_of_several_lines_stays_apart(line_end: bytes) -> None:
    stream = plain(b"a", b"b").replace(b"}]}", b"}]" + line_end + b"}")
    assert folded(stream) == stream


def test_more_than_letters_in_the_place_of_the_padding_is_read() -> None:
    padded = [(_PLAIN % text)[:-1] + b',"obfuscation":"aB3"}' for text in (b"a", b"b", b"c", b"d")]
    padded[2] = padded[2][:-1] + b',"error":{"message":"e"}}'
    assert folded(events(*padded)).count(b"\n\n") == 3
    assert_same(events(*padded))


def test_fragments_that_name_a_function_each_open_a_call() -> None:
    data = chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}).encode()
    assert folded(events(data, data, data)) == events(data, data, data)
    assert len(message_of(events(data, data, data))["tool_calls"]) == 3


def test_fragments_without_an_index_stay_apart_where_they_are_no_calls() -> None:
    data = chunk({"tool_calls": [{"function": {"arguments": "a"}}]}).encode()
    stream = events(chunk({"tool_calls": [1]}).encode(), data, data, data)
    assert_same(stream)
    assert len(message_of(stream)["tool_calls"]) == 4


def test_a_signature_is_no_text_that_grows() -> None:
    event = {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "s"}}
    assert messages_answer.carried_text(event) is None


def test_an_event_that_is_named_an_error_stays_apart() -> None:
    stream = plain(b"a", b"b").replace(b"data:", b"event: error\ndata:")
    assert folded(stream) == stream
    assert assemble(CHAT, stream).error == (_PLAIN % b"b").decode()


def test_a_stream_with_line_ends_of_more_than_one_kind_stays_as_it_came() -> None:
    """A carriage return before a CR LF is an empty line; made one with the line feed it would be none."""
    stream = plain(b"a", b"b").replace(b"\n\n", b"\r\r\n")
    assert folded(stream) == stream
    assert message_of(folded(stream))["content"] == "ab"


def test_a_torn_end_stays_as_it_came() -> None:
    stream = plain(b"a", b"b") + b"data: " + _PLAIN % b"c"
    assert folded(stream) == plain(b"ab") + b"data: " + _PLAIN % b"c"


def test_bytes_after_the_end_are_no_part_of_the_answer() -> None:
    assert message_of(folded(plain(b"a", b"b") + events(b"[DONE]") + plain(b"c", b"d")))["content"] == "ab"


@pytest.mark.parametrize("odd", [b'x","role":"user', rb"\ud83d", b"\xc3"], ids=ascii)
def test_runs_that_break_off_take_time_in_step_with_their_number(odd: bytes) -> None:
    """Each of them seen to the end of the stream would be hours for one of 20 MB."""
    stream = plain(b"a", b"b", odd) * 20_000
    began = time.process_time()
    shorter = folded(stream)
    assert time.process_time() - began < 2
    assert shorter.count(_PLAIN % odd) == 20_000
