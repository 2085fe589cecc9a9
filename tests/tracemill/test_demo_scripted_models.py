"""The scripted models over a real socket, seen by the official client."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tracemill.demo.bank_tools import TOOLS
from tracemill.demo.cast import BASE_MODEL, CAST
from tracemill.demo.scripted_models import READY
from tracemill.demo.workload import hold_conversations
from tracemill.demo.workload_script import INTENT_FORMAT, scripts


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    command = [sys.executable, "-m", "tracemill.demo.scripted_models", "--port", "0", "--chunk-delay-ms", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        assert line.startswith(READY)
        yield line.removeprefix(READY)
        server.terminate()


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.mark.parametrize(
    "text",
    ["What fees do you charge?", "Transfer $100 to savings.", "Show me the balances of both accounts.", "Hello!"],
)
def test_a_stream_says_what_the_plain_answer_says(client: openai.OpenAI, text: str) -> None:
    request: dict[str, Any] = {
        "model": "teacher-a",
        "messages": [{"role": "user", "content": text}],
        "tools": TOOLS,
    }
    plain = client.chat.completions.create(**request)
    with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    left, right = plain.choices[0], streamed.choices[0]
    assert right.message.content == left.message.content
    assert [call.model_dump() for call in right.message.tool_calls or []] == _with_parsed(left.message.tool_calls)
    assert right.finish_reason == left.finish_reason
    assert streamed.usage is not None
    assert plain.usage is not None
    assert streamed.usage.total_tokens == plain.usage.total_tokens > 0


def _with_parsed(tool_calls: list[Any] | None) -> list[dict[str, Any]]:
    """Give plain tool calls in the form of the client's stream accumulator, which adds two fields of its own."""
    dumped = [call.model_dump() for call in tool_calls or []]
    for index, call in enumerate(dumped):
        call["index"] = index
        call["function"]["parsed_arguments"] = None
    return dumped


def test_usage_is_streamed_only_when_asked_for(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": BASE_MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
    chunks = list(client.chat.completions.create(**request, stream=True))
    assert len(chunks) > 2
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


def test_a_response_format_is_kept_to(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=BASE_MODEL,
        messages=[{"role": "user", "content": "I lost my debit card in the park."}],
        response_format=INTENT_FORMAT,  # type: ignore[arg-type]
    )
    assert json.loads(answer.choices[0].message.content or "") == {"intent": "freeze_card", "needs_person": False}


def test_an_unknown_model_is_answered_as_a_provider_would(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hello!"}])
    assert caught.value.code == "model_not_found"


def test_every_model_is_listed(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == set(CAST)


async def test_the_workload_meets_every_kind_of_ending(base_url: str) -> None:
    held: list[None] = []
    tally = await hold_conversations(base_url, scripts(), at_once=8, on_held=lambda: held.append(None))
    assert len(held) == len(scripts()) >= 55
    assert tally.left == 1
    assert tally.refused == 1
    assert tally.answered > 100
    assert tally.trace_ids == []  # nobody captured these: the models were called directly
