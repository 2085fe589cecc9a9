"""More than any call holds."""

import json
import time
from dataclasses import replace

from proxy.ingest.derive import derive
from store.trace import Flag
from tests.proxy.ingest.raw_calls import (
    BASE,
    EVENT_STREAM,
    answered,
    asked,
    made,
)


def test_a_request_of_too_many_values_is_flagged_and_taken_apart_no_further() -> None:
    """Seven million objects in 20 MB took ingest 17 seconds and half a gigabyte, and everybody else waited."""
    trace = asked(b'{"messages":[' + b",".join([b"{}"] * 300_001) + b"]}")
    assert Flag.REQUEST_NOT_JSON in trace.flags
    assert trace.messages == ()


def test_a_long_text_is_not_too_many_values() -> None:
    content = "if (x) { return [1, 2]; }, " * 20_000
    trace = derive(
        replace(BASE, request_body=json.dumps({"messages": [{"role": "user", "content": content}]}).encode()),
        max_decoded_bytes=1 << 24,
    )
    assert trace.flags == frozenset()
    assert json.loads(trace.messages[0])["content"] == content


def test_too_many_messages_are_kept_as_they_stand() -> None:
    trace = asked(b'{"model":"m","messages":[' + b",".join([b'{"role":"user"}'] * 20_001) + b"]}")
    assert trace.flags == {Flag.REQUEST_MALFORMED}
    assert trace.messages == ()
    assert len(json.loads(trace.parameters)["messages"]) == 20_001


def test_an_answer_of_too_many_values_or_choices_is_flagged() -> None:
    many = b'{"choices":[' + b",".join([b'{"message":{"role":"assistant"}}'] * 1_025) + b"]}"
    assert answered(many).flags >= {Flag.RESPONSE_NOT_JSON}
    huge = b'{"choices":[],"x":[' + b",".join([b"1"] * 2_000_001) + b"]}"
    trace = derive(replace(BASE, response_body=huge), max_decoded_bytes=1 << 24)
    assert trace.flags >= {Flag.RESPONSE_NOT_JSON}


def test_a_stream_is_read_as_far_as_it_is_no_more_than_an_answer() -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    body = chunk + b"\n" * 1_000_000 + chunk
    trace = derive(replace(BASE, response_headers=EVENT_STREAM, response_body=body), max_decoded_bytes=1 << 24)
    assert Flag.RESPONSE_TRUNCATED in trace.flags
    assert json.loads(trace.replies[0].message)["content"] == "Hi"
    assert not trace.is_complete


def test_a_stream_of_too_many_choices_keeps_the_first_ones() -> None:
    choices = [{"index": index, "delta": {"content": "x"}} for index in range(1_030)]
    body = b"data: " + json.dumps({"choices": choices}).encode() + b"\n\ndata: [DONE]\n\n"
    trace = made(response_headers=EVENT_STREAM, response_body=body)
    assert len(trace.replies) == 1_024
    assert Flag.RESPONSE_NOT_JSON in trace.flags


def test_lists_and_arguments_that_grow_entry_by_entry_take_time_in_step_with_their_length() -> None:
    """Both took the square of it: hours for a stream of 20 MB."""
    entries = b",".join(b'{"index":%d,"t":"a"}' % index for index in range(30_000))
    listed = b'data: {"choices":[{"index":0,"delta":{"x":[' + entries + b"]}}]}\n\n"
    fragment = b'{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}'
    called = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[' + fragment + b"]}}]}\n\n"
    body = listed * 2 + called * 30_000
    began = time.process_time()
    trace = derive(replace(BASE, response_headers=EVENT_STREAM, response_body=body), max_decoded_bytes=1 << 24)
    assert time.process_time() - began < 5
    message = json.loads(trace.replies[0].message)
    assert [entry["t"] for entry in message["x"]] == ["aa"] * 30_000
    assert message["tool_calls"][0]["function"]["arguments"] == "}" * 30_000


def test_messages_that_become_too_many_are_kept_as_they_stand() -> None:
    result = b'{"type":"tool_result","tool_use_id":"t"}'
    message = b'{"role":"user","content":[' + b",".join([result] * 10_001) + b"]}"
    sent = b'{"system":"s","messages":[' + message + b"," + message + b"]}"
    trace = made(request_body=sent, path="/v1/messages")
    assert (trace.messages, trace.flags) == ((), {Flag.REQUEST_MALFORMED})
    assert json.loads(trace.parameters)["system"] == "s"
