"""The conformance suite of stream assembly: the cases by name, each cut in every way."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from store.json_text import JsonValue
from store.trace import Flag
from tests.proxy.assembly.chat_cases import (
    CASES,
    ROLE,
    STOP,
    Case,
    assemble,
    assistant,
    both_ways,
    chunk,
    every_way,
    message_of,
    text_chunk,
    wire,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_stream_becomes_the_message_a_plain_answer_would_have(case: Case) -> None:
    completion = every_way(case.chunks, done=case.done)
    (reply,) = completion.replies
    assert message_of(completion) == case.message
    assert reply.finish_reason == case.finish
    assert (json.loads(completion.usage) if completion.usage else None) == case.usage
    assert completion.flags == case.flags
    assert (completion.served_model, completion.upstream_id, completion.error) == ("m-1", "chatcmpl-1", None)


def test_case_09_each_of_two_interleaved_choices_is_a_reply() -> None:
    completion = every_way(
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
    completion = every_way(
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
    completion = every_way([ROLE, text_chunk("Hel"), error], done=False)
    assert json.loads(completion.error or "") == error
    assert message_of(completion) == assistant("Hel")
    assert completion.replies[0].finish_reason is None
    assert Flag.STREAM_UNFINISHED in completion.flags


def test_an_event_named_error_is_an_error_whatever_it_holds() -> None:
    completion = assemble(wire([ROLE], done=False) + b"event: error\ndata: gone away\n\n")
    assert completion.error == "gone away"


def test_all_22_cases_are_here() -> None:
    """Cases 09, 13 and 20 have tests of their own above."""
    names = sorted([case.name[:2] for case in CASES] + ["09", "13", "20"])
    assert names == [f"{number:02}" for number in range(1, 23)]


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
