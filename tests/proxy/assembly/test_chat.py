"""The conformance suite of stream assembly: what servers send, standard or not, and the message it must become."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from proxy.assembly.chat import ChatAssembler
from proxy.assembly.completion import Completion
from proxy.assembly.sse import EventParser
from store.json_text import JsonValue
from store.trace import Flag


def chunk(
    delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **fields: JsonValue
) -> dict[str, Any]:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "system_fingerprint": "fp_1",
        "choices": [choice],
    } | fields


def text_chunk(text: str, **fields: JsonValue) -> dict[str, Any]:
    return chunk({"content": text}, **fields)


def call(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: str | None = None
) -> dict[str, Any]:
    fragment: dict[str, Any] = {} if index is None else {"index": index}
    if call_id is not None:
        fragment |= {"id": call_id, "type": "function"}
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return fragment | {"function": function}


def calls_chunk(*fragments: dict[str, Any], **fields: JsonValue) -> dict[str, Any]:
    return chunk({"tool_calls": list(fragments)}, **fields)


def whole_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def assistant(content: str | None = None, **fields: JsonValue) -> dict[str, Any]:
    return {"role": "assistant", "content": content} | fields


ROLE = chunk({"role": "assistant", "content": None})
STOP = chunk(finish="stop")
CALLS_STOP = chunk(finish="tool_calls")
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "details": {"cached": 3}}
PARIS = whole_call("call_a", "weather", '{"city":"Paris"}')
OSLO = whole_call("call_b", "weather", '{"city":"Oslo"}')
PARIS_AND_OSLO = assistant(tool_calls=[PARIS, OSLO])


@dataclass(frozen=True)
class Case:
    name: str
    chunks: Sequence[dict[str, Any]]
    message: dict[str, Any]
    finish: str | None = "stop"
    usage: dict[str, Any] | None = None
    flags: frozenset[Flag] = frozenset()
    done: bool = True


CASES = [
    Case(
        "01 text with a trailing usage chunk",
        [ROLE, text_chunk("Hello"), text_chunk(" 漢🙂"), STOP, chunk(choices=[], usage=USAGE)],
        assistant("Hello 漢🙂"),
        usage=USAGE,
    ),
    Case(
        "02 one tool call",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", "")),
            calls_chunk(call(0, arguments='{"city":')),
            calls_chunk(call(0, arguments='"Paris"}')),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "03 two tool calls one after the other",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", "")),
            calls_chunk(call(0, arguments='{"city":"Paris"}')),
            calls_chunk(call(1, "call_b", "weather", "")),
            calls_chunk(call(1, arguments='{"city":"Oslo"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "04 two calls opened in one chunk, then interleaved",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", ""), call(1, "call_b", "weather", "")),
            calls_chunk(call(1, arguments='{"city":')),
            calls_chunk(call(0, arguments='{"city":'), call(1, arguments='"Oslo"}')),
            calls_chunk(call(0, arguments='"Paris"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "05 index always 0, distinct ids",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":"Paris"}')),
            calls_chunk(call(0, "call_b", "weather", '{"city":')),
            calls_chunk(call(0, arguments='"Oslo"}')),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "06 no index, distinct ids",
        [
            ROLE,
            calls_chunk(call(None, "call_a", "weather", '{"city":'), call(None, "call_b", "weather", '{"city":')),
            calls_chunk(call(None, "call_a", arguments='"Paris"}')),
            calls_chunk(call(None, "call_b", arguments='"Oslo"')),
            calls_chunk(call(None, arguments="}")),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "07 id and name repeated in each delta",
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":')),
            calls_chunk(call(0, "call_a", "weather", '"Paris"}')),
            calls_chunk(call(1, "call_b", "weather", '{"city":"Oslo"}')),
            calls_chunk(call(1, "call_b", "weather", "")),
            CALLS_STOP,
        ],
        PARIS_AND_OSLO,
        finish="tool_calls",
    ),
    Case(
        "08 first index is 1",
        [
            ROLE,
            calls_chunk(call(1, "call_a", "weather", "")),
            calls_chunk(call(1, arguments='{"city":"Paris"}')),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "10 reasoning_content",
        [
            chunk({"role": "assistant", "content": None, "reasoning_content": "Let me"}),
            chunk({"reasoning_content": " think."}),
            text_chunk("Four."),
            STOP,
        ],
        assistant("Four.", reasoning_content="Let me think."),
    ),
    Case(
        "11 reasoning, the other spelling",
        [ROLE, chunk({"reasoning": "Let me"}), chunk({"reasoning": " think."}), text_chunk("Four."), STOP],
        assistant("Four.", reasoning="Let me think."),
    ),
    Case(
        "12 refusal deltas",
        [ROLE, chunk({"refusal": "I can"}), chunk({"refusal": "not."}), STOP],
        assistant(refusal="I cannot."),
    ),
    Case(
        "14 legacy function_call",
        [
            ROLE,
            chunk({"function_call": {"name": "weather", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"city":'}}),
            chunk({"function_call": {"arguments": '"Paris"}'}}),
            chunk(finish="function_call"),
        ],
        assistant(function_call={"name": "weather", "arguments": '{"city":"Paris"}'}),
        finish="function_call",
    ),
    Case(
        "15 text without a finish reason",
        [ROLE, text_chunk("Hel"), text_chunk("lo")],
        assistant("Hello"),
        finish=None,
        flags=frozenset({Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED}),
        done=False,
    ),
    Case(
        "16 cut inside tool arguments",
        [ROLE, calls_chunk(call(0, "call_a", "weather", "")), calls_chunk(call(0, arguments='{"ci'))],
        assistant(tool_calls=[whole_call("call_a", "weather", '{"ci')]),
        finish=None,
        flags=frozenset({Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED, Flag.ARGUMENTS_INVALID}),
        done=False,
    ),
    Case(
        "17 usage on the last choice chunk",
        [ROLE, text_chunk("Hi"), chunk(finish="stop", usage=USAGE)],
        assistant("Hi"),
        usage=USAGE,
    ),
    Case(
        "18 cumulative usage on each chunk",
        [
            ROLE | {"usage": USAGE | {"completion_tokens": 0}},
            text_chunk("Hi", usage=USAGE | {"completion_tokens": 1}),
            chunk(finish="stop", usage=USAGE),
            chunk(choices=[], usage=None),
        ],
        assistant("Hi"),
        usage=USAGE,
    ),
    Case(
        "19 text and tools",
        [ROLE, text_chunk("One moment."), calls_chunk(call(0, "call_a", "weather", '{"city":"Paris"}')), CALLS_STOP],
        assistant("One moment.", tool_calls=[PARIS]),
        finish="tool_calls",
    ),
    Case(
        "21 Azure's first chunk without choices",
        [
            chunk(choices=[], id="", model="", prompt_filter_results=[{"prompt_index": 0}]),
            ROLE,
            text_chunk("Hi"),
            STOP,
        ],
        assistant("Hi"),
    ),
    Case(
        "22 the whole call in the first chunk",
        [
            chunk(
                {"role": "assistant", "content": None, "tool_calls": [call(0, "call_a", "weather", '{"city":"Paris"}')]}
            ),
            CALLS_STOP,
        ],
        assistant(tool_calls=[PARIS]),
        finish="tool_calls",
    ),
]


def wire(chunks: Sequence[dict[str, Any]], *, done: bool = True) -> bytes:
    events = [b"data: " + json.dumps(item, ensure_ascii=False).encode() + b"\n\n" for item in chunks]
    return b"".join(events) + (b"data: [DONE]\n\n" if done else b"")


def assemble(stream: bytes, *, step: int | None = None) -> Completion:
    parser, assembler = EventParser(max_event_bytes=10_000_000), ChatAssembler()
    step = step or len(stream) or 1
    for start in range(0, len(stream), step):
        for event in parser.feed(stream[start : start + step]):
            assembler.feed(event)
    for event in parser.finish():
        assembler.feed(event)
    return assembler.finish()


def both_ways(chunks: Sequence[dict[str, Any]], *, done: bool = True) -> Completion:
    stream = wire(chunks, done=done)
    whole = assemble(stream)
    assert assemble(stream, step=1) == whole
    return whole


def message_of(completion: Completion, place: int = 0) -> JsonValue:
    return json.loads(completion.replies[place].message)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_stream_becomes_the_message_a_plain_answer_would_have(case: Case) -> None:
    completion = both_ways(case.chunks, done=case.done)
    (reply,) = completion.replies
    assert message_of(completion) == case.message
    assert reply.finish_reason == case.finish
    assert (json.loads(completion.usage) if completion.usage else None) == case.usage
    assert completion.flags == case.flags
    assert (completion.served_model, completion.upstream_id, completion.error) == ("m-1", "chatcmpl-1", None)


def test_case_09_each_of_two_interleaved_choices_is_a_reply() -> None:
    completion = both_ways(
        [
            chunk({"role": "assistant", "content": "A"}, index=0),
            chunk({"role": "assistant", "content": "B"}, index=1),
            text_chunk("b", index=1),
            text_chunk("a", index=0),
            chunk(index=1, finish="length"),
            chunk(index=0, finish="stop"),
        ]
    )
    assert [(reply.index, reply.finish_reason) for reply in completion.replies] == [(0, "stop"), (1, "length")]
    assert [message_of(completion, place)["content"] for place in (0, 1)] == ["Aa", "Bb"]


def test_case_13_logprobs_go_on_across_chunks() -> None:
    def with_logprobs(text: str, **logprobs: JsonValue) -> dict[str, Any]:
        made = text_chunk(text)
        made["choices"][0]["logprobs"] = logprobs
        return made

    entries = [{"token": token, "logprob": -0.5, "bytes": [72], "top_logprobs": []} for token in "abc"]
    completion = both_ways(
        [
            ROLE,
            with_logprobs("a", content=entries[:1], refusal=None),
            with_logprobs("bc", content=entries[1:], refusal=None),
            STOP,
        ]
    )
    assert completion.replies[0].logprobs is not None
    assert json.loads(completion.replies[0].logprobs) == {"content": entries, "refusal": None}


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "overloaded", "code": 529}},
        {"error": "overloaded"},
        {"object": "error", "message": "overloaded", "code": 400},
        {"error": {"message": "overloaded"}, "choices": []},
    ],
)
def test_case_20_an_error_event_keeps_the_partial_reply_and_its_own_text(error: dict[str, Any]) -> None:
    completion = both_ways([ROLE, text_chunk("Hel"), error], done=False)
    assert json.loads(completion.error or "") == error
    assert message_of(completion) == assistant("Hel")
    assert completion.replies[0].finish_reason is None
    assert Flag.STREAM_UNFINISHED in completion.flags


def test_an_event_named_error_is_an_error_whatever_it_holds() -> None:
    completion = assemble(wire([ROLE], done=False) + b"event: error\ndata: gone away\n\n")
    assert completion.error == "gone away"


# What the official client builds -------------------------------------------------------------------------------------

_CLIENT_READS = [case for case in CASES if case.name[:2] not in ("05", "06", "07", "08", "15", "16")]


def official_message(chunks: Sequence[dict[str, Any]]) -> JsonValue:
    """The client's final message without its own `parsed` fields and fragment indexes."""
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for item in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(item))
    message = state.get_final_completion().choices[0].message.to_dict(mode="json")
    for made in cast("list[dict[str, Any]]", message.get("tool_calls") or []):
        made.pop("index", None)
        made["function"].pop("parsed_arguments", None)
    return message


def without_nulls(value: JsonValue) -> JsonValue:
    """The client's models fill in null for every field they know of and the upstream did not send."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", _CLIENT_READS, ids=lambda case: case.name)
def test_the_message_equals_what_the_official_client_accumulates(case: Case) -> None:
    ours, official = message_of(both_ways(case.chunks)), official_message(case.chunks)
    assert without_nulls(ours) == without_nulls(official)
    assert ours.items() <= official.items()


def test_audio_and_unknown_fields_equal_what_the_official_client_accumulates() -> None:
    chunks = [
        chunk({"role": "assistant", "content": None, "refusal": None, "audio": {"id": "audio_1", "transcript": "He"}}),
        chunk({"audio": {"data": "QUJD"}}),
        chunk({"audio": {"transcript": "y", "data": "REVG"}}),
        chunk({"audio": {"expires_at": 1729018505}}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}], "provider_note": "a"}),
        chunk({"provider_note": "b"}),
        STOP,
    ]
    message = message_of(both_ways(chunks))
    assert without_nulls(message) == without_nulls(official_message(chunks))
    assert message["audio"] == {"id": "audio_1", "transcript": "Hey", "data": "QUJDREVG", "expires_at": 1729018505}
    assert message["provider_note"] == "ab"


# What servers get wrong ----------------------------------------------------------------------------------------------


def test_a_new_id_at_a_known_index_never_joins_names_or_ids() -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", "{}")),
            calls_chunk(call(0, "call_b", "time", "{}")),
            calls_chunk(call(0, "call_c", "weather", "{}")),
            CALLS_STOP,
        ]
    )
    assert message_of(completion)["tool_calls"] == [
        whole_call("call_a", "weather", "{}"),
        whole_call("call_b", "time", "{}"),
        whole_call("call_c", "weather", "{}"),
    ]


def test_an_index_wins_over_the_call_touched_last() -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":')),
            calls_chunk(call(1, "call_b", "weather", '{"city":"Oslo"}')),
            calls_chunk(call(0, arguments='"Paris"}')),
            CALLS_STOP,
        ]
    )
    assert message_of(completion) == PARIS_AND_OSLO


def test_the_same_id_at_two_indexes_is_two_calls() -> None:
    completion = both_ways(
        [ROLE, calls_chunk(call(0, "same", "a", "{}")), calls_chunk(call(1, "same", "b", "{}")), CALLS_STOP]
    )
    assert [item["function"]["name"] for item in message_of(completion)["tool_calls"]] == ["a", "b"]


@pytest.mark.parametrize("index", [0, None])
def test_whole_calls_without_ids_stay_apart(index: int | None) -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk(
                call(index, None, "weather", '{"city":"Paris"}'), call(index, None, "weather", '{"city":"Oslo"}')
            ),
            CALLS_STOP,
        ]
    )
    arguments = [item["function"]["arguments"] for item in message_of(completion)["tool_calls"]]
    assert arguments == ['{"city":"Paris"}', '{"city":"Oslo"}']
    assert Flag.ARGUMENTS_INVALID not in completion.flags


@pytest.mark.parametrize("blank", [None, ""])
def test_blank_ids_and_names_after_the_first_change_nothing(blank: str | None) -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk(call(0, "call_a", "weather", '{"city":')),
            calls_chunk({"index": 0, "id": blank, "function": {"name": blank, "arguments": '"Paris"}'}}),
            CALLS_STOP,
        ]
    )
    assert message_of(completion)["tool_calls"] == [PARIS]


def test_an_id_that_comes_late_is_set() -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk({"index": 0, "id": None, "type": "function", "function": {"name": "weather", "arguments": ""}}),
            calls_chunk(call(0, "call_a", arguments='{"city":"Paris"}')),
            CALLS_STOP,
        ]
    )
    assert message_of(completion)["tool_calls"] == [PARIS]


def test_arguments_that_never_came_are_not_made_up() -> None:
    completion = both_ways([ROLE, calls_chunk(call(0, "call_a", "weather")), CALLS_STOP])
    assert message_of(completion)["tool_calls"][0]["function"] == {"name": "weather"}
    assert completion.flags == {Flag.ARGUMENTS_INVALID}


def test_a_custom_tool_call_keeps_its_input() -> None:
    completion = both_ways(
        [
            ROLE,
            calls_chunk({"index": 0, "id": "c", "type": "custom", "custom": {"name": "grep", "input": "a"}}),
            calls_chunk({"index": 0, "custom": {"input": "+b"}}),
            CALLS_STOP,
        ]
    )
    assert message_of(completion)["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "grep", "input": "a+b"}}
    ]
    assert completion.flags == frozenset()


def test_reasoning_details_grow_by_their_index() -> None:
    def details(*entries: dict[str, Any]) -> dict[str, Any]:
        return chunk({"reasoning_details": list(entries)})

    completion = both_ways(
        [
            ROLE,
            details({"type": "reasoning.text", "text": "a", "index": 0, "format": "f1"}),
            details({"type": "reasoning.text", "text": "b", "index": 0, "format": "f1"}),
            details({"type": "reasoning.encrypted", "data": "x", "index": 1}),
            STOP,
        ]
    )
    assert message_of(completion)["reasoning_details"] == [
        {"type": "reasoning.text", "text": "ab", "index": 0, "format": "f1"},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]


def test_text_after_content_parts_becomes_a_text_part() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    completion = both_ways(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": [thinking]}),
            text_chunk("Fo"),
            text_chunk("ur"),
            STOP,
        ]
    )
    assert message_of(completion)["content"] == [thinking, {"type": "text", "text": "Four"}]


@pytest.mark.parametrize(
    "extra", [b"data: [DONE]\n\n", b'data: {"choices":[{"index":0,"delta":{"content":"!"}}]}\n\n', b"data: junk\n\n"]
)
def test_what_follows_done_is_no_part_of_the_reply(extra: bytes) -> None:
    stream = wire([ROLE, text_chunk("Hi"), STOP])
    assert assemble(stream + extra) == assemble(stream)


def test_done_may_be_missing_when_every_choice_was_finished() -> None:
    assert both_ways([ROLE, text_chunk("Hi"), STOP], done=False).flags == frozenset()


def test_done_without_a_finish_reason_is_said() -> None:
    assert both_ways([ROLE, text_chunk("Hi")]).flags == {Flag.NO_FINISH_REASON}


def test_a_stream_cut_inside_an_event_keeps_what_came_before() -> None:
    completion = assemble(wire([ROLE, text_chunk("Hi")], done=False) + b'data: {"choices":[{"index":0,"del')
    assert message_of(completion) == assistant("Hi")
    assert completion.flags == {Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED}


@pytest.mark.parametrize("junk", [b"{broken", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500])
def test_an_event_that_is_no_json_is_flagged_and_the_rest_kept(junk: bytes) -> None:
    stream = wire([ROLE, text_chunk("Hi")], done=False) + b"data: " + junk + b"\n\n" + wire([text_chunk("!"), STOP])
    completion = assemble(stream)
    assert message_of(completion) == assistant("Hi!")
    assert completion.flags == {Flag.RESPONSE_NOT_JSON}


@pytest.mark.parametrize(
    "event",
    [b"null", b"7", b'"ping"', b"[]", b"{}", b'{"type":"ping"}', b'{"choices":null}', b'{"choices":[null,7,{}]}'],
)
def test_events_that_say_nothing_change_nothing(event: bytes) -> None:
    stream = b"data: " + event + b"\n\n" + b": comment\n\ndata:\n\n"
    completion = assemble(wire([ROLE, text_chunk("Hi")], done=False) + stream + wire([STOP]))
    assert message_of(completion) == assistant("Hi")


def test_a_number_json_cannot_hold_costs_only_itself() -> None:
    logprobs = b'"logprobs":{"content":[{"token":"Hi","logprob":NaN}]}'
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},' + logprobs + b"}]}\n\n"
    completion = assemble(stream + wire([STOP]))
    assert message_of(completion)["content"] == "Hi"
    assert completion.replies[0].logprobs == b'{"content":[{"token":"Hi","logprob":null}]}'
    assert completion.flags == {Flag.RESPONSE_NOT_JSON}


def test_half_surrogates_nul_and_line_separators_survive() -> None:
    texts = [rb"\ud83d", rb"\ude42 \ud800 \u0000 \u2028"]
    stream = b"".join(b'data: {"choices":[{"index":0,"delta":{"content":"' + text + b'"}}]}\n\n' for text in texts)
    message = assemble(stream).replies[0].message
    assert json.loads(message)["content"] == json.loads(rb'"\ud83d\ude42 \ud800 \u0000 \u2028"')


def test_usage_is_found_where_vendors_put_it() -> None:
    in_choice = chunk(finish="stop")
    in_choice["choices"][0]["usage"] = USAGE
    assert json.loads(both_ways([ROLE, in_choice]).usage or b"") == USAGE
    assert json.loads(both_ways([ROLE, STOP | {"x_groq": {"usage": USAGE}}]).usage or b"") == USAGE


def test_usage_that_was_not_reported_is_none() -> None:
    assert both_ways([ROLE, text_chunk("Hi", usage=None), STOP]).usage is None


def test_a_whole_message_in_place_of_deltas_is_taken_once() -> None:
    message = assistant("Hi")
    whole = chunk(finish="stop")
    del whole["choices"][0]["delta"]
    whole["choices"][0]["message"] = message
    assert message_of(both_ways([whole])) == message
    assert message_of(both_ways([ROLE, text_chunk("Hi"), whole])) == message


def test_a_stream_without_one_choice_has_no_reply() -> None:
    completion = assemble(b"")
    assert completion.replies == ()
    assert completion.flags == {Flag.STREAM_UNFINISHED}


def test_many_deltas_are_assembled_in_linear_time() -> None:
    """200,000 deltas into one text: quadratic joining would take minutes."""
    assembler = ChatAssembler()
    for _ in range(200_000):
        assembler.feed_chunk({"choices": [{"index": 0, "delta": {"content": "0123456789"}}]})
    assert len(message_of(assembler.finish())["content"]) == 2_000_000


@given(seed=st.integers(0, 10_000), with_ids=st.booleans(), count=st.integers(1, 5))
def test_any_interleaving_of_parallel_calls_gives_the_same_calls(seed: int, with_ids: bool, count: int) -> None:
    random = Random(seed)
    wanted = [whole_call(f"call_{n}", f"tool_{n}", json.dumps({"n": n, "text": "漢🙂" * n})) for n in range(count)]
    queues = []
    for index, made in enumerate(wanted):
        arguments = made["function"]["arguments"]
        cuts = sorted(random.choices(range(len(arguments) + 1), k=3))
        pieces = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        opening = call(index, made["id"], made["function"]["name"], "")
        queues.append([opening, *(call(index, made["id"] if with_ids else None, arguments=piece) for piece in pieces)])
    chunks = [ROLE]
    while any(queues):
        ready = [queue for queue in queues if queue]
        chunks.append(calls_chunk(*(queue.pop(0) for queue in random.sample(ready, random.randint(1, len(ready))))))
    completion = assemble(wire([*chunks, CALLS_STOP]))
    assert message_of(completion)["tool_calls"] == wanted
    assert completion.flags == frozenset()
