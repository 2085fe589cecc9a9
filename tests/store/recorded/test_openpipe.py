import json
from datetime import UTC, datetime

import pytest

from store.recorded.errors import LineError, RejectReason
from store.recorded.message import Json
from store.recorded.openpipe import is_openpipe, read_openpipe
from store.trace import Outcome

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
COMPLETION = {
    "id": "c1",
    "model": "m-1",
    "created": 1767225600123,
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yo"}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize(
    "value",
    [
        {"input": REQUEST, "output": COMPLETION, "tags": {"env": "prod", "n": 1}},
        {"request": REQUEST, "response": COMPLETION, "tags": {"env": "prod", "n": 1}},
        {"reqPayload": json.dumps(REQUEST), "respPayload": json.dumps(COMPLETION), "tags": {"env": "prod", "n": 1}},
    ],
)
def test_request_completion_and_tags_are_one_call_under_every_name(value: Json) -> None:
    assert is_openpipe(value)
    call = read_openpipe(value)
    assert call.messages == REQUEST["messages"]
    assert [(reply.message["content"], reply.finish_reason) for reply in call.replies] == [("yo", "stop")]
    assert (call.requested_model, call.served_model, call.upstream_id) == ("m", "m-1", "c1")
    assert (call.parameters, call.usage) == ({"model": "m", "temperature": 0}, COMPLETION["usage"])
    assert (call.tags, call.outcome) == ({"env": "prod", "n": "1"}, Outcome.COMPLETED)
    assert call.created_at == datetime(2026, 1, 1, 0, 0, 0, 123000, UTC)


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        ({"output": {"message": "no quota"}}, '{"message":"no quota"}'),
        ({"output": None, "errorMessage": "cut"}, "cut"),
        ({"output": {"error": {"code": "x"}}}, '{"error":{"code":"x"}}'),
        ({"output": None, "statusCode": 500}, "status 500"),
    ],
)
def test_an_error_in_place_of_the_completion_is_a_failed_call(rest: Json, error: str) -> None:
    call = read_openpipe({"input": REQUEST, "tags": {}, **rest})
    assert (call.outcome, call.error, call.replies) == (Outcome.UPSTREAM_ERROR, error, ())


def test_a_request_without_messages_is_rejected() -> None:
    with pytest.raises(LineError) as caught:
        read_openpipe({"input": {"prompt": "x"}, "output": COMPLETION})
    assert caught.value.reason is RejectReason.NO_MESSAGES


def test_an_observation_of_langfuse_is_not_taken_for_one() -> None:
    assert not is_openpipe({"id": "o", "input": REQUEST, "output": COMPLETION, "tags": {}})
    assert not is_openpipe({"input": "hi", "output": "yo", "tags": {}})
