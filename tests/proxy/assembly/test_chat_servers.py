"""What servers get wrong, and what is made of it."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.assembly.chat import ChatAssembler
from store.trace import Flag
from tests.proxy.assembly.chat_cases import (
    CALLS_STOP,
    PARIS,
    PARIS_AND_OSLO,
    ROLE,
    STOP,
    USAGE,
    assemble,
    assistant,
    both_ways,
    call,
    calls_chunk,
    chunk,
    message_of,
    text_chunk,
    whole_call,
    wire,
)


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
