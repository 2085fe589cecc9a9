"""The official clients of every dialect, through the proxy: the trace is what their own accumulators built."""

import json
from random import Random
from typing import Any

import openai
import pytest

from tests.proxy.assembly.dialects import message_stream, response_stream, text_stream
from tests.server import Server
from tests.upstream import STREAM_END, STREAM_HEAD, ReceivedCall, ScriptedUpstream, Step, event, framed, plain

KEY = "sk-canary-0123456789abcdef"
USAGE = {"input_tokens": 3, "output_tokens": 9}
MESSAGES = {
    "text": [{"type": "text", "text": "Grüße aus Zürich 👋🏽"}],
    "tools": [
        {"type": "text", "text": "One moment."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "days": 2}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ],
    "thinking": [
        {"type": "thinking", "thinking": "Two and two.", "signature": "c2ln"},
        {"type": "text", "text": "Four."},
    ],
}
RESPONSES = {
    "text": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Grüße aus Zürich 👋🏽", "annotations": []}],
        }
    ],
    "refusal": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "refusal", "refusal": "I will not."}],
        }
    ],
    "tools": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city": "Zürich"}',
            "status": "completed",
        },
    ],
}


def message_answer(name: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-scripted",
        "content": MESSAGES[name],
        "stop_reason": "tool_use" if name == "tools" else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def response_answer(name: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "model": "scripted-1",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": RESPONSES[name],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {**USAGE, "total_tokens": 12},
    }


TEXTS = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1_760_000_000,
    "model": "scripted-1",
    "choices": [
        {"index": 0, "text": " upon a time 🏰", "logprobs": None, "finish_reason": "stop"},
        {"index": 1, "text": " more", "logprobs": None, "finish_reason": "length"},
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8},
}


def answering(answer: dict[str, Any], events: list[dict[str, Any]], *, named: bool) -> Any:
    def script(call: ReceivedCall) -> list[Step]:
        if not call.json().get("stream"):
            body = json.dumps(answer, ensure_ascii=False).encode()
            return plain(body, headers=[("content-type", "application/json")])
        blocks = [(f"event: {each['type']}\n".encode() if named else b"") + event(each) for each in events]
        return [STREAM_HEAD, *(framed(block) for block in blocks), STREAM_END]

    return script


def stored(server: Server, session: str) -> list[dict[str, Any]]:
    """Return the traces of one session, oldest first."""

    def look() -> list[dict[str, Any]]:
        return [each for each in server.admin("/admin/api/traces?limit=500")["data"] if each["session"] == session]

    found = server.wait_for(look, 2, 10)
    return [server.admin(f"/admin/api/traces/{each['id']}") for each in reversed(found)]


def assert_alike(streamed: dict[str, Any], whole: dict[str, Any]) -> None:
    assert [streamed["is_complete"], whole["is_complete"]] == [True, True]
    for name in (
        "endpoint",
        "messages",
        "replies",
        "usage",
        "outcome",
        "served_model",
        "upstream_id",
        "flags",
        "tools",
    ):
        assert streamed[name] == whole[name], name


def anthropics_client(server: Server) -> Any:
    # It takes longer to import than all that is tested here, and each worker imports this file.
    import anthropic

    return anthropic.Anthropic(base_url=server.base_url.removesuffix("/v1"), api_key=KEY, max_retries=0)


@pytest.mark.parametrize("name", MESSAGES)
def test_anthropics_client(upstream: ScriptedUpstream, server: Server, name: str) -> None:
    answer = message_answer(name)
    upstream.script = answering(answer, message_stream(answer, Random(3)), named=True)
    session = f"anthropic-{name}"
    request: dict[str, Any] = {
        "model": "claude-scripted",
        "max_tokens": 100,
        "system": "Answer.",
        "messages": [{"role": "user", "content": "Wie spät ist es?"}],
        "extra_headers": {"x-tracemill-session": session},
    }
    with anthropics_client(server) as client:
        with client.messages.stream(**request) as stream:
            built = stream.get_final_message()
        whole = client.messages.create(**request)
    traces = stored(server, session)
    assert_alike(*traces)
    for trace, message in zip(traces, (built, whole), strict=True):
        reply = trace["replies"][0]
        assert (trace["endpoint"], trace["upstream_id"], reply["finish_reason"]) == (
            "messages",
            message.id,
            message.stop_reason,
        )
        assert _blocks(reply["message"]) == [block.to_dict() for block in message.content]
        assert (trace["prompt_tokens"], trace["completion_tokens"]) == (
            message.usage.input_tokens,
            message.usage.output_tokens,
        )
        assert trace["messages"][0] == {"role": "system", "content": "Answer."}


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    if "verbatim" in message:
        return list(message["verbatim"])
    text = [{"type": "text", "text": message["content"]}] if message["content"] is not None else []
    calls = message.get("tool_calls", ())
    return text + [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": json.loads(call["function"]["arguments"]),
        }
        for call in calls
    ]


@pytest.mark.parametrize("name", RESPONSES)
def test_openais_client_of_responses(upstream: ScriptedUpstream, server: Server, name: str) -> None:
    answer = response_answer(name)
    upstream.script = answering(answer, response_stream(answer, Random(3)), named=True)
    session = f"responses-{name}"
    request: dict[str, Any] = {
        "model": "scripted-1",
        "instructions": "Answer.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Wie spät ist es?"}]}],
        "extra_headers": {"x-tracemill-session": session},
    }
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        with client.responses.stream(**request) as stream:
            built = stream.get_final_response()
        whole = client.responses.create(**request)
    traces = stored(server, session)
    assert_alike(*traces)
    for trace, response in zip(traces, (built, whole), strict=True):
        message = trace["replies"][0]["message"]
        assert (trace["endpoint"], trace["upstream_id"]) == ("responses", response.id)
        assert (message["content"] or "") == response.output_text
        assert message["verbatim"] == RESPONSES[name] if "verbatim" in message else name == "text"
        assert [call["function"] for call in message.get("tool_calls", ())] == [
            {"name": item.name, "arguments": item.arguments} for item in response.output if item.type == "function_call"
        ]
        assert trace["messages"] == [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": [{"type": "text", "text": "Wie spät ist es?"}]},
        ]


def test_openais_client_of_text_completions(upstream: ScriptedUpstream, server: Server) -> None:
    upstream.script = answering(TEXTS, text_stream(TEXTS, Random(3)), named=False)
    session = "text-completions"
    request: dict[str, Any] = {"model": "scripted-1", "prompt": "Once", "n": 2, "max_tokens": 9}
    request["extra_headers"] = {"x-tracemill-session": session}
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        built = {0: "", 1: ""}
        for chunk in client.completions.create(**request, stream=True):
            for choice in chunk.choices:
                built[choice.index] += choice.text
        whole = client.completions.create(**request)
    traces = stored(server, session)
    assert_alike(*traces)
    for trace, texts in zip(traces, (built, {choice.index: choice.text for choice in whole.choices}), strict=True):
        assert trace["messages"] == [{"role": "user", "content": "Once"}]
        assert {reply["index"]: reply["message"]["content"] for reply in trace["replies"]} == texts


def test_a_stream_cut_short_keeps_what_anthropics_client_had(upstream: ScriptedUpstream, server: Server) -> None:
    answer = message_answer("tools")
    events = message_stream(answer, Random(3))
    stop = max(place for place, each in enumerate(events) if each["type"] == "content_block_start")
    upstream.script = answering(answer, events[: stop + 1], named=True)
    request: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    request["extra_headers"] = {"x-tracemill-session": "cut"}
    with anthropics_client(server) as client:
        for _ in range(2):
            with client.messages.stream(**request) as stream:
                for _event in stream:
                    pass
                built = stream.current_message_snapshot
    for trace in stored(server, "cut"):
        message = trace["replies"][0]["message"]
        assert message["content"] == built.content[0].to_dict()["text"] == "One moment."
        arguments = [call["function"]["arguments"] for call in message["tool_calls"]]
        assert arguments == ['{"city":"Zürich","days":2}', ""]
        assert not trace["is_complete"]
        assert set(trace["flags"]) == {"stream_unfinished", "no_finish_reason", "arguments_invalid"}
