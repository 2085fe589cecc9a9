"""The scripted models' answers on the wire: one completion object, or the same as a stream of chunks."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tracemill.demo.digest import digest

_CHARACTERS_PER_TOKEN = 4
_PIECE = re.compile(r"\s*\S+|\s+")


def completion(request: dict[str, Any], message: dict[str, Any], *, created: int) -> dict[str, Any]:
    """Wrap an assistant message into a whole `chat.completion`.

    Args:
        request: The request's body; its model is the one that is said to have answered.
        message: The assistant message.
        created: Unix time in seconds.
    """
    prompt_tokens = _tokens([request.get("messages"), request.get("tools")])
    completion_tokens = _tokens(message)
    return {
        "id": f"chatcmpl-{digest(request, created):016x}",
        "object": "chat.completion",
        "created": created,
        "model": request["model"],
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, **message},
                "logprobs": None,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
        "system_fingerprint": "fp_scripted",
    }


def chunks(whole: dict[str, Any], *, include_usage: bool) -> Iterator[dict[str, Any]]:
    """Cut a completion into the chunks an OpenAI stream would have.

    Args:
        whole: As `completion` made it.
        include_usage: What the request said in `stream_options`; adds a last chunk without choices.
    """
    choice = whole["choices"][0]
    for delta in _deltas(choice["message"]):
        yield _chunk(whole, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], include_usage)
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
    yield _chunk(whole, [last], include_usage)
    if include_usage:
        yield {**_chunk(whole, [], include_usage), "usage": whole["usage"]}


def as_events(pieces: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Write chunks as server-sent events, `[DONE]` last."""
    for piece in pieces:
        yield b"data: " + json.dumps(piece, separators=(",", ":")).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    yield {"role": "assistant", "content": None if content is None else "", "refusal": None}
    for piece in _PIECE.findall(content or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls") or []):
        function = call["function"]
        head = {"index": index, "id": call["id"], "type": "function"}
        yield {"tool_calls": [{**head, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in _PIECE.findall(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chunk(whole: dict[str, Any], choices: list[dict[str, Any]], include_usage: bool) -> dict[str, Any]:
    kept = {name: whole[name] for name in ("id", "created", "model", "system_fingerprint")}
    usage: dict[str, Any] = {"usage": None} if include_usage else {}
    return {**kept, "object": "chat.completion.chunk", "choices": choices, **usage}


def _tokens(value: object) -> int:
    """Estimate tokens from characters: the scripted models have no tokenizer."""
    return max(1, len(json.dumps(value)) // _CHARACTERS_PER_TOKEN)
