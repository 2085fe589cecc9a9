"""Completions for the scripted upstream: the same reply as a plain answer and as a stream."""

from typing import Any

from tests.upstream import ReceivedCall, Step, json_answer, stream_answer

MODEL = "scripted-1"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def text(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": None}


def calling(*calls: tuple[str, str], content: str | None = None) -> dict[str, Any]:
    """Make a message with tool calls, each (name, arguments)."""
    tool_calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": content, "refusal": None, "tool_calls": tool_calls}


def completion(message: dict[str, Any], *, finish_reason: str | None = None, number: int = 1) -> dict[str, Any]:
    """Make the completion object of a plain answer."""
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason or _finish(message)}
        ],
        "usage": USAGE,
        "system_fingerprint": "fp_scripted",
    }


def chunks(message: dict[str, Any], *, piece: int = 3, number: int = 1, usage: bool = True) -> list[dict[str, Any]]:
    """Cut the same completion into chunks of a few characters."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if message["content"] else None}]
    if message.get("refusal") is None:
        deltas[0]["refusal"] = None
    for name in ("reasoning_content", "content", "refusal"):
        value = message.get(name) or ""
        deltas += [{name: value[at : at + piece]} for at in range(0, len(value), piece)]
    for index, call in enumerate(message.get("tool_calls", [])):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + piece]}}]}
            for at in range(0, len(arguments), piece)
        ]
    base = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": MODEL}
    base["system_fingerprint"] = "fp_scripted"
    whole = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    whole.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(message)}]})
    if usage:
        whole.append({**base, "choices": [], "usage": USAGE})
    return whole


def replying(message: dict[str, Any], number: int = 1) -> "Replying":
    return Replying(message, number)


class Replying:
    """A script that gives one reply to every call, streamed when the call asks for it."""

    def __init__(self, message: dict[str, Any], number: int = 1) -> None:
        self.message = message
        self.number = number

    def __call__(self, call: ReceivedCall) -> list[Step]:
        headers = [("x-request-id", "req_scripted"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
        if call.json().get("stream"):
            return stream_answer(chunks(self.message, number=self.number))
        return json_answer(completion(self.message, number=self.number), headers=headers)


def _finish(message: dict[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"
