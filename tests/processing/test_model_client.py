import json
import threading
import time
from typing import Any

import pytest

from processing.endpoint import Endpoint
from processing.errors import TeacherError
from processing.model_client import MAX_RETRIES, Completion, ModelClient
from tests.processing.teachers import Body, Fault, Teachers

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def ask(teachers: Teachers, waits: list[float] | None = None, **fields: Any) -> Completion:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    async with ModelClient(4, sleep=sleep) as client:
        return await client.complete(Endpoint("m", teachers.base_url, "m", **fields), BODY)


async def at_once(_seconds: float) -> None:
    """Wait no time at all."""


def fail_first(count: int, fault: Fault) -> Any:
    def script(number: int, _body: Body) -> None:
        if number <= count:
            raise fault

    return script


async def test_a_429_waits_as_long_as_it_asks_and_is_no_attempt(teachers: Teachers) -> None:
    teachers.fault = fail_first(6, Fault(429, headers={"retry-after": "7"}))
    waits: list[float] = []
    completion = await ask(teachers, waits)
    assert completion.attempts == 1
    assert completion.body is not None
    assert len(waits) == 6
    assert all(6.9 < wait < 7.8 for wait in waits)


@pytest.mark.parametrize(
    "date",
    ["Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 -0000", "soon", "Mon, 01 Jan 99999 00:00:00 GMT"],
)
async def test_a_date_gone_by_or_nonsense_asks_for_little_patience(teachers: Teachers, date: str) -> None:
    teachers.fault = fail_first(2, Fault(429, headers={"retry-after": date}))
    waits: list[float] = []
    assert (await ask(teachers, waits)).body is not None
    assert all(wait < 2 for wait in waits)


@pytest.mark.parametrize("said", ["0", "-1", "nan", "1e-9"])
async def test_a_429_that_asks_for_no_wait_is_not_asked_again_at_once(teachers: Teachers, said: str) -> None:
    """`Retry-After: nan` and `0` each once made an endless loop without any wait."""
    teachers.fault = fail_first(5, Fault(429, headers={"retry-after": said}))
    waits: list[float] = []
    assert (await ask(teachers, waits)).body is not None
    assert len(waits) == 5
    assert min(waits) > 0.2


async def test_an_upstream_that_only_asks_for_patience_stops_the_run(teachers: Teachers) -> None:
    teachers.fault = fail_first(1000, Fault(429, headers={"retry-after": "250"}))
    with pytest.raises(TeacherError, match="asked to wait more than 600 s") as caught:
        await ask(teachers)
    assert caught.value.code == "waited_too_long"


@pytest.mark.parametrize("fault", [Fault(500), Fault(503), Fault(200, "<html>"), Fault(200, "[1]")])
async def test_a_failing_upstream_is_tried_again(teachers: Teachers, fault: Fault) -> None:
    teachers.fault = fail_first(MAX_RETRIES, fault)
    waits: list[float] = []
    completion = await ask(teachers, waits)
    assert (completion.fault, completion.attempts) == (None, MAX_RETRIES + 1)
    assert waits == sorted(waits)


async def test_a_call_that_keeps_failing_is_a_failure_to_forget(teachers: Teachers) -> None:
    async with ModelClient(4, sleep=at_once) as client:
        where = Endpoint("m", teachers.base_url, "m")
        assert (await client.complete(where, BODY)).body is not None
        teachers.fault = fail_first(1000, Fault(500))
        completion = await client.complete(where, BODY)
    assert (completion.fault, completion.is_final, completion.body) == ("failing", False, None)
    assert len(teachers.requests) == MAX_RETRIES + 2


@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(200, "<html>"), Fault(200, '{"error": {"message": "overloaded"}}')]
)
async def test_a_server_that_never_answered_stops_the_run_after_the_first_question(
    teachers: Teachers, fault: Fault
) -> None:
    """It was asked every question five times, for a minute, and then all conversations were called unscored."""
    teachers.fault = fail_first(1000, fault)
    with pytest.raises(TeacherError, match="5 times") as caught:
        await ask(teachers)
    assert caught.value.code == "failing"
    assert len(teachers.requests) == MAX_RETRIES + 1


async def test_a_model_that_calls_every_question_wrong_stops_the_run_with_its_words(teachers: Teachers) -> None:
    teachers.fault = fail_first(1000, Fault(400, '{"error": {"message": "no such model"}}'))
    async with ModelClient(4, sleep=at_once) as client:
        where = Endpoint("m", teachers.base_url, "m")
        for _ in range(4):
            rejected = await client.complete(where, BODY)
            assert (rejected.fault, rejected.is_final) == ("rejected", False)
        with pytest.raises(TeacherError, match=r"answered none of 5 different questions.*no such model") as caught:
            await client.complete(where, BODY)
    assert caught.value.code == "rejecting"


async def test_a_rejected_request_is_never_sent_twice(teachers: Teachers) -> None:
    error = {"error": {"message": "This model's maximum context length is 10", "code": "context_length_exceeded"}}
    teachers.fault = fail_first(1, Fault(400, json.dumps(error)))
    async with ModelClient(4, sleep=at_once) as client:
        where = Endpoint("m", teachers.base_url, "m")
        assert (await client.complete(where, BODY)).fault == "context_length"
        teachers.fault = fail_first(2, Fault(422, '{"error": "no tools"}'))
        rejected = await client.complete(where, BODY)
    assert (rejected.fault, rejected.detail, rejected.is_final) == ("rejected", "status 422: no tools", True)
    assert len(teachers.requests) == 2


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405])
async def test_a_refused_key_or_unknown_model_stops_the_run_at_once(teachers: Teachers, status: int) -> None:
    teachers.fault = fail_first(1000, Fault(status))
    with pytest.raises(TeacherError, match=f"status {status}") as caught:
        await ask(teachers, api_key="sk-canary")
    assert len(teachers.requests) == 1
    assert teachers.authorizations == ["Bearer sk-canary"]
    assert "sk-canary" not in f"{caught.value!r}{caught.value}"


async def test_a_server_that_is_not_there_stops_the_run(teachers: Teachers) -> None:
    teachers.base_url = "http://user:secret@127.0.0.1:9/v1"
    with pytest.raises(TeacherError, match=r"teacher m at http://127\.0\.0\.1:9/v1: cannot be reached") as caught:
        await ask(teachers)
    assert caught.value.code == "unreachable"


async def test_the_duration_is_that_of_the_attempt_that_was_answered(teachers: Teachers) -> None:
    """Waits that a 429 asks for and attempts that failed are no part of how long the model takes."""
    answering = threading.Event()

    def script(number: int, _body: Body) -> None:
        if number == 1:
            raise Fault(429, headers={"retry-after": "30"})
        if number == 2:
            answering.wait(0.3)
            raise Fault(500)

    teachers.fault = script
    began_at = time.monotonic()
    completion = await ask(teachers)
    took_ms = (time.monotonic() - began_at) * 1000
    assert took_ms > 300
    assert completion.duration_ms is not None
    assert 0 < completion.duration_ms <= took_ms - 300
