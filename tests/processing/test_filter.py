import asyncio
import json
from typing import Any

import pytest

from processing import config_file, job_description
from processing.candidates import Task
from processing.convert import convert
from processing.example import Conversation
from processing.filter import each, example_rule_end, rule_end
from processing.ledger import Reason
from processing.sources import read_lines

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BROKEN_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}


def task(*, single_turn: bool = True, limit: int = 10_000) -> Task:
    raw = {
        "base": {"task": "chat-completion"},
        "trace_processing": {"convert_to_single_turn": single_turn},
        "synthgen": {"validation_max_total_length": limit},
    }
    description = job_description.parse({"task_description": "Help."}, task="chat-completion", source="job")
    return Task(config_file.parse(raw, source="config.yaml"), description, "Help.")


def conversation(*messages: dict[str, Any], **metadata: Any) -> Conversation:
    line = {"messages": list(messages), "metadata": metadata}
    return read_lines([json.dumps(line).encode()], "t.jsonl").conversations[0]


USER = {"role": "user", "content": "hello"}


def said(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **fields}


@pytest.mark.parametrize(
    ("messages", "metadata", "reason"),
    [
        ([USER], {}, Reason.NO_ASSISTANT_TURN),
        ([USER, said(content=" ")], {}, Reason.EMPTY_REPLY),
        ([USER, said(content="so")], {"outcome": "client_disconnect"}, Reason.INCOMPLETE),
        ([USER, said(content="so")], {"finish_reason": "length"}, Reason.LENGTH),
        ([USER, said(content="so")], {"finish_reason": "content_filter"}, Reason.CONTENT_FILTER),
        ([USER, said(refusal="I will not")], {}, Reason.REFUSAL),
        ([USER, said(tool_calls=[BROKEN_CALL])], {}, Reason.INVALID_TOOL_ARGUMENTS),
        ([USER, said(content="x" * 10_000)], {}, Reason.TOO_LONG),
    ],
)
@pytest.mark.parametrize("single_turn", [True, False])
def test_each_rule_drops_with_its_reason(
    messages: list[dict[str, Any]], metadata: dict[str, Any], reason: Reason, *, single_turn: bool
) -> None:
    end = rule_end(conversation(*messages, **metadata), task(single_turn=single_turn))
    assert end is not None
    assert end.reason is reason


def test_a_whole_conversation_stays() -> None:
    assert rule_end(conversation(USER, said(content="hi"), USER, said(tool_calls=[CALL])), task()) is None


def test_the_limit_counts_input_and_output_and_names_itself() -> None:
    fits = conversation(USER, said(content="12345"))
    assert rule_end(fits, task(limit=10)) is None
    end = rule_end(fits, task(limit=9))
    assert end is not None
    assert end.detail == {"characters": 10, "limit": 9}


def test_one_bad_reply_costs_its_own_example_and_not_the_conversation() -> None:
    mixed = conversation(USER, said(content="hi"), USER, said(refusal="no"), USER, said(content="ok"))
    assert rule_end(mixed, task()) is None
    ends = [example_rule_end(example, task()) for example in convert([mixed], single_turn=True).examples]
    assert [end and end.reason for end in ends] == [None, Reason.REFUSAL, None]
    whole = rule_end(mixed, task(single_turn=False))
    assert whole is not None
    assert whole.reason is Reason.REFUSAL


async def test_results_stand_in_the_order_of_the_items_whoever_is_first() -> None:
    gates = [asyncio.Event() for _ in range(5)]

    async def work(number: int) -> int:
        if number == 0:
            gates[4].set()
        await gates[number].wait()
        gates[number - 1].set()
        return number * 10

    assert await each(range(5), work, parallel=5) == [0, 10, 20, 30, 40]


async def test_after_an_error_what_is_in_work_is_finished_and_nothing_begun() -> None:
    begun: list[int] = []
    finished: list[int] = []
    failed = asyncio.Event()

    async def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            failed.set()
            raise ValueError("one")
        await failed.wait()
        finished.append(number)

    with pytest.raises(ValueError, match="one"):
        await each(range(10), work, parallel=3)
    assert sorted(begun) == [0, 1, 2]
    assert sorted(finished) == [0, 2]
