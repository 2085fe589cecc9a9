"""The demo's application: holds the scripted conversations through the official `openai` client, many at a time.

The application runs the tools the model calls and feeds their results back, as a real one does. It knows nothing of
Tracemill but the `base_url`. Importing this module needs the extra `tracemill[demo]`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openai import APIStatusError, AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionMessage

from tracemill.demo.bank_tools import TOOLS, run_tool
from tracemill.demo.cast import BASE_MODEL
from tracemill.demo.workload_script import INTENT_FORMAT, SYSTEM_PROMPT, Script

TRACE_HEADER = "x-tracemill-trace-id"
_MAX_CALLS_PER_TURN = 4
_CHUNKS_BEFORE_LEAVING = 12


@dataclass
class Tally:
    """What the application saw of its own calls; the proxy's counts must agree with it.

    Attributes:
        answered: Answers that came whole.
        left: Streams the application closed before their end.
        refused: Answers with an error status.
        trace_ids: The trace ids the answers' heads carried.
    """

    answered: int = 0
    left: int = 0
    refused: int = 0
    trace_ids: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """All calls made."""
        return self.answered + self.left + self.refused

    def note_head(self, headers: Mapping[str, str]) -> None:
        """Keep the trace id of an answer's head, when it carries one."""
        trace_id = headers.get(TRACE_HEADER)
        if trace_id is not None:
            self.trace_ids.append(trace_id)


async def hold_conversations(
    base_url: str, scripts: Sequence[Script], *, at_once: int, on_held: Callable[[], None]
) -> Tally:
    """Hold all conversations and count what came of their calls.

    Args:
        base_url: Of any OpenAI-compatible server, `/v1` included.
        scripts: The conversations; each is held from its first turn to its last by one customer.
        at_once: How many customers there are.
        on_held: Called after each conversation.
    """
    tally = Tally()
    waiting = iter(scripts)
    # No retries: a call made twice would be two traces, and the demo compares its own count with the store's.
    async with AsyncOpenAI(base_url=base_url, api_key="demo-key", max_retries=0, timeout=30) as client:

        async def customer() -> None:
            for script in waiting:
                await _hold(client, script, tally)
                on_held()

        async with asyncio.TaskGroup() as customers:
            for _ in range(at_once):
                customers.create_task(customer())
    return tally


async def _hold(client: AsyncOpenAI, script: Script, tally: Tally) -> None:
    messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM_PROMPT}]
    for turn in script.turns:
        messages.append({"role": "user", "content": turn})
        for _ in range(_MAX_CALLS_PER_TURN):
            try:
                reply = await _call(client, script, messages, tally)
            except APIStatusError as error:
                tally.refused += 1
                tally.note_head(error.response.headers)
                return
            if reply is None:
                tally.left += 1
                return
            tally.answered += 1
            messages.append(_as_sent(reply))
            if not reply.tool_calls:
                break
            messages.extend(_results(messages[-1]))


async def _call(
    client: AsyncOpenAI, script: Script, messages: list[dict[str, Any]], tally: Tally
) -> ChatCompletionMessage | None:
    request: dict[str, Any] = {"model": script.model or BASE_MODEL, "messages": messages, "temperature": 0.2}
    if script.has_tools:
        request["tools"] = TOOLS
    if script.asks_for_json:
        request["response_format"] = INTENT_FORMAT
    if script.is_streaming:
        return await _streamed(client, script, request, tally)
    raw = await client.chat.completions.with_raw_response.create(**request)
    tally.note_head(raw.headers)
    reply: ChatCompletionMessage = raw.parse().choices[0].message
    return reply


async def _streamed(
    client: AsyncOpenAI, script: Script, request: dict[str, Any], tally: Tally
) -> ChatCompletionMessage | None:
    state = ChatCompletionStreamState()
    stream = await client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    async with stream:
        tally.note_head(stream.response.headers)
        seen = 0
        async for chunk in stream:
            state.handle_chunk(chunk)
            seen += 1
            if script.leaves_midstream and seen == _CHUNKS_BEFORE_LEAVING:
                return None
    return state.get_final_completion().choices[0].message


def _results(reply: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": run_tool(call["function"]["name"], call["function"]["arguments"]),
        }
        for call in reply["tool_calls"]
    ]


def _as_sent(reply: ChatCompletionMessage) -> dict[str, Any]:
    """Give the reply as an application sends it back in the next call."""
    kept = reply.model_dump(include={"role", "content"})
    if reply.tool_calls:
        kept["tool_calls"] = [
            call.model_dump(include={"id": True, "type": True, "function": {"name", "arguments"}})
            for call in reply.tool_calls
        ]
    return kept
