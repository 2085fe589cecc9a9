from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.json_text import dumps
from store.tree import HashedMessages, chain, node_id, stitch_key


def key(message: dict[str, Any]) -> bytes:
    return stitch_key(None, message)


def assistant(**fields: object) -> dict[str, Any]:
    return {"role": "assistant", **fields}


def called(arguments: object, **fields: object) -> dict[str, Any]:
    return assistant(tool_calls=[{"type": "function", "function": {"name": "f", "arguments": arguments}, **fields}])


@pytest.mark.parametrize(
    ("reply", "echo"),
    [
        (assistant(content=" hi\n"), assistant(content="hi")),
        (assistant(content=None), assistant()),
        (assistant(content=""), assistant(content=[])),
        (assistant(content="ab"), assistant(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])),
        (assistant(content="a", reasoning_content="x", refusal=None, annotations=[]), assistant(content="a")),
        (assistant(content=None, refusal="No."), assistant(content="No.")),
        (called('{"a": 1, "b": 2}', id="1"), called('{"b":2,"a":1}', id="2")),
        (called('{"a":1.0}'), called('{"a":1}')),
        (called('{"a":1}'), called({"a": 1})),
        (called(""), called("{}")),
        (called('{"a":1}'), assistant(function_call={"name": "f", "arguments": '{"a":1}'})),
        (called('{"a":1}', index=0), assistant(content="", tool_calls=called('{"a":1}')["tool_calls"])),
    ],
)
def test_a_reply_and_its_echo_have_the_same_stitch_key(reply: dict[str, Any], echo: dict[str, Any]) -> None:
    assert key(reply) == key(echo)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (assistant(content="a"), assistant(content="b")),
        ({"role": "user", "content": "a"}, assistant(content="a")),
        ({"role": "user", "content": "a "}, {"role": "user", "content": "a"}),
        (called('{"a":1}'), called('{"a":2}')),
        (called('{"a":1'), called('{"a":1}')),
        (called('{"a":1}'), assistant(content="")),
        (called("{}"), assistant(tool_calls=called("{}")["tool_calls"] * 2)),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, {"role": "user"}),
    ],
)
def test_messages_of_different_meaning_have_different_stitch_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(one) != key(other)


def test_node_ids_tell_texts_apart_that_mean_the_same() -> None:
    one, other = b'{"role":"user","content":"a"}', b'{"content":"a","role":"user"}'
    assert node_id(None, one) != node_id(None, other)
    assert chain([one])[0].key == chain([other])[0].key


def test_a_chain_is_the_same_in_one_go_and_in_parts() -> None:
    messages = [dumps({"role": "user", "content": str(number)}) for number in range(4)]
    whole = chain(messages)
    first = chain(messages[:2])
    assert first + chain(messages[2:], after=first[-1]) == whole
    assert [link.parent_id for link in whole] == [None, *(link.id for link in whole[:-1])]


def test_a_message_under_another_parent_is_another_node() -> None:
    message = b'{"role":"user","content":"a"}'
    first, second = chain([message, message])
    assert first.id != second.id
    assert first.key != second.key


@pytest.mark.parametrize(
    "text", [b'"text"', b"1", b"null", b"[]", b'{"role":5,"content":{"a":[]},"tool_calls":[1,{}]}']
)
def test_odd_messages_are_hashed_and_not_refused(text: bytes) -> None:
    [link] = chain([text])
    assert link.message == text
    assert link.role is None


@given(st.lists(st.lists(st.sampled_from([b'{"role":"user","content":"a"}', b'{"role":"tool"}', b"1"]), max_size=6)))
def test_messages_hashed_before_come_out_the_same(histories: list[list[bytes]]) -> None:
    hashed = HashedMessages(size=3)
    for history in histories:
        links = chain(history, None, hashed)
        assert links == chain(history)
        assert chain([b"{}"], links[-1] if links else None, hashed) == chain([b"{}"], links[-1] if links else None)


def test_of_messages_hashed_before_no_more_than_twice_the_size_is_kept() -> None:
    hashed = HashedMessages(size=10)
    links = chain([dumps({"role": "user", "content": str(number)}) for number in range(100)], None, hashed)
    assert all(hashed.find(link.id) for link in links[-10:])
    assert sum(hashed.find(link.id) is not None for link in links) <= 20
