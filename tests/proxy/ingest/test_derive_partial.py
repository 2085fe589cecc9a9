"""Errors and partial answers."""

import json

import pytest

from store.trace import Flag, Outcome
from tests.proxy.ingest.raw_calls import (
    ANSWER,
    BASE,
    EVENT_STREAM,
    MESSAGE,
    answered,
    made,
    streamed,
)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_error_status_is_an_upstream_error_with_its_body(status: int) -> None:
    trace = answered(b'{"error":{"message":"slow down"}}', status=status, outcome=Outcome.UPSTREAM_ERROR)
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, '{"error":{"message":"slow down"}}')
    assert (trace.replies, trace.flags) == ((), frozenset())
    assert trace.messages


def test_an_error_body_is_kept_up_to_its_bound() -> None:
    assert len(answered(b"\xe9" * 300_000, status=500).error or "") == 65_536


def test_an_error_inside_a_200_is_an_upstream_error() -> None:
    trace = answered({"error": {"message": "overloaded", "code": 529}})
    assert trace.outcome is Outcome.UPSTREAM_ERROR
    assert "overloaded" in (trace.error or "")


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.CLIENT_DISCONNECT, Outcome.UPSTREAM_ABORTED])
def test_an_error_event_is_an_upstream_error_even_if_somebody_hung_up_on_it(outcome: Outcome) -> None:
    trace = streamed(
        {"delta": {"content": "Hel"}}, end=b'data: {"error":{"message":"gone"}}\n\n', outcome=outcome, error="cut"
    )
    assert (trace.outcome, trace.error) == (Outcome.UPSTREAM_ERROR, '{"error":{"message":"gone"}}')
    assert json.loads(trace.replies[0].message)["content"] == "Hel"
    assert not trace.is_complete


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_DISCONNECT, Outcome.UPSTREAM_ABORTED, Outcome.INTERRUPTED])
def test_a_partial_stream_keeps_what_came(outcome: Outcome) -> None:
    trace = streamed({"delta": {"content": "Hel"}}, end=b'data: {"choi', outcome=outcome)
    assert trace.outcome is outcome
    assert json.loads(trace.replies[0].message) == {"role": "assistant", "content": "Hel"}
    assert trace.flags == {Flag.NO_FINISH_REASON, Flag.STREAM_UNFINISHED, Flag.NO_USAGE}


def test_a_call_without_an_answer_keeps_its_request() -> None:
    trace = made(
        status=None, response_headers=(), response_body=b"", outcome=Outcome.UPSTREAM_UNREACHABLE, error="refused"
    )
    assert (trace.outcome, trace.error, trace.status) == (Outcome.UPSTREAM_UNREACHABLE, "refused", None)
    assert (trace.messages, trace.flags) == (made().messages, frozenset())


def test_truncated_bodies_are_flagged_and_never_complete() -> None:
    trace = made(is_response_truncated=True, response_body=BASE.response_body[:40])
    assert {Flag.RESPONSE_TRUNCATED, Flag.RESPONSE_NOT_JSON} <= trace.flags
    assert Flag.REQUEST_TRUNCATED in made(is_request_truncated=True, request_body=BASE.request_body[:40]).flags
    assert not trace.is_complete


def test_arguments_that_are_no_object_are_flagged_and_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    trace = answered(
        ANSWER | {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"}]}
    )
    assert trace.flags == {Flag.ARGUMENTS_INVALID}
    assert json.loads(trace.replies[0].message)["tool_calls"] == [call]


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/octet-stream"])
def test_a_stream_under_another_name_is_a_stream(content_type: str) -> None:
    headers = (("content-type", content_type),)
    assert json.loads(streamed({"delta": MESSAGE}, response_headers=headers).replies[0].message) == MESSAGE


def test_a_plain_answer_named_a_stream_is_read() -> None:
    assert answered(ANSWER, response_headers=EVENT_STREAM).replies == made().replies
