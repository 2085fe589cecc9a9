import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from processing import config_file
from processing.answer import Fault as CallFault
from processing.errors import TeacherError
from processing.model_client import ModelClient
from processing.prompt import ask, hashes, prompt
from processing.teachers import Teachers as Askers
from store.recorded.message import Message
from store.work import WorkStore
from tests.processing.teachers import Fault, Teachers

HI = [{"role": "user", "content": "hi"}]
OTHER = [{"role": "user", "content": "what else?"}]


class Session:
    def __init__(self, folder: Path, teachers: Teachers, **models: Any) -> None:
        self._path = folder / "work.db"
        self._config = config_file.parse({"base": {"task": "chat-completion"}, "models": models}, source="c")
        self._environ = {"TRACEMILL_TEACHER_BASE_URL": teachers.base_url, "KEY": "sk-canary"}

    async def __aenter__(self) -> Askers:
        self._work = await WorkStore.open(self._path)
        self._client = ModelClient(4, first_wait_s=0.001)
        return Askers(self._client, self._work, self._config, self._environ)

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(None, None, None)
        await self._work.__aexit__(None, None, None)


async def test_the_same_question_asked_at_once_is_one_call(teachers: Teachers, tmp_path: Path) -> None:
    async with Session(tmp_path, teachers) as askers:
        answers = await asyncio.gather(*(askers.ask("m", "relabel", HI) for _ in range(8)))
    assert len(teachers.requests) == 1
    assert len(set(map(repr, answers))) == 1
    assert (askers.counts.paid, askers.counts.cached) == (1, 7)


async def test_two_runs_that_ask_the_same_at_once_buy_one_answer(teachers: Teachers, tmp_path: Path) -> None:
    """Two evaluations of one version and model, begun together, each bought every answer."""
    asked = [[{"role": "user", "content": f"hi {number}"}] for number in range(20)]
    async with Session(tmp_path, teachers) as one, Session(tmp_path, teachers) as other:
        wanted = [askers.ask("m", "evaluate", messages) for messages in asked for askers in (one, other)]
        answers = await asyncio.gather(*wanted)
    assert len(teachers.requests) == 20
    assert list(map(repr, answers[::2])) == list(map(repr, answers[1::2]))
    assert (one.counts.paid + other.counts.paid, one.counts.cached + other.counts.cached) == (20, 20)


async def test_who_waits_for_the_answer_of_a_run_that_fails_or_dies_asks_himself(
    teachers: Teachers, tmp_path: Path
) -> None:
    teachers.hold_from = 1
    async with Session(tmp_path, teachers) as other:
        async with Session(tmp_path, teachers) as one:
            dying = asyncio.create_task(one.ask("m", "evaluate", HI))
            assert await asyncio.to_thread(teachers.held.wait, 10)
            waiting = asyncio.create_task(other.ask("m", "evaluate", HI))
            await one.work.asking(b"another question").__aenter__()
            teachers.hold_from = None
            dying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dying
        assert (await waiting).fault is None
        async with other.work.asking(b"another question"):
            pass
    assert len(teachers.requests) == 2


async def test_the_bill_knows_prices_and_counts_remembered_calls_too(teachers: Teachers, tmp_path: Path) -> None:
    priced = {"base_url": teachers.base_url, "model": "big", "price": {"input": 2, "output": 10}}
    for _ in range(2):
        async with Session(tmp_path, teachers, m=priced) as askers:
            await askers.ask("m", "relabel", HI)
            await askers.ask("other", "relabel", HI)
            bill = askers.bill()["relabel"]
        assert (bill.calls, bill.prompt_tokens, bill.completion_tokens) == (2, 20, 10)
        assert (bill.cost, bill.without_cost) == (0.00007, 1)
    assert [body["model"] for body in teachers.requests] == ["big", "other"]


async def test_extra_body_adds_fields_and_takes_fields_away(teachers: Teachers, tmp_path: Path) -> None:
    extra = {"base_url": teachers.base_url, "extra_body": {"temperature": None, "reasoning_effort": "low"}}
    async with Session(tmp_path, teachers, m=extra) as askers:
        await askers.ask("m", "relabel", HI, temperature=0, tools=None)
    assert teachers.requests == [{"model": "m", "messages": HI, "reasoning_effort": "low"}]


async def test_a_key_is_sent_and_never_stored(teachers: Teachers, tmp_path: Path) -> None:
    keyed = {"base_url": teachers.base_url.replace("//", "//me:secret@"), "api_key_env": "KEY"}
    async with Session(tmp_path, teachers, m=keyed) as askers:
        await askers.ask("m", "relabel", HI)
    assert teachers.authorizations == ["Bearer sk-canary"]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"sk-canary" not in stored
    assert b"secret" not in stored


async def test_a_failure_is_asked_again_later_and_a_rejection_is_not(teachers: Teachers, tmp_path: Path) -> None:
    def fail(_number: int, body: Any) -> None:
        if body["messages"] == HI:
            raise Fault(500 if body["model"] == "shaky" else 400, "{}")

    teachers.fault = fail
    async with Session(tmp_path, teachers) as askers:
        assert (await askers.ask("strict", "relabel", OTHER)).fault is None
        assert (await askers.ask("shaky", "relabel", HI)).fault is CallFault.FAILING
        assert (await askers.ask("strict", "relabel", HI)).fault is CallFault.REJECTED
    before = len(teachers.requests)
    teachers.fault = lambda *_: None
    async with Session(tmp_path, teachers) as askers:
        assert (await askers.ask("shaky", "relabel", HI)).fault is None
        rejected = await askers.ask("strict", "relabel", HI)
    assert (rejected.fault, rejected.message) == (CallFault.REJECTED, Message("assistant"))
    assert len(teachers.requests) == before + 1


async def test_a_rejection_by_a_model_that_never_answered_is_not_remembered(teachers: Teachers, tmp_path: Path) -> None:
    """A model that was not loaded once answered 400; a later run, with it loaded, found only the old refusals."""

    def fail(_number: int, _body: Any) -> None:
        raise Fault(400, '{"error": {"message": "no such model"}}')

    teachers.fault = fail
    async with Session(tmp_path, teachers) as askers:
        answer = await askers.ask("m", "relabel", HI)
        assert answer.problem == "rejected: status 400: no such model"
        assert askers.problems() == [
            "Teacher m left 1 questions without an answer, the last as rejected: status 400: no such model."
        ]
        with pytest.raises(TeacherError, match="answered none of 1 questions"):
            askers.require_answers()
    teachers.fault = lambda *_: None
    async with Session(tmp_path, teachers) as askers:
        assert (await askers.ask("m", "relabel", HI)).fault is None


@pytest.mark.parametrize("usage", [{"prompt_tokens": 10**400, "completion_tokens": 1}, {"prompt_tokens": -5}, 7])
async def test_usage_that_cannot_be_leaves_the_cost_unknown(teachers: Teachers, tmp_path: Path, usage: Any) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}

    def answer(_number: int, _body: Any) -> None:
        raise Fault(200, json.dumps({"choices": [choice], "usage": usage, "x": float("nan")}))

    teachers.fault = answer
    priced = {"base_url": teachers.base_url, "price": {"input": 2, "output": 10}}
    async with Session(tmp_path, teachers, m=priced) as askers:
        assert (await askers.ask("m", "relabel", HI)).message.content == "Hello."
        bill = askers.bill()["relabel"]
    assert (bill.cost, bill.without_cost) == (None, 1)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "wizard", "content": "Hello."}, "Hello."),
        ({"content": "Hello. \ud800"}, "Hello. \ud800"),
        ({"content": [{"type": "tool-result", "toolCallId": "1", "output": "x"}]}, None),
    ],
)
async def test_whoever_answers_is_the_assistant_and_a_tools_result_is_no_answer(
    teachers: Teachers, tmp_path: Path, message: Any, said: str | None
) -> None:
    teachers.reply = lambda _: dict(message)
    async with Session(tmp_path, teachers) as askers:
        answer = await askers.ask("m", "relabel", HI)
    assert (answer.message.role, answer.message.content) == ("assistant", said)
    assert (answer.fault is None) is (said is not None)


def test_the_fence_comes_from_the_data_and_cannot_stand_in_it() -> None:
    data = ["line\nbreak", "DATA-ffff"]
    system, user = ask("filter", data, job_description="Help.")
    first, text, last = user["content"].split("\n")
    assert first == last
    assert first in system["content"]
    assert first not in text
    assert json.loads(text) == data
    assert ask("filter", data, job_description="Help.") == [system, user]
    assert ask("filter", [*data, 1], job_description="Help.")[1]["content"].split("\n")[0] != first


def test_prompts_ask_for_reasons_before_verdicts() -> None:
    for name, verdict in (
        ("filter", '"relevance"'),
        ("arbiter", '"best"'),
        ("judge", '"verdict"'),
        ("judge_alone", '"verdict"'),
        ("judge_row", '"helpfulness"'),
    ):
        text = prompt(name).text
        assert text.index('"reason"') < text.index(verdict)
    assert set(hashes()) == {
        "application",
        "arbiter",
        "compress",
        "filter",
        "judge",
        "judge_alone",
        "judge_row",
        "name_cluster",
        "relabel",
        "rewrite",
    }
    assert all(len(found) == 16 for found in hashes().values())
