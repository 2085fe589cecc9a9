"""The same answer, plain or streamed in any cuts, is the same stored reply: of every dialect."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.assembly.endpoint import Endpoint
from tests.proxy.assembly.dialects import (
    Json,
    assemble,
    byte_by_byte,
    cut,
    interleaved,
    message_stream,
    read_plain,
    response_stream,
    text_stream,
    told,
    wire,
)

_TEXT = st.text(st.sampled_from('ab "\\\n{}[]漢🙂é\u2028\x00,:'), max_size=12)
_ARGUMENTS = st.dictionaries(_TEXT, st.one_of(_TEXT, st.integers(), st.lists(st.booleans(), max_size=2)), max_size=3)
_SEEDS = st.integers(0, 2**32)
_LISTS = st.integers(0, 3)


def assert_same(endpoint: Endpoint, answer: Json, events: list[Json], random: Random, *, named: bool) -> None:
    stream = wire(events, named=named, done=not named)
    cuts = sorted(random.choices(range(len(stream) + 1), k=random.randint(0, 20)))
    streamed = assemble(endpoint, stream, cuts)
    assert told(streamed) == told(read_plain(endpoint, answer))
    assert streamed == assemble(endpoint, stream)


# Chat completions -----------------------------------------------------------------------------------------------------

_TOKEN = st.fixed_dictionaries({"token": _TEXT, "logprob": st.sampled_from([-0.5, 0, -1e-7]), "bytes": st.none()})


@st.composite
def chat_messages(draw: st.DrawFn) -> Json:
    message: Json = {"role": "assistant", "content": draw(st.none() | _TEXT)}
    for name in ("refusal", "reasoning_content", "reasoning", "provider_text"):
        if draw(st.booleans()):
            message[name] = draw(_TEXT)
    if draw(st.booleans()):
        message["audio"] = {"id": "audio_1", "data": draw(_TEXT), "transcript": draw(_TEXT), "expires_at": 7}
    if draw(st.booleans()):
        message["annotations"] = [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 1}}]
    if draw(st.booleans()):
        message["reasoning_details"] = [
            {"type": "reasoning.text", "text": draw(_TEXT), "format": "f", "index": index, "signature": draw(_TEXT)}
            for index in range(draw(_LISTS))
        ]
    if calls := [_chat_call(number, draw(_ARGUMENTS)) for number in range(draw(_LISTS))]:
        message["tool_calls"] = calls
    return message


def _chat_call(number: int, arguments: Json) -> Json:
    function = {"name": f"tool_{number}", "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{number}", "type": "function", "function": function}


@st.composite
def chat_answers(draw: st.DrawFn) -> Json:
    choices = [
        {
            "index": index,
            "message": draw(chat_messages()),
            "finish_reason": draw(st.sampled_from(["stop", "length", "tool_calls"])),
            "logprobs": draw(st.none() | st.fixed_dictionaries({"content": st.lists(_TOKEN, max_size=3)})),
        }
        for index in range(draw(st.integers(1, 3)))
    ]
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": "chatcmpl-1", "model": "m-1", "system_fingerprint": "fp", "choices": choices, "usage": usage}


def chat_stream(answer: Json, random: Random) -> list[Json]:
    base = {name: answer[name] for name in ("id", "model", "system_fingerprint")} | {"object": "chat.completion.chunk"}
    queues = [_choice_chunks(choice, random) for choice in answer["choices"]]
    chunks = [{**base, "choices": [choice]} for choice in interleaved(queues, random)]
    return [*chunks, {**base, "choices": [], "usage": answer["usage"]}]


def _choice_chunks(choice: Json, random: Random) -> Any:
    message = choice["message"]
    index = {"index": choice["index"]}
    yield {**index, "delta": {"role": "assistant", "content": None if message["content"] is None else ""}}
    yield from ({**index, "delta": delta} for delta in interleaved(list(_field_deltas(message, random)), random))
    tokens = (choice["logprobs"] or {}).get("content")
    if tokens is not None:
        middle = len(tokens) // 2
        for part in (tokens[:middle], tokens[middle:]):
            yield {**index, "delta": {}, "logprobs": {"content": part}}
    yield {**index, "delta": {}, "finish_reason": choice["finish_reason"]}


def _field_deltas(message: Json, random: Random) -> Any:
    for name, value in message.items():
        if isinstance(value, str) and name != "role":
            yield iter([{name: piece} for piece in cut(value, random)])
    if audio := message.get("audio"):
        pieces = [{"audio": {"id": audio["id"]}}]
        pieces += [{"audio": {name: piece}} for name in ("data", "transcript") for piece in cut(audio[name], random)]
        yield iter([*pieces, {"audio": {"expires_at": audio["expires_at"]}}])
    if "annotations" in message:
        yield iter([{"annotations": message["annotations"]}])
    if "reasoning_details" in message:
        deltas = [{"reasoning_details": []}]
        for entry in message["reasoning_details"]:
            deltas += [
                {"reasoning_details": [{**entry, "text": piece, **({} if first else {"signature": None})}]}
                for first, piece in zip([True, *[False] * 9], cut(entry["text"], random), strict=False)
            ]
        yield iter(deltas)
    for position, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        opening = {**call, "index": position, "function": {"name": function["name"], "arguments": ""}}
        pieces = [{"index": position, "function": {"arguments": piece}} for piece in cut(function["arguments"], random)]
        yield iter([{"tool_calls": [fragment]} for fragment in [opening, *pieces]])


@given(chat_answers(), _SEEDS)
def test_chat_completions(answer: Json, seed: int) -> None:
    """The plain answer is the reference: choices, fields and parallel calls come in any order among each other."""
    random = Random(seed)
    assert_same(Endpoint.CHAT_COMPLETIONS, answer, chat_stream(answer, random), random, named=False)


# Text completions -----------------------------------------------------------------------------------------------------


@st.composite
def text_answers(draw: st.DrawFn) -> Json:
    logprobs = st.none() | st.just(
        {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": None, "text_offset": [0]}
    )
    choices = [
        {"index": index, "text": draw(_TEXT), "logprobs": draw(logprobs), "finish_reason": "stop"}
        for index in range(draw(st.integers(1, 4)))
    ]
    return {"id": "cmpl-1", "model": "m", "choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}


@given(text_answers(), _SEEDS)
def test_text_completions(answer: Json, seed: int) -> None:
    random = Random(seed)
    assert_same(Endpoint.COMPLETIONS, answer, text_stream(answer, random), random, named=False)


# Anthropic's messages -------------------------------------------------------------------------------------------------

_BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": _TEXT}),
    st.fixed_dictionaries({"type": st.just("text"), "text": _TEXT, "citations": st.just([{"cited_text": "x"}])}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": _TEXT, "signature": st.just("sig")}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": _TEXT}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": _TEXT, "name": _TEXT, "input": _ARGUMENTS}),
    st.fixed_dictionaries({"type": st.just("server_tool_use"), "id": _TEXT, "name": _TEXT, "input": _ARGUMENTS}),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "content": st.just([{"url": "u"}])}),
)


@st.composite
def message_answers(draw: st.DrawFn) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": draw(st.lists(_BLOCKS, max_size=5)),
        "stop_reason": draw(st.sampled_from(["end_turn", "tool_use", "max_tokens", "stop_sequence"])),
        "stop_sequence": draw(st.sampled_from([None, "END"])),
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 0, "output_tokens": 9},
    }


@given(message_answers(), _SEEDS)
def test_messages(answer: Json, seed: int) -> None:
    random = Random(seed)
    assert_same(Endpoint.MESSAGES, answer, message_stream(answer, random), random, named=True)


# OpenAI's responses ---------------------------------------------------------------------------------------------------

_OUTPUT_PARTS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("output_text"), "text": _TEXT, "annotations": st.just([]), "logprobs": st.just([])}
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": _TEXT}),
)
_SUMMARIES = st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": _TEXT}), max_size=2)
_ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "id": st.just("msg_1"),
            "status": st.just("completed"),
            "role": st.just("assistant"),
            "content": st.lists(_OUTPUT_PARTS, max_size=3),
        }
    ),
    st.fixed_dictionaries({"type": st.just("reasoning"), "id": st.just("rs_1"), "summary": _SUMMARIES}),
    st.fixed_dictionaries(
        {
            "type": st.just("function_call"),
            "id": st.just("fc_1"),
            "call_id": _TEXT,
            "name": _TEXT,
            "arguments": _ARGUMENTS.map(json.dumps),
        }
    ),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "call_id": _TEXT, "name": _TEXT, "input": _TEXT}),
    st.fixed_dictionaries({"type": st.just("web_search_call"), "id": _TEXT}),
)


@st.composite
def response_answers(draw: st.DrawFn) -> Json:
    status, details = draw(
        st.sampled_from([("completed", None), ("incomplete", {"reason": "max_output_tokens"}), ("failed", None)])
    )
    return {
        "id": "resp_1",
        "object": "response",
        "model": "m",
        "status": status,
        "incomplete_details": details,
        "error": {"code": "server_error", "message": "x"} if status == "failed" else None,
        "output": draw(st.lists(_ITEMS, max_size=4)),
        "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12},
    }


@given(response_answers(), _SEEDS)
def test_responses(answer: Json, seed: int) -> None:
    random = Random(seed)
    assert_same(Endpoint.RESPONSES, answer, response_stream(answer, random), random, named=True)


@given(response_answers(), _SEEDS)
def test_a_response_whose_last_event_has_no_output_is_what_the_events_brought(answer: Json, seed: int) -> None:
    """Some servers leave `output` empty at the end when nothing is stored on their side."""
    events = response_stream(answer, Random(seed))
    events[-1] = {**events[-1], "response": {**answer, "output": []}}
    streamed = assemble(Endpoint.RESPONSES, wire(events, named=True))
    assert told(streamed) == told(read_plain(Endpoint.RESPONSES, answer))


@given(response_answers(), _SEEDS)
def test_a_response_that_was_cut_at_its_end_has_the_same_message_but_no_end(answer: Json, seed: int) -> None:
    """Put together of deltas alone: neither items at their end nor the whole response came."""
    events = [
        event
        for event in response_stream(answer, Random(seed))[:-1]
        if not event["type"].endswith((".done", "output_item.done"))
    ]
    streamed = told(assemble(Endpoint.RESPONSES, wire(events, named=True, done=False)))
    plain = told(read_plain(Endpoint.RESPONSES, answer))
    for mine, whole in zip(streamed["replies"], plain["replies"], strict=False):
        ours, theirs = dict(mine[1]), dict(whole[1])
        ours.pop("verbatim", None)
        theirs.pop("verbatim", None)
        assert ours == theirs
        assert mine[2] is None
    assert len(streamed["replies"]) == (1 if answer["output"] else 0)


# Every split offset ---------------------------------------------------------------------------------------------------

_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm 漢", "signature": "s"},
        {"type": "text", "text": "Grüße 🙂"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 9},
}
_RESPONSE = {
    "id": "resp_1",
    "model": "m",
    "status": "completed",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm 漢"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Grüße 🙂", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Zürich"}',
        },
    ],
    "usage": {"input_tokens": 3, "output_tokens": 9},
}
_TEXTS = {
    "id": "cmpl-1",
    "model": "m",
    "choices": [{"index": 0, "text": "Grüße 🙂", "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 9},
}
_WHOLE = {
    Endpoint.MESSAGES: (_MESSAGE, message_stream(_MESSAGE, Random(1)), True),
    Endpoint.RESPONSES: (_RESPONSE, response_stream(_RESPONSE, Random(1)), True),
    Endpoint.COMPLETIONS: (_TEXTS, text_stream(_TEXTS, Random(1)), False),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("endpoint", _WHOLE)
def test_a_stream_cut_at_any_offset_is_the_plain_answer(endpoint: Endpoint, line_end: bytes) -> None:
    answer, events, is_named = _WHOLE[endpoint]
    stream = wire(events, named=is_named).replace(b"\n", line_end)
    plain = told(read_plain(endpoint, answer))
    whole = assemble(endpoint, stream)
    assert told(whole) == plain
    assert byte_by_byte(endpoint, stream) == whole
    assert [at for at in range(len(stream)) if assemble(endpoint, stream, [at]) != whole] == []


@settings(max_examples=30)
@given(st.sampled_from(list(_WHOLE)), st.data())
def test_a_stream_that_ends_anywhere_makes_nothing_up(endpoint: Endpoint, data: st.DataObject) -> None:
    """Whatever was cut off: text is a beginning of the text, and no reason to finish is told before it came."""
    answer, events, is_named = _WHOLE[endpoint]
    stream = wire(events, named=is_named)
    plain = told(read_plain(endpoint, answer))["replies"][0]
    end = data.draw(st.integers(0, len(stream)))
    for _, message, finish_reason, _ in told(assemble(endpoint, stream[:end]))["replies"]:
        assert finish_reason in (None, plain[2])
        assert plain[1]["content"].startswith(message["content"] or "")
        assert plain[1].get("reasoning_content", "").startswith(message.get("reasoning_content", ""))
        for call in message.get("tool_calls", ()):
            whole = plain[1]["tool_calls"][0]["function"]["arguments"]
            given_so_far = call["function"].get("arguments", "")
            assert whole.replace(" ", "").startswith(given_so_far.replace(" ", ""))
            assert given_so_far == "" or given_so_far != "{}"
